"""Tools for models that cannot call any: a grammar leaves them only well-formed calls.

A small model does not reliably emit tool calls of its own. It is constrained to one JSON
object, `{"tool": NAME, "arguments": {...}}` or `{"answer": TEXT}`, and what it writes is
turned back into LangChain's tool calls or text while it streams.
"""

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from agentkit.llm.base import ToolSpec
from agentkit.llm.structured import inlined

_ANSWER = re.compile(r'\s*\{\s*"answer"\s*:\s*"')
_UNDECIDED = re.compile(r'\s*(\{\s*("(a(n(s(w(e(r("\s*(:\s*)?)?)?)?)?)?)?)?)?)?')
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[^u])")


def tools_schema(tools: Sequence[ToolSpec], choice: str | None) -> dict[str, Any]:
    """JSON schema of what the model may say.

    Args:
        tools: What it may call.
        choice: `any` forbids an answer in text, a tool's name all other tools.
    """
    functions = [tool["function"] for tool in tools]
    if choice not in (None, "auto", "any"):
        functions = [function for function in functions if function["name"] == choice]
    variants = [_call_schema(function) for function in functions]
    if choice in (None, "auto"):
        variants.append(_object(answer={"type": "string"}))
    return variants[0] if len(variants) == 1 else {"anyOf": variants}


def _call_schema(function: dict[str, Any]) -> dict[str, Any]:
    parameters = inlined(function.get("parameters") or {"type": "object", "properties": {}})
    return _object(tool={"const": function["name"]}, arguments=parameters)


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def tools_instruction(tools: Sequence[ToolSpec]) -> str:
    """What the model is told about its tools."""
    lines = [json.dumps(_brief(tool["function"]), ensure_ascii=False) for tool in tools]
    return _text("local_tools.txt").format(tools="\n".join(lines))


def reminder() -> str:
    """What follows the last tool result: without it, small models call the same tool again."""
    return _text("local_tool_reminder.txt")


def schema_instruction(schema: dict[str, Any]) -> str:
    """What the model is told about the shape its answer is held to."""
    return _text("local_schema.txt").format(schema=json.dumps(schema, ensure_ascii=False))


def _brief(function: dict[str, Any]) -> dict[str, Any]:
    properties = function.get("parameters", {}).get("properties", {})
    return {
        "tool": function["name"],
        "description": function.get("description", ""),
        "arguments": {
            key: value.get("description") or value.get("type", "any") for key, value in properties.items()
        },
    }


@cache
def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8").strip()


def said(message: BaseMessage) -> str:
    """An earlier message in the words the model is constrained to."""
    if isinstance(message, ToolMessage):
        name = message.name or message.tool_call_id
        return _text("local_tool_result.txt").format(tool=name, content=str(message.text))
    if isinstance(message, AIMessage) and message.tool_calls:
        calls = [{"tool": call["name"], "arguments": call["args"]} for call in message.tool_calls]
        return "\n".join(json.dumps(call, ensure_ascii=False) for call in calls)
    return str(message.text)


class ConstrainedReader:
    """Turns the constrained JSON, as it streams in, into text or one tool call."""

    def __init__(self) -> None:
        self._seen = ""
        self._answer = False
        self._done = False
        self.called = False

    def feed(self, piece: str) -> Iterator[str]:
        """Take the next piece of the model's output; yield answer text that is certain by now."""
        self._seen += piece
        if not self._answer and not _UNDECIDED.fullmatch(self._seen) and (start := _ANSWER.match(self._seen)):
            self._answer, self._seen = True, self._seen[start.end() :]
        if self._answer and not self._done and (text := self._take()):
            yield text

    def _take(self) -> str:
        """Decode and remove the part of the JSON string that is complete."""
        decoded: list[str] = []
        position = 0
        while position < len(self._seen):
            character = self._seen[position]
            if character == '"':
                self._done = True
                break
            if character != "\\":
                end = _next_special(self._seen, position)
                decoded.append(self._seen[position:end])
            else:
                escape = _ESCAPE.match(self._seen, position)
                if escape is None:
                    break  # cut in the middle of an escape: wait for the rest
                end = escape.end()
                if _high_surrogate(escape.group(1)):
                    pair = _ESCAPE.match(self._seen, end)
                    if pair is None and len(self._seen) - end < len("\\uDC00"):
                        break
                    if pair is not None and pair.group(1).startswith("u"):
                        end = pair.end()
                text = json.loads(f'"{self._seen[position:end]}"')
                decoded.append(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
            position = end
        self._seen = self._seen[position:]
        return "".join(decoded)

    def end(self) -> ToolCallChunk | str | None:
        """Say what the output was: the tool call, the raw text if it is neither, or None after an answer."""
        if self._answer:
            return None
        try:
            call = json.loads(self._seen)
            name, arguments = call["tool"], call["arguments"]
        except (json.JSONDecodeError, KeyError, TypeError):
            return self._seen  # cut off by max_tokens or a stop string
        self.called = True
        return tool_call_chunk(
            name=name, args=json.dumps(arguments, ensure_ascii=False), id=f"call_{uuid4().hex[:16]}", index=0
        )


def _next_special(text: str, start: int) -> int:
    ends = [end for mark in ('"', "\\") if (end := text.find(mark, start)) >= 0]
    return min(ends, default=len(text))


def _high_surrogate(escape: str) -> bool:
    return escape[0] == "u" and escape[1:3].lower() in ("d8", "d9", "da", "db")
