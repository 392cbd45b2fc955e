"""Advisory file locks the kernel drops when their holder ends, however it ends (flock(2))."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Self


class FileLock:
    """A shared or exclusive lock on a file, held until `release` or the end of the process.

    Two instances in one process are two holders, which is why this is flock(2) and not
    the record locks of fcntl(2): those vanish when any descriptor of the file is closed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def acquire(self, *, shared: bool = False, blocking: bool = True) -> bool:
        """Take the lock; returns whether it is held now."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(descriptor, mode if blocking else mode | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    @property
    def descriptor(self) -> int | None:
        """Descriptor the lock is held through, or None; a child that inherits it holds the lock."""
        return self._descriptor

    def adopt(self, descriptor: int) -> None:
        """Take over a held lock through a descriptor inherited from the parent process."""
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def release(self) -> None:
        """Let go; harmless when the lock is not held."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()
