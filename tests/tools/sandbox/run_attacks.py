"""Runs the attacks against one backend, as whoever starts it, and says what each one achieved.

    python run_attacks.py BACKEND OUTPUT [PART OF AN ID]

A process of its own, because it plays the host: it owns files, sockets, shared memory, a key
and a neighbour process that the attacks go for, and looks at all of them after each one.
"""

import asyncio
import ctypes
import hashlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

SECRET = "agentkit-secret-" + secrets.token_hex(16)
os.environ["AGENTKIT_NONCE"] = SECRET

from attacks import ATTACKS, PRELUDE, Attack  # noqa: E402

from agentkit.tools.sandbox import SANDBOXES, Limits, Sandbox, SandboxResult, kernel, supervisor  # noqa: E402
from agentkit.tools.sandbox.base import NO_FILES, is_file_name  # noqa: E402

SUBREAPER = 36
EVIL = ("/tmp/evil", "/dev/shm/evil", "/var/tmp/evil", "/run/evil")
LIMITS = Limits(seconds=1.5)
libc = ctypes.CDLL(None, use_errno=True)


class Plain(Sandbox):
    """No sandbox at all: shows that the attacks would succeed."""

    name = "plain"

    def ensure_available(self) -> None:
        pass

    async def run(self, code: str, *, files: Mapping[str, bytes] = NO_FILES) -> SandboxResult:
        command = [sys.executable, "-c", code]
        with tempfile.TemporaryDirectory() as folder:
            process = await asyncio.create_subprocess_exec(
                *command, cwd=folder, stdin=-3, stdout=-1, stderr=-2, start_new_session=True
            )
            try:
                out, _ = await asyncio.wait_for(process.communicate(), LIMITS.seconds)
            except TimeoutError:
                process.kill()
                await process.wait()
                return SandboxResult(exit="timeout")
        return SandboxResult(exit="ok", stdout=out.decode("utf-8", "replace"))


class Host:
    """What the attacks go for."""

    def __init__(self, root: Path) -> None:
        self.heard: list[str] = []
        self.tmp = root / "tmp"
        self.tree = root / "home"
        self.tree.mkdir()
        self.canary = self.tree / "canary.txt"
        self.owned_dir = root / "packages"
        self.owned = self.owned_dir / "owned.py"
        self.restore()
        self.abstract = f"agentkit-{secrets.token_hex(4)}"
        self.sockets = self._listen(root)
        self.shm = f"agentkit-{secrets.token_hex(4)}"
        Path("/dev/shm", self.shm).write_text(SECRET)
        self.sysv = secrets.randbelow(1 << 30) + 1
        self.segment = libc.shmget(self.sysv, 4096, 0o1666)
        assert self.segment >= 0
        libc.shmat.restype = ctypes.c_void_p
        address = libc.shmat(self.segment, None, 0)
        ctypes.memmove(address, SECRET.encode(), len(SECRET))
        libc.syscall(248, b"user", b"agentkit-secret", SECRET.encode(), len(SECRET), -4)
        self.victim = subprocess.Popen(["/bin/sleep", "3600"], start_new_session=True)
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGIO, signal.SIGTERM):
            signal.signal(number, lambda got, _: self.heard.append(f"signal {got}"))
        libc.prctl(SUBREAPER, 1, 0, 0, 0)

    def restore(self) -> None:
        """Lay the files out, after an attack that changed them."""
        for folder in (self.owned_dir, self.tmp):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
        self.tmp.chmod(0o777)
        self.canary.write_text(SECRET)
        self.owned.write_text("owned = True\n")
        os.setxattr(self.owned, "user.kept", b"kept")
        for path in EVIL:
            Path(path).unlink(missing_ok=True)

    def _listen(self, root: Path) -> dict[str, Any]:
        places: dict[str, tuple[int, int, Any]] = {
            "TCP": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            "UDP": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            "STREAM": (socket.AF_UNIX, socket.SOCK_STREAM, str(root / "stream")),
            "DGRAM": (socket.AF_UNIX, socket.SOCK_DGRAM, str(root / "dgram")),
            "abstract stream": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{self.abstract}"),
            "abstract dgram": (socket.AF_UNIX, socket.SOCK_DGRAM, f"\0{self.abstract}-d"),
        }
        open_sockets = {}
        for name, (family, kind, address) in places.items():
            made = open_sockets[name] = socket.socket(family, kind)
            made.bind(address)
            if isinstance(address, str) and address[0] != "\0":
                Path(address).chmod(0o777)
            if kind == socket.SOCK_STREAM:
                made.listen()
            listen = made.accept if kind == socket.SOCK_STREAM else lambda made=made: made.recv(99)
            threading.Thread(target=self._hear, args=(name, listen), daemon=True).start()
        return open_sockets

    def _hear(self, name: str, listen: Any) -> None:
        while True:
            try:
                listen()
            except OSError:
                return
            self.heard.append(name)

    def handed(self) -> str:
        values = {
            "CANARY": str(self.canary),
            "OWNED": str(self.owned),
            "OWNED_DIR": str(self.owned_dir),
            "PARENT": os.getpid(),
            "VICTIM": self.victim.pid,
            "TCP": self.sockets["TCP"].getsockname()[1],
            "UDP": self.sockets["UDP"].getsockname()[1],
            "STREAM": self.sockets["STREAM"].getsockname(),
            "DGRAM": self.sockets["DGRAM"].getsockname(),
            "ABSTRACT": self.abstract,
            "SHM": self.shm,
            "SYSV": self.sysv,
            "HOST_TMP": str(self.tmp),
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items())

    def look(self) -> dict[str, Any]:
        """Everything that must be the same after an attack."""
        found: dict[str, Any] = {}
        for folder in (self.tree, self.owned_dir, self.tmp):
            for path in sorted([folder, *folder.rglob("*")]):
                if not os.path.lexists(path):  # only without a sandbox
                    continue
                about = path.lstat()
                kept = [about.st_mode, about.st_uid, about.st_gid, about.st_nlink]
                if path.is_file():
                    content = hashlib.sha256(path.read_bytes()).hexdigest()
                    kept += [about.st_size, about.st_mtime_ns, about.st_ctime_ns, content]
                found[str(path)] = kept
        if self.owned.exists():
            found["attributes"] = os.listxattr(self.owned)
        found["victim"] = (self.victim.poll(), Path(f"/proc/{self.victim.pid}/stat").read_text().split()[2])
        found["neighbour priority"] = os.getpriority(os.PRIO_PROCESS, self.victim.pid)
        found["children"] = children() - {self.victim.pid}
        found["evil"] = [path for path in EVIL if Path(path).exists()]
        return found

    def close(self) -> None:
        self.victim.kill()
        self.victim.wait()
        libc.shmctl(self.segment, 0, None)
        Path("/dev/shm", self.shm).unlink(missing_ok=True)
        for made in self.sockets.values():
            made.close()


def children() -> set[int]:
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has ended since
            found.update(map(int, (task / "children").read_text().split()))
    return found


async def settled(host: Host) -> dict[str, Any]:
    """Look again for a moment: a killed process is gone when the kernel has come round to it."""
    for _ in range(50):
        seen = host.look()
        if not seen["children"]:
            break
        await asyncio.sleep(0.02)
        for pid in seen["children"]:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue
    return seen


def judge(  # noqa: C901 - one look at each thing
    result: SandboxResult | str, before: dict[str, Any], after: dict[str, Any], host: Host
) -> list[str]:
    """What the attack achieved; nothing, if all is well."""
    problems = [f"changed: {name}: {before.get(name)} -> {after.get(name)}" for name in before | after
                if before.get(name) != after.get(name)]  # fmt: skip
    problems += [f"heard: {what}" for what in host.heard]
    host.heard.clear()
    if isinstance(result, str):
        return [*problems, f"raised: {result}"]
    text = result.stdout + result.stderr + repr(result.files)
    if "BREACH" in text:
        problems.append(f"it says: {text[text.index('BREACH') :][:300]}")
    if SECRET in text or any(SECRET.encode() in data for data in result.files.values()):
        problems.append("the secret came out")
    for name in result.files:
        if not is_file_name(name):
            problems.append(f"file name {name!r}")
    sizes = sum(map(len, result.files.values()))
    if len(result.files) > LIMITS.files or sizes > LIMITS.file_bytes:
        problems.append(f"{len(result.files)} files, {sizes} bytes")
    for stream in (result.stdout, result.stderr):
        if len(stream) > LIMITS.output:
            problems.append(f"{len(stream)} characters of output")
        hidden = sorted({hex(ord(c)) for c in stream if not c.isprintable() and c not in "\n\t "})
        if any(c in stream for c in "\x00\x07\x08\x1b\x9b\r\u202e\u2066\u200b\U000e0041"):
            problems.append(f"control characters {hidden}")
    if result.seconds > LIMITS.seconds + 10:
        problems.append(f"took {result.seconds:.1f} s")
    return problems


async def attack(one: Attack, sandbox: Any, host: Host) -> dict[str, Any]:
    code = host.handed() + PRELUDE + one.code
    before = host.look()
    started = time.monotonic()
    result: SandboxResult | str
    try:
        result = await asyncio.wait_for(sandbox.run(code), 60)
    except Exception as error:  # noqa: BLE001 - judged
        result = f"{type(error).__name__}: {error}"
    problems = judge(result, before, await settled(host), host)
    if problems:
        host.restore()
    said = result if isinstance(result, str) else (result.stdout + result.stderr)[-600:]
    ended = result if isinstance(result, str) else result.exit
    seconds = round(time.monotonic() - started, 2)
    return {"id": one.id, "exit": ended, "problems": problems, "said": said, "seconds": seconds}


def made(backend: str) -> Any:
    """The backend; `landlock-1` is landlock with no more rights than its first version had."""
    if backend == "plain":
        return Plain()
    name, _, version = backend.partition("-")
    if version:
        text = supervisor.stage2()
        answer = "    return max(0, _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1))\n"
        assert text.count(answer) == 1
        older = text.replace(answer, f"    return {version}\n")
        supervisor.stage2 = lambda: older
    return SANDBOXES.get(name)(limits=LIMITS)


async def main(backend: str, part: str = "") -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        os.chmod(folder, 0o755)
        root = Path(folder)
        host = Host(root)
        tempfile.tempdir = str(host.tmp)  # where the work directories are made
        find = kernel.find_interpreter
        # A file of our own that the sandbox may read, as packages in a user's home are.
        kernel.find_interpreter = lambda python: replace(
            find(python), packages=(*find(python).packages, str(host.owned_dir))
        )
        try:
            sandbox = made(backend)
            await asyncio.to_thread(sandbox.ensure_available)
            await settled(host)  # the self-test's own
            rows = [
                await attack(one, sandbox, host)
                for one in ATTACKS
                if one.id.startswith(tuple(part.split(",")))
            ]
        finally:
            host.close()
    return rows


if __name__ == "__main__":
    done = asyncio.run(main(sys.argv[1], *sys.argv[3:]))
    Path(sys.argv[2]).write_text(json.dumps({"uid": os.getuid(), "attacks": done}))
