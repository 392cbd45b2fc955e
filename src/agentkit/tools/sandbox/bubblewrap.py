"""Backend `bubblewrap`: namespaces of its own, in which the host's files do not exist."""

import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from agentkit.tools.sandbox.interpreter import Interpreter
from agentkit.tools.sandbox.kernel import KernelSandbox, unsupported
from agentkit.tools.sandbox.supervisor import BOOT, PYTHON_FLAGS, Launch

WORK = "/sandbox"

_NAMESPACES = (
    "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--die-with-parent", "--new-session", "--clearenv", "--hostname", "sandbox", "--cap-drop", "ALL",
    "--cap-add", "CAP_SYS_ADMIN",
)  # fmt: skip
"""CAP_SYS_ADMIN only until stage 2 has mounted the work directory, whose entries bwrap cannot bound."""

_ROOT = ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID")
_USER = ("--unshare-user", "--uid", "0", "--gid", "0")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/urandom")
_SHARED = ("/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")


class BubblewrapSandbox(KernelSandbox):
    """Runs code under `bwrap`: own process, network, IPC and mount namespaces, no /proc, nothing writable
    but a work directory in memory.
    """  # noqa: D205 - one sentence

    name = "bubblewrap"
    open_files = 128
    remedy: ClassVar[str] = (
        "Install it (apt-get install bubblewrap), and allow user namespaces or run as root"
        " (sysctl kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns,"
        " user.max_user_namespaces)."
    )

    def missing(self) -> str | None:
        """See `KernelSandbox.missing`."""
        return unsupported() or (None if shutil.which("bwrap") else "the program bwrap is not installed")

    def _identity(self) -> tuple[object, ...]:
        return (*super()._identity(), shutil.which("bwrap"))

    @contextmanager
    def launch(self, interpreter: Interpreter, payload: dict[str, Any]) -> Generator[Launch]:
        """See `KernelSandbox.launch`."""
        command = [shutil.which("bwrap") or "bwrap", *_NAMESPACES]
        command += _USER if payload["uid"] is None else _ROOT
        command += _tree(interpreter)
        for device in _DEVICES:
            command += ["--dev-bind", device, device]
        command += ["--dir", WORK, "--remount-ro", "/", "--"]
        command += [interpreter.executable, *PYTHON_FLAGS, "-c", BOOT]
        yield Launch(self.name, tuple(command), payload | {"mount": True, "work": WORK})


def _tree(interpreter: Interpreter) -> list[str]:
    """The read-only part: libraries, interpreter, packages; parents that any user may pass."""
    arguments: list[str] = []
    made: set[str] = set()
    bound: list[str] = []
    paths = [path for path in _SHARED if os.path.exists(path)]
    for path in sorted({*paths, *interpreter.paths}, key=len):
        if any(Path(path).is_relative_to(other) for other in bound):
            continue
        for parent in reversed(Path(path).parents[:-1]):
            if str(parent) not in made:
                made.add(str(parent))
                arguments += ["--perms", "0755", "--dir", str(parent)]
        arguments += ["--ro-bind", path, path]
        bound.append(path)
    for name in ("/lib", "/lib64"):
        if os.path.islink(name):
            arguments += ["--symlink", os.readlink(name), name]
        elif os.path.isdir(name) and name not in bound:
            arguments += ["--ro-bind", name, name]
    return arguments
