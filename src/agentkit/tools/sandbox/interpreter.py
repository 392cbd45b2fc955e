"""Which interpreter runs foreign code, and what of the disk it needs to read for it."""

import json
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agentkit.errors import SandboxError

_ASK = """
import importlib.util, json, os, sys, sysconfig
paths = sysconfig.get_paths()
print(json.dumps([
    os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    [os.path.join(sys.base_prefix, name) for name in ("lib", sys.platlibdir)],
    [paths["purelib"], paths["platlib"]],
    importlib.util.MAGIC_NUMBER.hex(),
]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python and its place on the disk.

    Attributes:
        executable: The real file, outside any virtual environment.
        libraries: Directories of the standard library and of shared libraries.
        packages: Directories of installed packages; numpy and pandas are found there.
        bytecode: Which bytecode it reads, as hexadecimal digits.
    """

    executable: str
    libraries: tuple[str, ...]
    packages: tuple[str, ...]
    bytecode: str = ""

    @property
    def paths(self) -> tuple[str, ...]:
        """All it has to read, without what lies inside another of them."""
        found: list[str] = []
        for path in sorted({*self.libraries, *self.packages, self.executable}, key=len):
            if not any(Path(path).is_relative_to(other) for other in found):
                found.append(path)
        return tuple(found)


def is_private(path: str) -> bool:
    """Whether other users cannot reach a path, because of a folder above it such as a home of mode 0700."""
    return any(not os.stat(parent).st_mode & stat.S_IXOTH for parent in Path(path).parents)


@cache
def find_interpreter(python: str = sys.executable) -> Interpreter:
    """Ask a Python where its parts are. It may belong to a virtual environment.

    Raises:
        SandboxError: It cannot be run.
    """
    command = [python, "-I", "-c", _ASK]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True, env={})  # noqa: S603
        executable, libraries, packages, bytecode = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise SandboxError(f"The interpreter {python!r} cannot be run: {error}") from error
    return Interpreter(executable, _there(libraries), _there(packages), bytecode)


def _there(paths: list[str]) -> tuple[str, ...]:
    return tuple(path for path in dict.fromkeys(paths) if os.path.isdir(path))
