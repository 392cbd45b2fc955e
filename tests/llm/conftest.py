"""The real local model, loaded once a session, and a stand-in for Ollama."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from agentkit import portal
from agentkit.events import Event, EventBus
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.weights import WeightsStore

CHAT_MODEL = "qwen2.5-coder-0.5b-instruct"


class FakeOllama:
    """An HTTP server on loopback that speaks Ollama's documented protocol.

    `script` holds what `/api/chat` streams: a list of NDJSON objects a call, or a
    (status, body) pair. A `None` among the objects stalls the stream.
    """

    def __init__(self) -> None:
        self.models = ["qwen3:8b"]
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.disconnected = asyncio.Event()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = next(
                (int(line[15:]) for line in head.splitlines() if line.lower().startswith("content-length:")),
                0,
            )
            body = json.loads(await reader.readexactly(length)) if length else None
            await self._answer(head.split()[1], body, reader, writer)
        except ConnectionError:
            self.disconnected.set()
        finally:
            writer.close()

    async def _answer(
        self, path: str, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if path == "/api/tags":
            self._send(writer, 200, {"models": [{"name": name} for name in self.models]})
        elif path == "/api/show":
            shown = {"capabilities": ["completion", "tools"], "model_info": {"qwen3.context_length": 40960}}
            self._send(writer, 200, shown)
        elif path == "/api/chat":
            self.requests.append(body)
            await self._chat(body, reader, writer)
        else:
            self._send(writer, 404, {"error": "no such route"})
        await writer.drain()

    async def _chat(self, body: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if body["model"] not in self.models:
            self._send(writer, 404, {"error": f"model '{body['model']}' not found"})
            return
        answer = self.script.pop(0)
        if isinstance(answer, tuple):
            self._send(writer, *answer)
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\n\r\n")
        for part in answer:
            if part is None:
                await reader.read()  # until the client is gone
                self.disconnected.set()
                return
            writer.write(
                json.dumps({"model": body["model"], "created_at": "2026-01-01T00:00:00Z", **part}).encode()
                + b"\n"
            )
            await writer.drain()

    def _send(self, writer: asyncio.StreamWriter, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        writer.write(head.encode() + b"Connection: close\r\n\r\n" + data)

    @staticmethod
    def say(text: str, **message: Any) -> dict[str, Any]:
        return {"message": {"role": "assistant", "content": text, **message}, "done": False}

    @staticmethod
    def done(**counts: int) -> dict[str, Any]:
        empty = {"role": "assistant", "content": ""}
        return {"message": empty, "done": True, "done_reason": "stop", **counts}


@pytest.fixture(scope="session")
def weights_store(models_dir: Path) -> WeightsStore:
    return WeightsStore(models_dir)


@pytest.fixture(scope="session")
def bus() -> EventBus:
    return EventBus()


@pytest.fixture(scope="session")
def local_gateway(weights_store: WeightsStore, bus: EventBus) -> Iterator[LLMGateway]:
    # One thread: other work on a small machine makes two wait for each other.
    main = LLMConfig(provider="local", model=CHAT_MODEL, max_tokens=64, options={"threads": 1})
    gateway = LLMGateway({"main": main}, events=bus, weights=weights_store)
    yield gateway
    portal.run(gateway.aclose)


@pytest.fixture
def events(bus: EventBus) -> Iterator[list[Event]]:
    seen: list[Event] = []
    unsubscribe = bus.subscribe(seen.append)
    yield seen
    unsubscribe()


@pytest.fixture
async def ollama() -> AsyncIterator[FakeOllama]:
    async with FakeOllama() as server:
        yield server


# LangChain's standard tests forbid overriding; what cannot apply to a gateway is left out here.
NOT_APPLICABLE = {
    "test_init_from_env": "parts of agentkit take arguments and never read the environment",
    "test_serdes": "a gateway model holds live connections; blueprints are what is saved",
    "test_json_mode": "a 0.5B model does not find the keys of a schema it is told about in prose",
    "test_image_inputs": "a text model",
    "test_pdf_inputs": "a text model",
    "test_audio_inputs": "a text model",
    "test_image_tool_message": "a text model",
    "test_pdf_tool_message": "a text model",
    "test_anthropic_inputs": "Anthropic's own content blocks are no common format",
    "test_invoke_with_model_override": "a gateway model is one configured model",
    "test_ainvoke_with_model_override": "a gateway model is one configured model",
    "test_stream_with_model_override": "a gateway model is one configured model",
    "test_astream_with_model_override": "a gateway model is one configured model",
    "test_standard_params_model_override": "a gateway model is one configured model",
    "test_stream_time": "needs the VCR cassettes of a cloud provider",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def standard(item: pytest.Item) -> bool:
        return getattr(item, "cls", None) is not None and item.cls.__name__.startswith("TestStandard")

    left_out = [item for item in items if standard(item) and item.originalname in NOT_APPLICABLE]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
