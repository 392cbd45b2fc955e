"""Ollama's API: NDJSON. See https://github.com/ollama/ollama/blob/main/docs/api.md."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

MODEL = "qwen3:8b"
_CREATED = "2026-01-01T00:00:00Z"


def say(text: str, **message: Any) -> dict[str, Any]:
    return {"message": {"role": "assistant", "content": text, **message}, "done": False}


def done(reason: str = "stop", **counts: int) -> dict[str, Any]:
    empty = {"role": "assistant", "content": ""}
    return {"message": empty, "done": True, "done_reason": reason, **counts}


class OllamaWire:
    """Speaks `/api/chat`, `/api/tags` and `/api/show`."""

    chat_path = "/api/chat"
    media_type = "application/x-ndjson"
    models: Sequence[str] = (MODEL,)
    streams_by_default = True

    opening = (say(""),)
    closing = (done(prompt_eval_count=9, eval_count=4),)
    alive = say("")  # Ollama sends no comments: a chunk without content is as near as it comes
    broken = "{broken\n"
    nonsense = "5\n"
    error: Mapping[str, Any] = {"error": "engine died"}
    error_status = None

    def said(self, text: str) -> dict[str, Any]:
        return say(text)

    def failure(self, message: str) -> dict[str, Any]:
        return {"error": message}

    def frame(self, piece: dict[str, Any], request: dict[str, Any]) -> str:
        stamped = piece if "error" in piece else {"model": request["model"], "created_at": _CREATED, **piece}
        return json.dumps(stamped) + "\n"

    def whole(self, pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
        raise NotImplementedError("langchain-ollama always streams")

    def described(self, path: str, models: Sequence[str]) -> tuple[int, Any]:
        if path == "/api/tags":
            return 200, {"models": [{"name": name} for name in models]}
        if path == "/api/show":
            facts = {"qwen3.context_length": 40960}
            return 200, {"capabilities": ["completion", "tools"], "model_info": facts}
        return 404, {"error": "no such route"}

    def unknown(self, request: dict[str, Any], models: Sequence[str]) -> tuple[int, Any] | None:
        name = request["model"]
        return None if name in models else (404, {"error": f"model '{name}' not found"})
