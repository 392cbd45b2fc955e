"""Ollama and Anthropic as documented, with the real local model (llama.cpp) behind them.

Each `serve` translates one request to llama.cpp's OpenAI-compatible server and its stream back.
Tools are called through JSON the model is constrained to; a conversation whose last word is a
tool's result is answered in text.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import httpx

from .upstream import Exchange
from .wires.anthropic import PING, STOP, AnthropicWire, begin, delta, error_body, start
from .wires.ollama import done, say


class RefusedError(Exception):
    """llama.cpp did not take the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(frozen=True, slots=True)
class Llama:
    """A llama.cpp server: its address (`…/v1`) and its key."""

    url: str
    key: str

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """The events of a chat completion."""
        asked = {"stream": True, "stream_options": {"include_usage": True}}
        asked |= {name: value for name, value in body.items() if value is not None}
        async with (
            self._client() as client,
            client.stream("POST", f"{self.url}/chat/completions", json=asked) as answer,
        ):
            if not answer.is_success:
                raise RefusedError(answer.status_code, json.loads(await answer.aread())["error"]["message"])
            async for line in answer.aiter_lines():
                if line.startswith("data: {"):
                    yield json.loads(line[6:])

    async def count(self, messages: Sequence[dict[str, str]]) -> int:
        """Tokens of a prompt."""
        root = self.url.removesuffix("/v1")
        async with self._client() as client:
            prompt = (await client.post(f"{root}/apply-template", json={"messages": messages})).json()
            text = {"content": prompt["prompt"], "add_special": True, "parse_special": True}
            tokens = await client.post(f"{root}/tokenize", json=text)
        return len(tokens.json()["tokens"])

    def _client(self) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.key}"}
        # Tests bound the time; plain HTTP needs no certificates.
        return httpx.AsyncClient(trust_env=False, timeout=None, headers=headers, verify=False)


class RealOllama:
    """`/api/chat` (https://github.com/ollama/ollama/blob/main/docs/api.md)."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    async def serve(self, request: dict[str, Any], exchange: Exchange) -> None:
        options = request.get("options") or {}
        told = [{"role": one["role"], "content": one.get("content") or ""} for one in request["messages"]]
        calling = bool(request.get("tools")) and told[-1]["role"] != "tool"
        schema = {
            tool["function"]["name"]: tool["function"]["parameters"] for tool in request.get("tools") or ()
        }
        body = {
            "messages": [one | {"role": "user"} if one["role"] == "tool" else one for one in told],
            "temperature": options.get("temperature"),
            "max_tokens": options.get("num_predict"),
            "stop": options.get("stop"),
            "response_format": held(calls(schema)) if calling else _format(request.get("format")),
        }
        text, reason, usage = "", "stop", {}
        try:
            async with aclosing(self._llama.stream(body)) as events:
                async for event in events:
                    piece, ending = read(event)
                    reason, usage = ending or reason, event.get("usage") or usage
                    text += piece
                    if piece and not calling:
                        await exchange.stream_piece(say(piece), request)
        except RefusedError as refusal:
            await exchange.reply(refusal.status, {}, {"error": refusal.message})
            return
        if calling:
            made = json.loads(text)
            call = {"function": {"name": made["name"], "arguments": made["arguments"]}}
            await exchange.stream_piece(say("", tool_calls=[call]), request)
        counts = {"prompt_eval_count": usage["prompt_tokens"], "eval_count": usage["completion_tokens"]}
        await exchange.stream_piece(done(reason, **counts), request)
        await exchange.end()


def _format(asked: Any) -> dict[str, Any] | None:
    if not asked:
        return None
    return {"type": "json_object"} if asked == "json" else held(asked)


class RealAnthropic:
    """`/v1/messages` (https://docs.anthropic.com/en/api/messages-streaming)."""

    def __init__(self, llama: Llama) -> None:
        self._llama = llama

    async def serve(self, request: dict[str, Any], exchange: Exchange) -> None:  # noqa: C901 - one step each
        told = [{"role": one["role"], "content": flat(one["content"])} for one in request["messages"]]
        if system := request.get("system"):
            told.insert(0, {"role": "system", "content": flat(system)})
        schema = {tool["name"]: tool["input_schema"] for tool in request.get("tools") or ()}
        last = request["messages"][-1]["content"]
        replying = isinstance(last, list) and any(block["type"] == "tool_result" for block in last)
        calling = bool(schema) and not replying and (request.get("tool_choice") or {}).get("type") != "none"
        wanted = (request.get("output_config") or {}).get("format")
        body = {
            "messages": told,
            "temperature": request.get("temperature"),
            "max_tokens": request["max_tokens"],
            "stop": request.get("stop_sequences"),
            "response_format": held(calls(schema)) if calling else held(wanted["schema"]) if wanted else None,
        }
        pieces: list[dict[str, Any]] = []

        async def send(piece: dict[str, Any]) -> None:
            pieces.append(piece)
            if request.get("stream"):
                await exchange.stream_piece(piece, request)

        text, reason, usage, prompt_tokens = "", "stop", {}, 0
        try:
            async with aclosing(self._llama.stream(body)) as events:
                async for event in events:
                    if not prompt_tokens:
                        prompt_tokens = await self._llama.count(told)
                        await send(start(request["model"], prompt_tokens))
                        await send(PING)
                        if not calling:
                            await send(begin(type="text", text=""))
                    piece, ending = read(event)
                    reason, usage = ending or reason, event.get("usage") or usage
                    text += piece
                    if piece and not calling:
                        await send(delta(type="text_delta", text=piece))
        except RefusedError as refusal:
            await exchange.reply(refusal.status, {}, error_body("invalid_request_error", refusal.message))
            return
        if calling:
            made = json.loads(text)
            block = begin(type="tool_use", id="toolu_1", name=made["name"], input={})
            await send(block)
            arguments = json.dumps(made["arguments"])
            for part in (arguments[:3], arguments[3:]):
                await send(delta(type="input_json_delta", partial_json=part))
        stopped = "tool_use" if calling else {"length": "max_tokens"}.get(reason, "end_turn")
        for piece in (
            {"type": "content_block_stop", "index": 0},
            {
                "type": "message_delta",
                "delta": {"stop_reason": stopped, "stop_sequence": None},
                "usage": {"input_tokens": prompt_tokens, "output_tokens": usage["completion_tokens"]},
            },
            STOP,
        ):
            await send(piece)
        if request.get("stream"):
            await exchange.end()
        else:
            await exchange.reply(200, {}, AnthropicWire().whole(pieces))


def read(event: dict[str, Any]) -> tuple[str, str | None]:
    """Text and finish reason of an event."""
    for choice in event["choices"]:
        return choice["delta"].get("content") or "", choice.get("finish_reason")
    return "", None


def flat(content: Any) -> str:
    """Anthropic's content blocks as text."""
    if isinstance(content, str):
        return content
    return "\n".join(
        flat(block["content"])
        if block["type"] == "tool_result"
        else block.get("text") or json.dumps(block["input"])
        for block in content
    )


def held(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "reply", "schema": schema}}


def calls(tools: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a call of one of the tools looks like."""
    shapes = [
        {
            "type": "object",
            "properties": {"name": {"const": name}, "arguments": schema},
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
        for name, schema in tools.items()
    ]
    return {"anyOf": shapes} if len(shapes) > 1 else shapes[0]
