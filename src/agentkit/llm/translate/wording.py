"""What a model without native tools or schemas is told, and the schema its reply is held to."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import BaseMessage, SystemMessage

from agentkit.llm.base import ToolSpec
from agentkit.llm.structured import inlined


def reply_schema(
    tools: Sequence[ToolSpec], *, must_call: bool, answer: dict[str, Any] | None
) -> dict[str, Any]:
    """JSON schema of what the model may say: `{"tool", "arguments"}` or `{"answer"}`. One call a turn.

    Args:
        tools: What it may call.
        must_call: Whether an answer instead of a call is forbidden.
        answer: Schema of the answer, or None for text.
    """
    variants = [_call_schema(tool["function"]) for tool in tools]
    if not must_call:
        variants.append(_object(answer=answer or {"type": "string"}))
    # The outer type is no news, but servers that check what they are sent insist on it.
    return variants[0] if len(variants) == 1 else {"type": "object", "anyOf": variants}


def _call_schema(function: dict[str, Any]) -> dict[str, Any]:
    return _object(tool={"const": function["name"]}, arguments=_parameters(function))


def _parameters(function: dict[str, Any]) -> dict[str, Any]:
    return inlined(function.get("parameters") or {"type": "object", "properties": {}})


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tools_instruction(
    tools: Sequence[ToolSpec],
    *,
    enforced: bool,
    must_call: bool,
    answer: dict[str, Any] | None,
) -> str:
    """What the model is told about its tools.

    Args:
        tools: What it may call.
        enforced: Whether a schema holds it to the form; if not, it is told every detail.
        must_call: Whether an answer instead of a call is unwelcome.
        answer: Schema of the answer, or None for text.
    """
    describe = _brief if enforced else _full
    lines = [json.dumps(describe(tool["function"]), ensure_ascii=False) for tool in tools]
    said = [words("tools").format(tools="\n".join(lines))]
    if must_call and not enforced:
        said.append(words("must_call"))
    if answer and not must_call:
        said.append(words("answer_schema").format(schema=json.dumps(answer, ensure_ascii=False)))
    return "\n".join(said)


def schema_instruction(schema: dict[str, Any]) -> str:
    """What the model is told about the shape its answer is held to."""
    return words("schema").format(schema=json.dumps(schema, ensure_ascii=False))


def json_instruction(schema: dict[str, Any] | None) -> str:
    """What the model is told about its answer when nothing holds it to a shape."""
    # Small models told to "fit this schema" repeat the schema, with the answer in it.
    kind = "array" if schema and schema.get("type") == "array" else "object"
    only = words("json_only").format(kind=kind)
    if schema is None:
        return only
    return f"{only} {words('its_schema').format(schema=json.dumps(schema, ensure_ascii=False))}"


def _brief(function: dict[str, Any]) -> dict[str, Any]:
    properties = function.get("parameters", {}).get("properties", {})
    return {
        "tool": function["name"],
        "description": function.get("description", ""),
        "arguments": {
            key: value.get("description") or value.get("type", "any") for key, value in properties.items()
        },
    }


def _full(function: dict[str, Any]) -> dict[str, Any]:
    return {
        "tool": function["name"],
        "description": function.get("description", ""),
        "schema of the arguments": _parameters(function),
    }


@cache
def words(name: str) -> str:
    """The text of a file beside this one."""
    return Path(__file__).with_name(f"{name}.txt").read_text(encoding="utf-8").strip()


def instructed(messages: Sequence[BaseMessage], instruction: str) -> list[BaseMessage]:
    """Add `instruction` to the leading system message, or as one."""
    if not messages or not isinstance(messages[0], SystemMessage):
        return [SystemMessage(instruction), *messages]
    content = cast("str | list[Any]", messages[0].content)
    if isinstance(content, str):
        return [SystemMessage(f"{content}\n\n{instruction}"), *messages[1:]]
    return [SystemMessage([*content, {"type": "text", "text": f"\n\n{instruction}"}]), *messages[1:]]
