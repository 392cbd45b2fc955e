"""Answers held to a schema: the request that asks for it, and the parser that insists."""

import json
from collections.abc import Callable
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import Runnable, RunnableLambda, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.json_schema import dereference_refs
from pydantic import BaseModel

from agentkit.errors import StructuredOutputError

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel

_EXCERPT = 200


def schema_output(
    model: "BaseChatModel", schema: dict[str, Any] | type, *, method: str, include_raw: bool
) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
    """Bind `model` to answer in JSON, and parse what it says; see `with_structured_output`."""
    if method == "json_mode":
        response_format: dict[str, Any] = {"type": "json_object"}
    else:
        json_schema = convert_to_json_schema(schema)
        name = json_schema.pop("title", "answer")
        response_format = {
            "type": "json_schema",
            "json_schema": {"name": name, "strict": True, "schema": inlined(json_schema)},
        }
    constrained = model.bind(
        response_format=response_format,
        ls_structured_output_format={"kwargs": {"method": method}, "schema": schema},
    )
    parser: Runnable[AIMessage, Any] = RunnableLambda(_parser(schema))
    if not include_raw:
        return constrained | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=constrained) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Return `schema` with its `$ref`s written out, so that it can be put inside another one."""
    flat = dereference_refs(schema)
    return {key: value for key, value in flat.items() if key not in ("$defs", "definitions")}


def _parser(schema: dict[str, Any] | type) -> Callable[[AIMessage], Any]:
    # Pydantic 2, pydantic 1 (LangChain accepts its classes still), or plain data.
    validate: Callable[[str], Any] = (
        getattr(schema, "model_validate_json", None) or getattr(schema, "parse_raw", None) or json.loads
    )

    def parse_answer(message: AIMessage) -> Any:
        text = str(message.text)
        try:
            return validate(text)
        except ValueError as error:  # both pydantics' ValidationError and JSONDecodeError are
            metadata = cast("dict[str, Any]", message.response_metadata)
            raise StructuredOutputError(
                f"The answer does not fit the schema: {error}\nThe answer was: {text[:_EXCERPT]!r}",
                hint="It was cut off: raise max_tokens."
                if metadata.get("finish_reason") == "length"
                else None,
            ) from error

    return parse_answer
