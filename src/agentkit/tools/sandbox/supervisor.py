"""Starts one sandboxed process, watches it, and leaves nothing of it behind.

Everything that comes out is capped while it is read. Standard output is never parsed; the
result pipe is, by a format so plain that forged bytes are only wrong, not dangerous.
"""

import asyncio
import marshal
import os
import signal
import struct
import time
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from typing import Any, cast

from agentkit.errors import SandboxError
from agentkit.tools.sandbox.base import Exit, Limits, SandboxResult, is_file_name
from agentkit.tools.sandbox.workdir import is_over

BOOT = (
    "import sys,marshal;p=marshal.loads(sys.stdin.buffer.read());s=p.pop('stage2');"
    "exec(marshal.loads(s) if isinstance(s,bytes) else compile(s,'<stage2>','exec'));main(p,int(sys.argv[1]))"
)
"""What the interpreter is started with; the rest comes through standard input."""

PYTHON_FLAGS = ("-I", "-S", "-B", "-X", "utf8")
"""No environment, no site and its .pth files, no bytecode written, UTF-8."""

_MEASURE_EVERY = 0.025
_START = 30.0
"""Most seconds from the start of the process to the first word of foreign code."""

_FRAME = struct.Struct(">cHI")
_MARSHAL_VERSION = 2  # readable by every Python 3


@dataclass(frozen=True, slots=True)
class Launch:
    """How one run is started.

    Attributes:
        backend: Name for the result.
        command: Program and arguments; the number of the result pipe is appended.
        payload: What stage 2 is told.
        measured: Work directory on the host to keep an eye on; None where a quota bounds it.
    """

    backend: str
    command: tuple[str, ...]
    payload: Mapping[str, Any]
    measured: str | None = None


@cache
def stage2() -> str:
    """The text of `stage2.py`."""
    return Path(__file__).with_name("stage2.py").read_text(encoding="utf-8")


@cache
def _compiled(text: str) -> bytes:
    """The second stage as bytecode: compiling it in every run would take longer than all else in it."""
    return marshal.dumps(compile(text, "<stage2>", "exec", dont_inherit=True))


async def supervise(launch: Launch, limits: Limits) -> SandboxResult:
    """Run a launch to its end or to a limit.

    Cancellation ends the process and waits until it is gone before it goes on.

    Raises:
        SandboxError: It could not be started, or failed before foreign code ran.
    """
    started = time.monotonic()
    watch = _Watch(limits)
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    opened = os.fdopen(reading, "rb", buffering=0)
    try:
        results, _ = await loop.connect_read_pipe(lambda: _ResultPipe(watch), opened)
    except BaseException:
        opened.close()
        os.close(writing)
        raise
    try:
        try:
            transport = await _start(loop, watch, launch, writing)
        finally:
            os.close(writing)
        try:
            await _until_end(watch, transport, launch, limits)
        finally:
            await _end(watch, transport)
    finally:
        results.close()
    return _result(watch, launch, limits, time.monotonic() - started)


async def _start(
    loop: asyncio.AbstractEventLoop, watch: "_Watch", launch: Launch, pipe: int
) -> asyncio.SubprocessTransport:
    try:
        transport, _ = await loop.subprocess_exec(
            lambda: watch,
            *launch.command,
            str(pipe),
            pass_fds=(pipe,),
            env={},
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"The {launch.backend} sandbox could not be started: {error}") from error
    first = _compiled(stage2()) if launch.payload["bytecode"] == MAGIC_NUMBER.hex() else stage2()
    payload = marshal.dumps({**launch.payload, "stage2": first}, _MARSHAL_VERSION)
    stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
    stdin.write(payload)
    stdin.close()  # once it is written
    return transport


async def _until_end(
    watch: "_Watch", transport: asyncio.SubprocessTransport, launch: Launch, limits: Limits
) -> None:
    measuring = None
    if launch.measured is not None:
        pid = transport.get_pid()
        measuring = asyncio.create_task(_measure(watch, launch.measured, pid, limits))
    try:
        # Until the code starts only our own runs, and how long that takes is the machine's affair.
        both = {watch.started, watch.ended}
        done, _ = await asyncio.wait(both, timeout=_START, return_when=asyncio.FIRST_COMPLETED)
        if done:
            done, _ = await asyncio.wait({watch.ended}, timeout=limits.seconds)
        if not done:
            watch.stop("timeout")
    finally:
        if measuring is not None:
            measuring.cancel()
            await asyncio.wait({measuring})


async def _measure(watch: "_Watch", path: str, pid: int, limits: Limits) -> None:
    while True:
        await asyncio.sleep(_MEASURE_EVERY)
        if await asyncio.to_thread(is_over, path, size=limits.disk, entries=limits.entries, pid=pid):
            watch.stop("disk")


async def _end(watch: "_Watch", transport: asyncio.SubprocessTransport) -> None:
    """Kill what is left and wait for it to be gone, however often this is cancelled meanwhile."""
    cancelled = False
    if transport.get_returncode() is None:
        try:
            os.killpg(transport.get_pid(), signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # gone, or root's child became another user's
            transport.kill()
    while not watch.exited.done():
        try:
            await asyncio.shield(watch.exited)
        except asyncio.CancelledError:
            cancelled = True
    transport.close()
    if cancelled:
        raise asyncio.CancelledError


@dataclass(slots=True)
class _Capped:
    """Bytes up to a limit; the rest is counted as one fact."""

    limit: int
    data: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def add(self, more: bytes) -> None:
        room = self.limit - len(self.data)
        self.data += more[:room]
        self.truncated = self.truncated or len(more) > room


class _Watch(asyncio.SubprocessProtocol):
    """Takes what the process says and notices its end."""

    def __init__(self, limits: Limits) -> None:
        loop = asyncio.get_running_loop()
        self.streams = {1: _Capped(limits.output), 2: _Capped(limits.output)}
        # Names, headers and the list of what was left out come on top of the files.
        self.result = _Capped(limits.file_bytes + limits.files * 512 + limits.entries * 300)
        self.stopped: Exit | None = None
        self.returncode: int | None = None
        self.started: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.exited: asyncio.Future[None] = loop.create_future()
        self._transport: asyncio.SubprocessTransport | None = None
        self._open = {"process", "results"}

    def stop(self, reason: Exit) -> None:
        """Have the run ended for a reason; the first one counts."""
        if not self.ended.done():
            self.stopped = reason
            self.ended.set_result(None)

    def closed(self, part: str) -> None:
        """Note that the process with its streams, or the result pipe, is at its end."""
        self._open.discard(part)
        if not self._open and not self.ended.done():
            self.ended.set_result(None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        stream = self.streams[fd]
        stream.add(cast("bytes", data))
        if stream.truncated:
            self.stop("output")

    def process_exited(self) -> None:
        if self._transport is not None:
            self.returncode = self._transport.get_returncode()
        if not self.exited.done():
            self.exited.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.closed("process")


class _ResultPipe(asyncio.Protocol):
    def __init__(self, watch: _Watch) -> None:
        self._watch = watch

    def data_received(self, data: bytes) -> None:
        self._watch.result.add(data)
        if not self._watch.started.done():
            self._watch.started.set_result(None)
        if self._watch.result.truncated:
            self._watch.stop("output")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._watch.closed("results")


def _result(watch: _Watch, launch: Launch, limits: Limits, seconds: float) -> SandboxResult:
    frames = list(_frames(bytes(watch.result.data)))
    if not frames or frames[0][0] != b"S":
        raise SandboxError(_why_not_started(watch, frames, launch))
    files, left_out = _files(frames, limits)
    said = next((data.decode("ascii", "replace") for kind, _, data in frames if kind == b"E"), "")
    if watch.stopped is not None:
        ended: Exit = watch.stopped
    elif said == "ok" and watch.returncode == 0:
        ended = "ok"
    elif said in ("error", "memory"):
        ended = cast("Exit", said)
    else:
        ended = "killed"
    out, err = watch.streams[1], watch.streams[2]
    return SandboxResult(
        exit=ended,
        stdout=clean(bytes(out.data)),
        stderr=clean(bytes(err.data)),
        files=files,
        left_out=left_out,
        stdout_truncated=out.truncated,
        stderr_truncated=err.truncated,
        seconds=seconds,
        backend=launch.backend,
    )


def _why_not_started(watch: _Watch, frames: list[tuple[bytes, bytes, bytes]], launch: Launch) -> str:
    failed = next((data for kind, _, data in frames if kind == b"X"), b"")
    said = clean(failed or bytes(watch.streams[2].data)).strip()[-500:]
    how = "in time" if watch.stopped == "timeout" else f"(exit status {watch.returncode})"
    return f"The {launch.backend} sandbox did not start {how}: {said or 'it said nothing'}"


def _frames(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Split what came through the result pipe; stops at the first thing that is not whole."""
    at = 0
    while at + _FRAME.size <= len(data):
        kind, name_size, size = _FRAME.unpack_from(data, at)
        at += _FRAME.size
        if at + name_size + size > len(data):
            return
        yield kind, data[at : at + name_size], data[at + name_size : at + name_size + size]
        at += name_size + size


def _files(
    frames: list[tuple[bytes, bytes, bytes]], limits: Limits
) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """The files that fit and have a plain name; and what was left out, at most 50 names."""
    files: dict[str, bytes] = {}
    left_out: list[str] = []
    room = limits.file_bytes
    for kind, raw, data in frames:
        name = raw.decode("utf-8", "replace")
        if kind == b"F" and is_file_name(name) and len(files) < limits.files and len(data) <= room:
            room -= 0 if name in files else len(data)
            files.setdefault(name, data)
        elif kind in (b"F", b"L"):
            left_out.append(clean(raw[:200]).replace("\n", " "))
    return files, tuple(left_out[:50])


def clean(data: bytes) -> str:
    """Decode foreign text; control, direction and other invisible characters become U+FFFD.

    Line breaks of every kind become a line feed. Tabs stay.
    """
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    if text.isprintable():
        return text
    return "".join(
        character if character in "\n\t" or unicodedata.category(character) not in _HIDDEN else "\ufffd"
        for character in text
    )


_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
