"""What the backends of the Linux kernel share: second stage, limits, self-test, and how many at once."""

import asyncio
import math
import os
import platform
import secrets
import sys
import threading
from abc import abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from dataclasses import replace
from functools import cache
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

from agentkit.errors import SandboxError, SandboxUnavailableError
from agentkit.tools.sandbox.base import NO_FILES, Limits, Sandbox, SandboxResult, check_input
from agentkit.tools.sandbox.bpf import Program, build
from agentkit.tools.sandbox.interpreter import Interpreter, find_interpreter
from agentkit.tools.sandbox.selftest import self_test
from agentkit.tools.sandbox.supervisor import Launch, supervise
from agentkit.tools.sandbox.syscalls import ARCHITECTURES

PARALLEL = 4

_FIRST_UID, _UIDS, _ENOUGH = 0x6A000000, 1 << 24, 1000
"""User ids nobody is given: root's runs each take a random one, so that they cannot meet."""


class KernelSandbox(Sandbox):
    """Base of `bubblewrap` and `landlock`.

    Args:
        limits: What one run may use.
        parallel: Runs at a time on one event loop; further ones wait.
        python: Interpreter whose packages the code finds, such as that of a virtual environment
            made for it; this one by default.
    """

    open_files: ClassVar[int]
    remedy: ClassVar[str]

    _proven: ClassVar[set[tuple[object, ...]]] = set()
    _proving: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self, *, limits: Limits | None = None, parallel: int = PARALLEL, python: str = sys.executable
    ) -> None:
        self.limits = limits or Limits()
        self._python = python
        self._interpreter: Interpreter | None = None
        self._parallel = parallel
        self._slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        self._slots_lock = threading.Lock()

    @abstractmethod
    def missing(self) -> str | None:
        """What it cannot do without and lacks, seen without running anything."""

    @abstractmethod
    def launch(self, interpreter: Interpreter, payload: dict[str, Any]) -> AbstractContextManager[Launch]:
        """Turn the payload into a launch; what was made for it is removed at the end."""

    async def run(self, code: str, *, files: Mapping[str, bytes] = NO_FILES) -> SandboxResult:
        """See `Sandbox.run`."""
        check_input(code, files, self.limits)
        if self._identity() not in self._proven:
            await asyncio.to_thread(self.ensure_available)
        async with self._slot():
            return await self._run(code, files, self.limits)

    def ensure_available(self) -> None:
        """See `Sandbox.ensure_available`; a success is remembered, a failure is not."""
        identity = self._identity()
        with self._proving:
            if identity in self._proven:
                return
            reason = self.missing() or self._fault()
            if reason is not None:
                raise SandboxUnavailableError({self.name: f"{reason}\n    {self.remedy}"})
            self._proven.add(identity)

    def _identity(self) -> tuple[object, ...]:
        return (self.name, self._python, os.geteuid())

    def _fault(self) -> str | None:
        """Run the self-test and say what is wrong, on a loop of its own: callers may have one running."""
        outcome: list[str | None] = []

        async def probe() -> None:
            with self_test(environment(), forbid_root=spare_uid() is not None) as test:
                limits = replace(self.limits, seconds=30.0, memory=max(self.limits.memory, 256 << 20))
                try:
                    result = await self._run(test.code, NO_FILES, limits)
                except SandboxError as error:
                    outcome.append(error.message)
                else:
                    outcome.append(test.fault(result))

        # The kernel ends a sandbox with the thread that started it, so this one stays until the end.
        thread = threading.Thread(target=lambda: asyncio.run(probe()), name="agentkit-sandbox-selftest")
        thread.start()
        thread.join()
        return outcome[0] if outcome else "the self-test could not be run"

    async def _run(self, code: str, files: Mapping[str, bytes], limits: Limits) -> SandboxResult:
        if self._interpreter is None:
            self._interpreter = await asyncio.to_thread(find_interpreter, self._python)
        interpreter = self._interpreter
        payload = self._payload(code, files, limits, interpreter)
        with ExitStack() as stack:
            launch = await asyncio.to_thread(stack.enter_context, self.launch(interpreter, payload))
            try:
                return await supervise(launch, limits)
            finally:
                await _in_thread(stack.close)  # a tree that hostile code left may take a while to remove

    def _payload(
        self, code: str, files: Mapping[str, bytes], limits: Limits, interpreter: Interpreter
    ) -> dict[str, Any]:
        machine = platform.machine()
        program = _program(machine)
        return {
            "code": code,
            "files": dict(files),
            "machine": machine,
            "filter": program.code,
            "pid_slots": program.pid_slots,
            "packages": list(interpreter.packages),
            "bytecode": interpreter.bytecode,
            "environment": environment(),
            "uid": spare_uid(),
            "search": False,
            "mount": False,
            "landlock": None,
            "supervisor": None,
            "disk": limits.disk,
            "entries": limits.entries,
            "count": limits.files,
            "size": limits.file_bytes,
            "limits": {
                "RLIMIT_AS": limits.memory,
                "RLIMIT_CPU": math.ceil(limits.seconds) + 1,
                "RLIMIT_FSIZE": limits.disk,
                "RLIMIT_NOFILE": self.open_files,
                "RLIMIT_STACK": 8 << 20,
                "RLIMIT_CORE": 1,  # core(5): a crash handler behind a pipe is started for 0, not for 1
                "RLIMIT_MEMLOCK": 0,
                "RLIMIT_MSGQUEUE": 0,
                "threads": limits.threads,
            },
        }

    @asynccontextmanager
    async def _slot(self) -> AsyncGenerator[None]:
        loop = asyncio.get_running_loop()
        with self._slots_lock:
            slots = self._slots.setdefault(loop, asyncio.Semaphore(self._parallel))
        async with slots:
            yield


def environment() -> dict[str, str]:
    """All that the code finds in its environment, besides HOME and TMPDIR: nothing of the host's."""
    single = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **single}


def unsupported() -> str | None:
    """Why no kernel backend can work on this system at all, or None."""
    if sys.platform != "linux":
        return f"it is made of parts of the Linux kernel, and this is {sys.platform}"
    if platform.machine() not in ARCHITECTURES:
        valid = " and ".join(ARCHITECTURES)
        return f"its system call filter is written for {valid}, and this is {platform.machine()}"
    if sys.maxsize < 1 << 32:
        return "its system call filter is written for 64-bit programs"
    return None


def spare_uid() -> int | None:
    """A user id for a run of root's that nobody else has; None for other users.

    None, too, in a user namespace without one: there, root is another user to the host.
    """
    if os.geteuid() != 0:
        return None
    wanted = _FIRST_UID + secrets.randbelow(_UIDS)
    with open("/proc/self/uid_map", encoding="ascii") as file:
        ranges = [(int(first), int(count)) for first, _, count in (line.split() for line in file)]
    if any(first <= wanted < first + count for first, count in ranges):
        return wanted
    first, count = max(ranges, key=lambda one: one[1])
    # The upper half of what there is, less the last two: 65534 is nobody, and nobody owns things.
    return first + count // 2 + secrets.randbelow(count // 2 - 2) if count >= _ENOUGH else None


@cache
def _program(machine: str) -> Program:
    return build(ARCHITECTURES[machine])


async def _in_thread(function: Callable[[], object]) -> None:
    """Run in a thread to the end, even if cancelled meanwhile."""
    work = asyncio.ensure_future(asyncio.to_thread(function))
    cancelled = False
    while not work.done():
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            cancelled = True
    work.result()
    if cancelled:
        raise asyncio.CancelledError
