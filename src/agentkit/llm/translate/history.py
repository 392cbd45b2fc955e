"""An earlier conversation in words that the model at hand understands, whoever spoke them."""

import hashlib
import json
import re
from collections.abc import Sequence
from itertools import groupby
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage

from agentkit.llm.translate.wording import words

# What all take: Anthropic ^[a-zA-Z0-9_-]+$, OpenAI no more than 40 characters.
_ID = re.compile(r"[a-zA-Z0-9_-]{1,40}")


def uses_tools(messages: Sequence[BaseMessage]) -> bool:
    """Whether a tool was called in the conversation so far."""
    return any(
        isinstance(message, ToolMessage) or (isinstance(message, AIMessage) and bool(message.tool_calls))
        for message in messages
    )


def portable(messages: Sequence[BaseMessage], provider: str) -> list[BaseMessage]:
    """Return `messages` as `provider` takes them, which has tools of its own.

    Ids of tool calls are replaced where some provider would refuse them, always by the same.
    What another provider answered in its own content blocks (reasoning, signatures, its own
    form of tool calls) becomes the text and the tool calls it holds.
    """
    return [_portable(message, provider) for message in messages]


def _portable(message: BaseMessage, provider: str) -> BaseMessage:
    if isinstance(message, ToolMessage):
        call_id = _portable_id(message.tool_call_id)
        if call_id == message.tool_call_id:
            return message
        return message.model_copy(update={"tool_call_id": call_id})
    if not isinstance(message, AIMessage):
        return message
    strange = any(call["id"] != _portable_id(call["id"]) for call in message.tool_calls)
    if not strange and not (_foreign(message, provider) and _is_special(message)):
        return message
    return AIMessage(
        content=str(message.text),
        tool_calls=[{**call, "id": _portable_id(call["id"])} for call in message.tool_calls],
        name=message.name,
        id=message.id,
    )


def _portable_id(call_id: str | None) -> str | None:
    if call_id is None or _ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode(errors='replace')).hexdigest()[:24]}"


def _foreign(message: AIMessage, provider: str) -> bool:
    metadata = cast("dict[str, Any]", message.response_metadata)
    return metadata.get("model_provider", provider) != provider


def _is_special(message: AIMessage) -> bool:
    """Whether there is more to the message than text and tool calls."""
    special = message.additional_kwargs or message.invalid_tool_calls
    return bool(special) or not isinstance(message.content, str)


def told(messages: Sequence[BaseMessage], *, remind: bool = False) -> list[BaseMessage]:
    """Return `messages` for a model that has no tools: calls and results in the words it is to use.

    Args:
        messages: The conversation so far.
        remind: Say after the last result how to answer; without it, small models call the
            same tool again.
    """
    retold: list[BaseMessage] = []
    # Results that follow each other become one message: many models want roles to alternate.
    for are_results, group in groupby(messages, key=lambda message: isinstance(message, ToolMessage)):
        if are_results:
            results = cast("list[ToolMessage]", list(group))
            retold.append(_results(results, remind=remind and results[-1] is messages[-1]))
        else:
            retold += [AIMessage(_said(said)) if isinstance(said, AIMessage) else said for said in group]
    return retold


def _results(results: Sequence[ToolMessage], *, remind: bool) -> HumanMessage:
    parts = [
        words("tool_result").format(tool=result.name or result.tool_call_id, content=str(result.text))
        for result in results
    ]
    text = "\n\n".join([*parts, words("reminder")] if remind else parts)
    seen = [block for result in results for block in _not_text(result)]
    return HumanMessage([{"type": "text", "text": text}, *seen] if seen else text)


def _not_text(message: BaseMessage) -> list[dict[str, Any]]:
    """Images and the like, which a model without tools may well see."""
    content = cast("str | list[str | dict[str, Any]]", message.content)
    blocks = [] if isinstance(content, str) else content
    return [block for block in blocks if isinstance(block, dict) and block.get("type") != "text"]


def _said(message: AIMessage) -> str:
    calls = [
        json.dumps({"tool": call["name"], "arguments": call["args"]}, ensure_ascii=False)
        for call in message.tool_calls
    ]
    text = str(message.text)
    return "\n".join([text, *calls] if text.strip() or not calls else calls)
