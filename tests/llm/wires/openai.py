"""OpenAI's Chat Completions, as OpenAI, vLLM and llama.cpp stream them.

See https://platform.openai.com/docs/api-reference/chat-streaming.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MODEL = "gpt-4.1-mini"
DONE = "data: [DONE]\n\n"
USAGE = {
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13},
    "id": "chatcmpl-1",
}


def event(reason: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m-2026", "choices": [choice]}


ROLE = event(role="assistant", content="")


def answer(*texts: str) -> list[Any]:
    return [ROLE, *(event(content=text) for text in texts), event("stop"), USAGE, DONE]


def call(**function: str) -> dict[str, Any]:
    return {"index": 0, "id": "call_1", "type": "function", "function": function}


TOOL_ANSWER = [
    event(role="assistant", tool_calls=[call(name="get_weather", arguments="")]),
    event(tool_calls=[{"index": 0, "function": {"arguments": '{"city": '}}]),
    event(tool_calls=[{"index": 0, "function": {"arguments": '"Paris"}'}}]),
    event("stop"),  # what OpenAI says after a forced call
    USAGE,
    DONE,
]


class OpenAIWire:
    """Speaks Chat Completions."""

    base_path = "/v1"
    chat_path = "/v1/chat/completions"
    media_type = "text/event-stream"
    models: Sequence[str] = (MODEL,)
    streams_by_default = False

    opening = (ROLE,)
    closing = (event("stop"), USAGE, DONE)
    alive = ": ping\n\n"  # a comment, as the specification of server-sent events has them
    broken = "data: {broken\n\n"
    nonsense = "data: 5\n\n"
    error: Mapping[str, Any] = {"error": {"message": "engine died", "type": "server_error"}}
    error_status = 500

    def said(self, text: str) -> dict[str, Any]:
        return event(content=text)

    def failure(self, message: str) -> dict[str, Any]:
        return {"error": {"message": message, "type": "x", "code": None}}

    def frame(self, piece: dict[str, Any], request: dict[str, Any]) -> str:
        return f"data: {json.dumps(piece)}\n\n"

    def whole(self, pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": None}
        calls: dict[int, dict[str, Any]] = {}
        reason, usage = None, None
        for piece in pieces:
            usage = piece.get("usage", usage)
            for choice in piece["choices"]:
                reason = choice["finish_reason"] or reason
                if (text := choice["delta"].get("content")) is not None:
                    message["content"] = (message["content"] or "") + text
                for part in choice["delta"].get("tool_calls", ()):
                    made = calls.setdefault(part["index"], {**part, "function": {"arguments": ""}})
                    made["function"]["name"] = part["function"].get("name") or made["function"]["name"]
                    made["function"]["arguments"] += part["function"].get("arguments", "")
        if calls:
            message["tool_calls"] = list(calls.values())
        choices = [{"index": 0, "message": message, "finish_reason": reason}]
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m-2026"}
        return {**answer, "choices": choices} | ({"usage": usage} if usage else {})

    def described(self, path: str, models: Sequence[str]) -> tuple[int, Any]:
        if path != "/v1/models":
            return 404, self.failure(f"no {path}")
        return 200, {"object": "list", "data": [{"id": name, "object": "model"} for name in models]}

    def unknown(self, request: dict[str, Any], models: Sequence[str]) -> None:
        """Scripts say so themselves."""


class VLLMWire(OpenAIWire):
    """vLLM's and llama.cpp's servers: the same, but an error carries its status as a number."""

    error: Mapping[str, Any] = {
        "error": {"message": "engine died", "type": "InternalServerError", "code": 500}
    }
