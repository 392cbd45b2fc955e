"""Backend `landlock`: the process locks itself in. Needs nothing installed and no namespaces."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, ClassVar

from agentkit.tools.sandbox.interpreter import Interpreter, is_private
from agentkit.tools.sandbox.kernel import KernelSandbox, unsupported
from agentkit.tools.sandbox.supervisor import BOOT, PYTHON_FLAGS, Launch
from agentkit.tools.sandbox.workdir import work_directory

_READABLE = (
    "/usr/lib", "/usr/lib64", "/lib", "/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime",
    "/dev/zero", "/dev/urandom",
)  # fmt: skip


class LandlockSandbox(KernelSandbox):
    """Runs code under Landlock: the host's files are there but cannot be read, listed or written.

    Weaker than bubblewrap in three ways: names and sizes of the host's files can be guessed with
    `stat`, the work directory is on the host's disk and measured every 25 ms instead of bounded by
    a quota, and process ids and host name are the host's.
    """

    name = "landlock"
    open_files = 48  # times the largest file: what can hide in files without a name
    remedy: ClassVar[str] = (
        "It needs Linux 5.13 or newer with 'landlock' among the boot parameter lsm=, a container profile"
        " that allows its system calls (Docker's does since 20.10.10), and an interpreter that every user"
        " may read: not one below /root."
    )

    def missing(self) -> str | None:
        """See `KernelSandbox.missing`."""
        return unsupported()

    @contextmanager
    def launch(self, interpreter: Interpreter, payload: dict[str, Any]) -> Generator[Launch]:
        """See `KernelSandbox.launch`."""
        readable = [path for path in (*_READABLE, *interpreter.paths) if os.path.exists(path)]
        with work_directory(payload["uid"]) as work:
            rules = {"read": readable, "write": ["/dev/null"]}
            # The user that root's runs become may not pass a private home; the rules still hold it.
            private = payload["uid"] is not None and any(map(is_private, (work, *interpreter.paths)))
            own = {
                "work": work,
                "landlock": rules,
                "search": private,
                "supervisor": os.getpid(),
                "limits": payload["limits"] | {"RLIMIT_FSIZE": max(1, payload["disk"] // 4)},
            }
            command = (interpreter.executable, *PYTHON_FLAGS, "-c", BOOT)
            yield Launch(self.name, command, payload | own, measured=work)
