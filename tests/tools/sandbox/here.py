"""Which sandboxes this machine can run. Containers often forbid the namespaces that some are made of."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from agentkit.errors import SandboxUnavailableError
from agentkit.tools.sandbox import SANDBOXES

USER = 12345
BACKENDS = ("bubblewrap", "landlock")


@cache
def refusals() -> dict[str, str]:
    """Why each backend that refuses does; and `user`, if root cannot run a program as somebody else."""
    found: dict[str, str] = {}
    for name in BACKENDS:
        try:
            SANDBOXES.get(name)().ensure_available()
        except SandboxUnavailableError as error:
            found[name] = error.reasons[name]
    if os.geteuid() == 0:
        command = [sys.executable, str(Path(__file__).with_name("as_user.py")), str(USER), "-c", "pass"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if done.returncode:
            found["user"] = done.stderr
    else:
        found["root"] = "the tests are not run by root"
    return found
