"""One loopback server that speaks as OpenAI, vLLM, Anthropic and Ollama do, and answers as it is told."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from pydantic import SecretStr

from agentkit.events import EventBus
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.llm.policies import RetryPolicy
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.providers.openai import OpenAIProvider
from agentkit.registry import Registry
from agentkit.weights import WeightsStore

from ..wires.anthropic import AnthropicWire
from ..wires.openai import OpenAIWire

ONCE = RetryPolicy(attempts=1)


@dataclass
class Answer:
    """What the server says, and how that ends; `pieces` are put together for who wants no stream."""

    body: str
    status: int = 200
    end: Literal["done", "cut", "hang"] = "done"
    pieces: Sequence[dict[str, Any]] = ()

    def said(self, path: str, request: dict[str, Any] | None) -> tuple[str, str]:
        """Media type and body for a request."""
        wires = {"/v1/chat/completions": OpenAIWire(), "/v1/messages": AnthropicWire()}
        if self.pieces and path in wires and request and not request.get("stream"):
            whole = json.dumps(wires[path].whole(self.pieces))
            return "application/json", whole if self.end == "done" else whole[: len(whole) // 2]
        return ("text/event-stream" if self.status == 200 else "application/json"), self.body


def openai(*texts: str, call: tuple[str, str, dict[str, Any]] | None = None, **how: Any) -> Answer:
    """Chat Completions: texts, or a call as (id, name, arguments). Cut: without its end."""
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *({"content": t} for t in texts)]
    if call:
        call_id, name, arguments = call
        function = {"name": name, "arguments": json.dumps(arguments)}
        deltas.append({"tool_calls": [{"index": 0, "id": call_id, "type": "function", "function": function}]})
    reasons = [None] * len(deltas) + ["tool_calls" if call else "stop"]
    events = [
        {"id": "c1", "object": "chat.completion.chunk", "model": "m",
         "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        for delta, reason in zip([*deltas, {}], reasons, strict=True)
    ]  # fmt: skip
    cut = how.get("end", "done") != "done"
    lines = [f"data: {json.dumps(event)}\n\n" for event in (events[:-1] if cut else events)]
    return Answer("".join(lines) + ("" if cut else "data: [DONE]\n\n"), pieces=events, **how)


def anthropic(*blocks: dict[str, Any]) -> Answer:
    """A Messages stream of whole content blocks."""
    usage = {"input_tokens": 9, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
               "stop_reason": None, "stop_sequence": None, "usage": usage}  # fmt: skip
    events: list[dict[str, Any]] = [{"type": "message_start", "message": message}]
    for index, block in enumerate(blocks):
        deltas, start = _anthropic_deltas(block)
        events.append({"type": "content_block_start", "index": index, "content_block": start})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    stop = {"stop_reason": reason, "stop_sequence": None}
    events.append({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 5}})
    events.append({"type": "message_stop"})
    return Answer("".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events), pieces=events)


def _anthropic_deltas(block: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    match block["type"]:
        case "text":
            return [{"type": "text_delta", "text": block["text"]}], {**block, "text": ""}
        case "thinking":
            deltas = [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": "sig"},
            ]
            return deltas, {"type": "thinking", "thinking": "", "signature": ""}
        case _:
            arguments = json.dumps(block["input"])
            return [{"type": "input_json_delta", "partial_json": arguments}], {**block, "input": {}}


def ollama(*texts: str, call: tuple[str, dict[str, Any]] | None = None) -> Answer:
    """`/api/chat`: texts, or a call as (name, arguments)."""
    said: list[dict[str, Any]] = [{"role": "assistant", "content": text} for text in texts]
    if call:
        function = {"name": call[0], "arguments": call[1]}
        said.append({"role": "assistant", "content": "", "tool_calls": [{"function": function}]})
    parts = [{"message": message, "done": False} for message in said]
    parts.append({"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"})
    head = {"model": "qwen3:8b", "created_at": "2026-01-01T00:00:00Z"}
    return Answer("".join(json.dumps(head | part) + "\n" for part in parts))


DOWN = Answer(json.dumps({"error": {"message": "down", "type": "server_error"}}), status=503)


class Upstream:
    """Gives `answers` in turn to chat requests, and keeps the requests.

    Attributes:
        capabilities: What Ollama says of its model; None: it fails to say.
        shown: How often it was asked.
    """

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[dict[str, Any]] = []
        self.capabilities: list[str] | None = ["completion", "tools"]
        self.shown = 0
        self.asked, self.hung_up = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            lengths = [line[15:] for line in head.splitlines() if line.startswith("content-length:")]
            body = json.loads(await reader.readexactly(int(lengths[0]))) if lengths else None
            path = head.split()[1].partition("?")[0]
            answer = self._answer(path, body)
            kind, said = answer.said(path, body)
            writer.write(f"HTTP/1.1 {answer.status} X\r\nConnection: close\r\n".encode())
            writer.write(f"Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            data = said.encode()
            writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
            await writer.drain()
            if answer.end == "done":
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            elif answer.end == "hang":
                await reader.read()
                self.hung_up.set()
        except (ConnectionError, asyncio.IncompleteReadError):
            self.hung_up.set()
        finally:
            writer.close()

    def _answer(self, path: str, body: Any) -> Answer:
        if path == "/v1/models":
            return Answer(json.dumps({"object": "list", "data": [{"id": "m", "object": "model"}]}))
        if path == "/api/show":
            self.shown += 1
            known = {"capabilities": self.capabilities, "model_info": {}}
            return Answer(json.dumps(known)) if self.capabilities is not None else DOWN
        self.requests.append(body)
        self.asked.set()
        return self.answers.pop(0)


class Wordy(OpenAIProvider):
    """An OpenAI-compatible server whose model has neither tools nor JSON schemas."""

    name = "wordy"

    async def get_model_info(self) -> Any:
        from agentkit.llm import ModelInfo

        return ModelInfo(self.name, self.model, None, native_tools=False, structured_output="none")


def gateway(upstream: Upstream, main: LLMConfig, events: EventBus | None = None) -> LLMGateway:
    """A gateway whose providers all live at `upstream`."""
    registry = Registry("provider", table=PROVIDERS._lazy)
    registry.register("wordy", Wordy)
    return LLMGateway(
        {"main": main},
        events=events or EventBus(),
        weights=WeightsStore("unused"),
        providers=registry,
        ollama_base_url=upstream.url,
        openai_api_key=SecretStr("sk-test-key-of-ours"),
        openai_base_url=f"{upstream.url}/v1",
        anthropic_api_key=SecretStr("sk-ant-key-of-ours"),
        anthropic_base_url=upstream.url,
        vllm_base_url=f"{upstream.url}/v1",
    )


def model(provider: str, *fallbacks: LLMConfig, **fields: Any) -> LLMConfig:
    """A model that is tried once."""
    name = "m" if provider == "vllm" else None
    return LLMConfig(provider, model=name, retry=ONCE, fallbacks=fallbacks, **fields)
