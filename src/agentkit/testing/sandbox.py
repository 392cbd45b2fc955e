"""The contract of a sandbox: subclass, give it your backend, and pytest checks what it keeps in and out.

::

    class TestMySandbox(SandboxContract):
        def make(self, limits: Limits) -> Sandbox:
            return MySandbox(limits=limits)

A backend that passes is usable; whether it holds against attackers is for an attack corpus to say.
"""
# ruff: noqa: ASYNC240, S101 - a suite for pytest, which asserts and lays out small files

import asyncio
import os
import secrets
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

from agentkit.tools.sandbox import Limits, Sandbox

MEBIBYTE = 1 << 20
KIBIBYTE = 1 << 10


class SandboxContract(ABC):
    """What every `Sandbox` must do."""

    @abstractmethod
    def make(self, limits: Limits) -> Sandbox:
        """Return a sandbox with these limits."""

    async def test_it_is_available_here(self) -> None:
        """Its own test of itself passes."""
        await asyncio.to_thread(self.make(Limits()).ensure_available)

    async def test_output_and_last_value_come_back(self) -> None:
        """What is printed is there, and so is the value of a last expression."""
        result = await self.make(Limits()).run("print('out')\n6 * 7")
        assert (result.exit, result.stdout, result.stderr) == ("ok", "out\n42\n", "")
        assert result.backend
        assert result.seconds > 0

    async def test_an_exception_is_a_result(self) -> None:
        """The traceback names the line; nothing is raised."""
        result = await self.make(Limits()).run("x = 1\nraise ValueError('boom')")
        assert result.exit == "error"
        assert "line 2" in result.stderr
        assert "ValueError: boom" in result.stderr

    async def test_a_syntax_error_is_a_result(self) -> None:
        """Code that does not compile is reported like code that fails."""
        result = await self.make(Limits()).run("def broken(:\n")
        assert result.exit == "error"
        assert "SyntaxError" in result.stderr

    async def test_files_go_in_and_out(self) -> None:
        """Given files are found by name; new and changed ones come back, unchanged ones do not."""
        code = (
            "data = open('in.bin', 'rb').read()\n"
            "open('out.bin', 'wb').write(data[::-1])\n"
            "open('same.txt').read()\n"
            "open('more.txt', 'a').write('!')\n"
            "import os\n"
            "os.mkdir('folder')"
        )
        given = {"in.bin": bytes(range(256)), "same.txt": b"same", "more.txt": b"more"}
        result = await self.make(Limits()).run(code, files=given)
        assert result.files == {"out.bin": bytes(range(255, -1, -1)), "more.txt": b"more!"}

    async def test_files_that_do_not_fit_are_named(self) -> None:
        """What is too large or too many is left out, and said so."""
        limits = Limits(files=2, file_bytes=1000)
        code = "for name in 'abc': open(name, 'w').write(name)\nopen('big', 'w').write('x' * 2000)"
        result = await self.make(limits).run(code)
        assert result.files == {"a": b"a", "b": b"b"}
        assert sorted(result.left_out) == ["big", "c"]

    async def test_no_state_survives(self) -> None:
        """A second call knows nothing of the first: no file, no variable, no module."""
        sandbox = self.make(Limits())
        first = "import math\nmath.pi = 3\nkept = 1\nopen('kept.txt', 'w').write('x')"
        second = "import math, os\nprint(math.pi > 3.1, 'kept' in globals(), os.path.exists('kept.txt'))"
        await sandbox.run(first)
        assert (await sandbox.run(second)).stdout == "True False False\n"

    async def test_nothing_of_the_host_is_seen(self) -> None:
        """No file, no variable of the environment."""
        secret = secrets.token_hex()
        os.environ["AGENTKIT_CONTRACT"] = secret
        try:
            with tempfile.TemporaryDirectory() as folder:
                canary = Path(folder, "canary")
                canary.write_text(secret, encoding="ascii")
                Path(folder).chmod(0o755)
                canary.chmod(0o644)
                code = f"import os\nprint(dict(os.environ))\nprint(open({str(canary)!r}).read())"
                result = await self.make(Limits()).run(code)
        finally:
            del os.environ["AGENTKIT_CONTRACT"]
        assert result.exit == "error"
        assert secret not in result.stdout + result.stderr

    async def test_nobody_is_reached(self) -> None:
        """A server on loopback hears nothing."""
        heard: list[str] = []

        def hear(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
            heard.append("a connection")

        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            code = f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)"
            result = await self.make(Limits()).run(code)
        assert result.exit == "error"
        assert heard == []

    async def test_time_is_bounded(self) -> None:
        """A loop without end is ended; what it printed before is kept."""
        result = await self.make(Limits(seconds=2)).run("print('before')\nwhile True: pass")
        assert (result.exit, result.stdout) == ("timeout", "before\n")

    async def test_memory_is_bounded(self) -> None:
        """More than allowed is not to be had."""
        result = await self.make(Limits(memory=200 * MEBIBYTE)).run("x = bytearray(1 << 30)")
        assert result.exit == "memory"

    async def test_output_is_bounded(self) -> None:
        """A flood is cut, said to be cut, and ended."""
        result = await self.make(Limits(output=KIBIBYTE)).run("while True: print('x' * 99)")
        assert result.exit == "output"
        assert result.stdout_truncated
        assert len(result.stdout) <= KIBIBYTE

    async def test_disk_is_bounded(self) -> None:
        """Filling the disk ends in an error or in the end of the run."""
        code = "for n in range(10**6): open(f'{n}', 'wb').write(b'x' * 100_000)"
        result = await self.make(Limits(disk=4 * MEBIBYTE)).run(code)
        assert result.exit in ("error", "disk")

    async def test_text_that_could_deceive_is_made_visible(self) -> None:
        """Control and direction characters do not come through."""
        result = await self.make(Limits()).run(r"print('a\x1b[31mb\u202ec\x00d\u200be')")
        assert result.stdout == "a\ufffd[31mb\ufffdc\ufffdd\ufffde\n"

    async def test_wrong_input_is_refused(self) -> None:
        """What does not fit raises before anything is run."""
        sandbox = self.make(Limits(code=100, files=1, file_bytes=10))
        wrong: list[tuple[str, dict[str, bytes], str]] = [
            ("#" * 101, {}, "The code has 101 bytes; at most 100 are run."),
            ("a\0b", {}, "The code holds a NUL character."),
            ("'\ud800'", {}, "The code holds half of a surrogate pair; it is not text."),
            ("1", {"a": b"", "b": b""}, "2 files were handed in; at most 1 are taken."),
            ("1", {"a": b"x" * 11}, "The files have 11 bytes; at most 10 are taken."),
            *(("1", {name: b""}, f"{name!r} is not a plain file name.") for name in ("../x", "/x", "..", "")),
        ]
        for code, files, text in wrong:
            try:
                await sandbox.run(code, files=files)
            except ValueError as error:
                assert str(error) == text  # noqa: PT017 - pytest is not needed to use this suite
            else:
                raise AssertionError(f"{text} was not raised")

    async def test_cancelling_ends_the_run(self) -> None:
        """CancelledError comes through, and the sandbox works afterwards."""
        sandbox = self.make(Limits(seconds=60))
        await asyncio.to_thread(sandbox.ensure_available)
        task = asyncio.create_task(sandbox.run("import time\ntime.sleep(60)"))
        await asyncio.sleep(0.3)
        task.cancel()
        [outcome] = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(outcome, asyncio.CancelledError)
        assert (await sandbox.run("1")).stdout == "1\n"

    async def test_parallel_runs_do_not_meet(self) -> None:
        """Each finds its own files only."""
        sandbox = self.make(Limits())
        code = "import os, time\nopen({0!r}, 'w').write('x')\ntime.sleep(0.2)\nprint(sorted(os.listdir('.')))"
        results = await asyncio.gather(*(sandbox.run(code.format(f"n{n}")) for n in range(6)))
        assert [result.stdout for result in results] == [f"['n{n}']\n" for n in range(6)]
