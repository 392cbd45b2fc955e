"""The proof, made inside a backend at its first use, that it isolates on this machine.

Nothing is concluded from versions or configuration: a program that tries to get out is run,
and each thing it manages is a reason to refuse.
"""

import json
import os
import secrets
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from agentkit.tools.sandbox.base import SandboxResult

_PROBE = """
import ctypes, json, os, socket

def refused(attempt):
    try:
        attempt()
    except OSError:
        return True
    return False

def fork():
    if os.fork() == 0:
        os._exit(0)

def write(path):
    with open(path, "w") as file:
        file.write("x")

libc = ctypes.CDLL(None)
write("own")
found = {
    "canary": refused(lambda: open(CANARY).read()),
    "listing": refused(lambda: os.listdir(os.path.dirname(CANARY))),
    "write": refused(lambda: write(CANARY)),
    "create": refused(lambda: write(CANARY + ".new")),
    "passwd": refused(lambda: open("/etc/passwd").read()),
    "environ": refused(lambda: open("/proc/1/environ").read()),
    "socket": refused(socket.socket),
    "fork": refused(fork),
    "exec": refused(lambda: os.execv("/bin/true", ["true"])),
    "environment": dict(os.environ) == ENVIRONMENT | {"HOME": os.getcwd(), "TMPDIR": os.getcwd()},
    "seccomp": libc.prctl(21, 0, 0, 0, 0) == 2,
    "no_new_privs": libc.prctl(39, 0, 0, 0, 0) == 1,
    "user": os.getuid() not in FORBIDDEN_USERS,
}
os.remove("own")
print(NONCE, json.dumps(found))
"""

_FAULTS = {
    "canary": "a file of the host could be read",
    "listing": "a folder of the host could be listed",
    "write": "a file of the host could be written",
    "create": "a file could be made on the host",
    "passwd": "/etc/passwd could be read",
    "environ": "the environment of another process could be read",
    "socket": "a socket could be made",
    "fork": "a process could be made",
    "exec": "a program could be started",
    "environment": "the environment was not empty",
    "seccomp": "the system call filter was not in force",
    "no_new_privs": "privileges could be gained by starting a program",
    "user": "the code ran as root",
}


@dataclass(frozen=True, slots=True)
class SelfTest:
    """One probe and how to read its outcome.

    Attributes:
        code: What to run inside.
        nonce: What only this probe can know to print.
    """

    code: str
    nonce: str

    def fault(self, result: SandboxResult) -> str | None:
        """What went wrong, or None when everything that must fail failed."""
        nonce, _, found = result.stdout.partition(" ")
        if result.exit != "ok" or nonce != self.nonce:
            said = (result.stderr or result.stdout).strip()[-300:]
            return f"the self-test did not run to its end ({result.exit}): {said or 'it said nothing'}"
        held = json.loads(found)
        faults = [text for name, text in _FAULTS.items() if held.get(name) is not True]
        return f"the self-test failed: {', '.join(faults)}" if faults else None


@contextmanager
def self_test(environment: dict[str, str], *, forbid_root: bool) -> Generator[SelfTest]:
    """Lay out a canary on the host and write the probe that goes for it.

    Args:
        environment: What the code may find in its environment, besides HOME and TMPDIR.
        forbid_root: Whether it must not be user 0.
    """
    with tempfile.TemporaryDirectory(prefix="agentkit-canary-") as folder:
        os.chmod(folder, 0o755)  # permissions are not to be what protects it  # noqa: S103
        canary = os.path.join(folder, "canary")
        with open(canary, "w", encoding="ascii") as file:
            file.write(secrets.token_hex())
        os.chmod(canary, 0o666)  # noqa: S103
        nonce = secrets.token_hex()
        values = {
            "CANARY": canary,
            "NONCE": nonce,
            "ENVIRONMENT": environment,
            "FORBIDDEN_USERS": [0] if forbid_root else [],
        }
        given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
        yield SelfTest(given + _PROBE, nonce)
