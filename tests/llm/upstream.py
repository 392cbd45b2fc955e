"""A server on loopback that stands for a provider's, and fails as it is told.

What it speaks is a `Wire` (one file each in `wires/`); what it does is a script::

    async with Upstream(OpenAIWire()) as server:
        server.script = [[*wire.opening, "half", HANG], (503, {}, body), wire.answer("hello")]

Each entry is what becomes of one request, in order; the last one repeats. It is a response as a
whole, `(status, headers, body)` or `(status, body)`, or the steps of a stream: an object of the protocol
(framed by the wire), a string (sent as it is), a number (seconds to wait), or what is named below.
After the last step the stream ends politely. A request that wants no stream gets the same steps as one
body, with the faults where they can be: an error as a status, a cut in the middle of the JSON.
"""

import asyncio
import json
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, Self

HANG = None
"""Say nothing more, until the client hangs up. As the first step: not even headers."""

CUT = object()
"""The connection ends here, in the middle of the body."""

HEADERS = object()
"""Send status and headers now; otherwise they come with the first piece of the body."""

_TLS_HELLO = b"\x16"


@dataclass(frozen=True, slots=True)
class Forever:
    """Send `piece` again and again, `every` so many seconds."""

    piece: Any
    every: float


class Wire(Protocol):
    """A provider's documented protocol."""

    chat_path: str
    media_type: str
    models: Sequence[str]
    error_status: int | None
    nonsense: str
    streams_by_default: bool

    def frame(self, piece: dict[str, Any], request: dict[str, Any]) -> str:
        """Write one object of a stream."""
        ...

    def described(self, path: str, models: Sequence[str]) -> tuple[int, Any]:
        """Answer what is not a chat: status and body."""
        ...

    def whole(self, pieces: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Put the objects of a stream together, for a request that wants none."""
        ...

    def unknown(self, request: dict[str, Any], models: Sequence[str]) -> tuple[int, Any] | None:
        """Refuse a model that is not served, if this protocol's servers look at the name."""
        ...


Serve = Callable[[dict[str, Any], "Exchange"], Any]
"""Answers a chat request by itself, in place of a script."""


class Exchange:
    """One response, written piece by piece."""

    def __init__(self, wire: Wire, writer: asyncio.StreamWriter) -> None:
        self._wire = wire
        self._writer = writer
        self._begun = False

    async def reply(self, status: int, headers: dict[str, str], body: Any) -> None:
        """Send a response as a whole."""
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        lines = {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}
        self._head(status, lines)
        self._writer.write(data)
        await self._writer.drain()

    async def stream(self, steps: Sequence[Any], request: dict[str, Any]) -> None:
        """Follow the steps of a script."""
        for step in steps:
            if step is CUT:
                return
            if step is HEADERS:
                await self.send("")
            elif step is HANG:
                await asyncio.Event().wait()  # the server ends it when the client is gone
            elif isinstance(step, int | float):
                await asyncio.sleep(step)
            elif isinstance(step, Forever):
                while True:
                    await self.send(self._text(step.piece, request))
                    await asyncio.sleep(step.every)
            else:
                await self.send(self._text(step, request))
        await self.end()

    async def stream_piece(self, piece: dict[str, Any], request: dict[str, Any]) -> None:
        """Send one object of the protocol."""
        await self.send(self._wire.frame(piece, request))

    async def whole(self, steps: Sequence[Any]) -> None:  # noqa: C901 - one case a kind of step
        """Follow the steps of a script for a request that wants no stream."""
        pieces: list[dict[str, Any]] = []
        for step in steps:
            if step is CUT:
                data = json.dumps(self._wire.whole(pieces))
                self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(data))})
                self._writer.write(data[: len(data) // 2].encode())
                await self._writer.drain()
                return
            if step is HEADERS:
                await self.send("")
            elif step is HANG:
                await asyncio.Event().wait()
            elif isinstance(step, int | float):
                await asyncio.sleep(step)
            elif isinstance(step, Forever):
                while True:
                    await self.send(" ")  # what keeps a connection alive and means nothing in JSON
                    await asyncio.sleep(step.every)
            elif isinstance(step, str):
                if "{" in step or step == self._wire.nonsense:
                    await self.reply(200, {}, step)
                    return
            elif "error" in step:
                await self.reply(self._wire.error_status or 500, {}, step)
                return
            else:
                pieces.append(step)
        await self.reply(200, {}, self._wire.whole(pieces) if pieces else "")

    async def send(self, text: str) -> None:
        """Send a piece of a body whose end is not known yet."""
        if not self._begun:
            self._begun = True
            self._head(200, {"Content-Type": self._wire.media_type, "Transfer-Encoding": "chunked"})
        if text:
            data = text.encode()
            self._writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        await self._writer.drain()

    async def end(self) -> None:
        """End the body as HTTP wants it."""
        await self.send("")
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._writer.write(f"HTTP/1.1 {status} X\r\n{lines}Connection: close\r\n\r\n".encode())

    def _text(self, piece: Any, request: dict[str, Any]) -> str:
        return piece if isinstance(piece, str) else self._wire.frame(piece, request)


class Upstream:
    """See the module.

    Attributes:
        script: What becomes of each request.
        requests: Bodies of the chat requests, in order of arrival.
        heads: Their request lines and headers.
        models: Names it serves.
        open: Responses under way.
        hung_up: When clients left before the end of a response (`time.perf_counter`).
        disconnected: Set when the first one did.
    """

    def __init__(self, wire: Wire, *, serve: Serve | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.wire = wire
        self.script: list[Any] = []
        self.requests: list[dict[str, Any]] = []
        self.heads: list[str] = []
        self.models = list(wire.models)
        self.open = 0
        self.hung_up: list[float] = []
        self.disconnected = asyncio.Event()
        self.arrived = asyncio.Event()
        self.origin = ""
        self._serve = serve
        self._tls = tls
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def url(self) -> str:
        """What a provider's base URL is set to."""
        return self.origin + getattr(self.wire, "base_path", "")

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls)
        port = self._server.sockets[0].getsockname()[1]
        self.origin = f"{'https' if self._tls else 'http'}://127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for _turn in range(3):  # a connection just accepted is not ours to close yet
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # At once, so that the end of the server finds even what has not begun to be answered.
        task = asyncio.create_task(self._connected(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda _: writer.close())
        task.add_done_callback(self._tasks.discard)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == _TLS_HELLO:  # what a plain HTTP server says to a client that speaks TLS
                await Exchange(self.wire, writer).reply(400, {}, "Bad Request")
                return
            head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
            lengths = [line[15:] for line in head.splitlines() if line.lower().startswith("content-length:")]
            body = await reader.readexactly(int(lengths[0])) if lengths else b""
            await self._watched(self._answer(head, body, Exchange(self.wire, writer)), reader)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def _watched(self, answer: Any, reader: asyncio.StreamReader) -> None:
        """Answer until done or until the client is gone, whichever comes first."""
        answering, leaving = asyncio.create_task(answer), asyncio.create_task(reader.read())
        self.open += 1
        try:
            await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() or isinstance(answering.exception(), ConnectionError):
                self.hung_up.append(time.perf_counter())
                self.disconnected.set()
            else:
                answering.result()
        finally:
            self.open -= 1
            for task in (answering, leaving):
                task.cancel()
            await asyncio.gather(answering, leaving, return_exceptions=True)

    async def _answer(self, head: str, body: bytes, exchange: Exchange) -> None:
        path = head.split()[1].partition("?")[0]
        if path != self.wire.chat_path:
            status, described = self.wire.described(path, self.models)
            await exchange.reply(status, {}, described)
            return
        request = json.loads(body)
        self.heads.append(head)
        self.requests.append(request)
        self.arrived.set()
        if refusal := self.wire.unknown(request, self.models):
            await exchange.reply(refusal[0], {}, refusal[1])
        elif self._serve:
            await self._serve(request, exchange)
        else:
            script = self.script
            planned = script.pop(0) if len(script) > 1 else script[0]
            if isinstance(planned, tuple):
                status, *headers, whole = planned
                await exchange.reply(status, headers[0] if headers else {}, whole)
            elif request.get("stream", self.wire.streams_by_default):
                await exchange.stream(planned, request)
            else:
                await exchange.whole(planned)
