"""Anthropic's Messages, streamed. See https://docs.anthropic.com/en/api/messages-streaming."""

import json
from collections.abc import Sequence
from typing import Any

MODEL = "claude-haiku-4-5"
PING = {"type": "ping"}
STOP = {"type": "message_stop"}


def start(model: str = MODEL, input_tokens: int = 25) -> dict[str, Any]:
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": input_tokens, "output_tokens": 1},
    }
    return {"type": "message_start", "message": message}


START = start()


def error_body(kind: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message}}


def begin(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def delta(**fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": fields}


def end(reason: str = "end_turn", **counts: int) -> list[dict[str, Any]]:
    usage = counts or {"input_tokens": 25, "output_tokens": 15}
    finish = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": finish, "usage": usage},
        STOP,
    ]


def said(*texts: str) -> list[Any]:
    parts = [delta(type="text_delta", text=text) for text in texts]
    return [START, begin(type="text", text=""), PING, *parts]


TOOL_ANSWER = [
    START,
    begin(type="tool_use", id="toolu_1", name="get_weather", input={}),
    delta(type="input_json_delta", partial_json='{"city": '),
    delta(type="input_json_delta", partial_json='"Paris"}'),
    *end("tool_use"),
]


class AnthropicWire:
    """Speaks the Messages API."""

    chat_path = "/v1/messages"
    media_type = "text/event-stream"
    models: Sequence[str] = (MODEL,)
    streams_by_default = False

    opening = (START, begin(type="text", text=""))
    closing = tuple(end())
    alive = PING
    broken = "event: content_block_delta\ndata: {broken\n\n"
    nonsense = "event: content_block_delta\ndata: 5\n\n"
    error = error_body("overloaded_error", "engine died")
    error_status = 529

    def said(self, text: str) -> dict[str, Any]:
        return delta(type="text_delta", text=text)

    def failure(self, message: str) -> dict[str, Any]:
        return error_body("some_error", message)

    def frame(self, piece: dict[str, Any], request: dict[str, Any]) -> str:
        return f"event: {piece['type']}\ndata: {json.dumps(piece)}\n\n"

    def whole(self, pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
        message: dict[str, Any] = {}
        arguments = ""
        for piece in pieces:
            match piece["type"]:
                case "message_start":
                    message = {**piece["message"], "content": []}
                case "content_block_start":
                    message["content"].append(dict(piece["content_block"]))
                case "content_block_delta":
                    part, block = piece["delta"], message["content"][-1]
                    for field in ("text", "thinking", "signature"):
                        if field in part:
                            block[field] = block.get(field, "") + part[field]
                    arguments += part.get("partial_json", "")
                case "content_block_stop" if arguments:
                    message["content"][-1]["input"], arguments = json.loads(arguments), ""
                case "message_delta":
                    message |= piece["delta"]
                    message["usage"] = message["usage"] | piece["usage"]
        return message

    def described(self, path: str, models: Sequence[str]) -> tuple[int, Any]:
        created = "2026-01-01T00:00:00Z"
        entries = [
            {"id": name, "type": "model", "display_name": "x", "created_at": created} for name in models
        ]
        if path == "/v1/models":
            return 200, {"data": entries, "has_more": False, "first_id": models[0], "last_id": models[-1]}
        named = [entry for entry in entries if path == f"/v1/models/{entry['id']}"]
        return (200, named[0]) if named else (404, error_body("not_found_error", f"no {path}"))

    def unknown(self, request: dict[str, Any], models: Sequence[str]) -> None:
        """Scripts say so themselves."""
