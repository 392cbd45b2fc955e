"""Answers held to a schema: the request that asks for it, and the parser that insists."""

import json
from collections.abc import Awaitable, Callable, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.output_parsers import BaseLLMOutputParser
from langchain_core.outputs import ChatGeneration
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnableMap,
    RunnablePassthrough,
    RunnableSequence,
)
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


def caller(
    structured: Runnable[Any, Any],
) -> Callable[[Sequence[BaseMessage], RunnableConfig], Awaitable[Any]]:
    """Return a function that asks what `with_structured_output` made, in one run instead of three.

    LangChain makes a run of the pair, one of the model and one of the parser; where a call is
    made in every turn, the two without a model cost more than all else in it and say nothing.

    Args:
        structured: From any chat model; what is no pair of model and parser is asked as it is.
    """
    if not isinstance(structured, RunnableSequence) or structured.middle:
        return structured.ainvoke
    model, parser = cast(
        "tuple[Runnable[Any, BaseMessage], Runnable[Any, Any]]", (structured.first, structured.last)
    )
    parse = _reading(parser)
    if parse is None:
        return structured.ainvoke

    async def ask(messages: Sequence[BaseMessage], config: RunnableConfig) -> Any:
        return parse(await model.ainvoke(messages, config))

    return ask


def _reading(parser: Runnable[Any, Any]) -> Callable[[BaseMessage], Any] | None:
    """The plain function a parser runs, or None if it runs no such function."""
    if isinstance(parser, RunnableLambda):
        return getattr(cast("Any", parser), "func", None)
    if isinstance(parser, BaseLLMOutputParser):
        read = cast("BaseLLMOutputParser[Any]", parser)
        return lambda message: read.parse_result([ChatGeneration(message=message)])
    return None


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
