"""What a sandbox is: foreign Python code in, text and files out, nothing else."""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import ClassVar, Literal

Exit = Literal["ok", "error", "timeout", "memory", "output", "disk", "killed"]
"""How a run ended.

`ok`: it came to its end. `error`: it raised, or said so by its exit status. `timeout`,
`memory`, `output`, `disk`: it met that limit. `killed`: the kernel ended it (a crash, CPU
time, a forbidden ABI), or it ended itself without a word.
"""

NO_FILES: Mapping[str, bytes] = MappingProxyType({})

_FILE_NAME = re.compile(r"(?!\.{1,2}$)[^/\x00-\x1f\x7f]{1,100}")
_FILE_NAME_BYTES = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use; what goes over it is ended or cut, never queued.

    Attributes:
        seconds: Longest wall-clock time of the code; processor time is bounded by it, too.
        memory: Address space in bytes; libraries count. pandas needs about 256 MiB.
        output: Bytes of standard output, and of standard error; more ends the run.
        disk: Bytes in the work directory.
        entries: Files and folders in the work directory.
        threads: Threads at a time.
        code: Bytes of code.
        files: Files handed in, and files handed out.
        file_bytes: Bytes of all files handed in, and of all handed out.
    """

    seconds: float = 10.0
    memory: int = 512 << 20
    output: int = 64 << 10
    disk: int = 64 << 20
    entries: int = 1000
    threads: int = 32
    code: int = 256 << 10
    files: int = 16
    file_bytes: int = 4 << 20

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, but a limit is more than 0.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What came of a run. All of it was written by foreign code, so all of it is data, not truth.

    Attributes:
        exit: How it ended; `ok` and `error` are what the code says of itself.
        stdout: What it printed, without control and direction characters.
        stderr: The same for standard error; a traceback ends up here.
        files: New and changed files of the work directory, by name.
        left_out: Names of files that were not handed out: too many, too large, or links.
        stdout_truncated: Whether more was printed than is here.
        stderr_truncated: The same for standard error.
        seconds: Wall-clock time from call to result.
        backend: Which backend ran it.
    """

    exit: Exit
    stdout: str = ""
    stderr: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    left_out: tuple[str, ...] = ()
    stdout_truncated: bool = False
    stderr_truncated: bool = False
    seconds: float = 0.0
    backend: str = ""


class Sandbox(ABC):
    """Runs foreign Python code. Each call starts from nothing, and nothing of it stays.

    A backend is one subclass that passes `agentkit.testing.sandbox.SandboxContract`.
    """

    name: ClassVar[str]

    @abstractmethod
    async def run(self, code: str, *, files: Mapping[str, bytes] = NO_FILES) -> SandboxResult:
        """Run `code` as a program of its own and return what came of it.

        What the code does wrong is in the result. Cancelling ends the run and all it started.

        Args:
            code: Python source; the value of a last expression is printed.
            files: Content by plain file name, found in its work directory.

        Raises:
            SandboxUnavailableError: This machine cannot isolate it; it was not run.
            SandboxError: It could not be started.
            ValueError: The code or the files are larger than the limits, or a name is no plain file name.
        """

    @abstractmethod
    def ensure_available(self) -> None:
        """Test, once, that code is isolated here. Blocks; not for an event loop's thread.

        Raises:
            SandboxUnavailableError: It is not; with the reason and what to do.
        """


def check_input(code: str, files: Mapping[str, bytes], limits: Limits) -> None:
    """Refuse what does not fit before anything is started.

    Raises:
        ValueError: Something is too large or too many, has a NUL, or is no plain file name.
    """
    try:
        size = len(code.encode())
    except UnicodeEncodeError as error:
        raise ValueError("The code holds half of a surrogate pair; it is not text.") from error
    if size > limits.code:
        raise ValueError(f"The code has {size} bytes; at most {limits.code} are run.")
    if "\0" in code:
        raise ValueError("The code holds a NUL character.")
    if len(files) > limits.files:
        raise ValueError(f"{len(files)} files were handed in; at most {limits.files} are taken.")
    total = sum(len(data) for data in files.values())
    if total > limits.file_bytes:
        raise ValueError(f"The files have {total} bytes; at most {limits.file_bytes} are taken.")
    for name in files:
        if not is_file_name(name):
            raise ValueError(f"{name!r} is not a plain file name.")


def is_file_name(name: str) -> bool:
    """Whether `name` is one component of a path, printable, and of at most 100 characters."""
    return (
        _FILE_NAME.fullmatch(name) is not None
        and name.isprintable()
        and len(name.encode()) <= _FILE_NAME_BYTES
    )
