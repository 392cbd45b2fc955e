"""A work directory on the host: made, measured while hostile code fills it, and removed.

The code may nest folders deeper than any path is long, take away its own permissions, and
rename things while they are looked at. So everything here goes by directory descriptors,
follows no link, uses a fixed number of them, and takes what it cannot read for too much.
"""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager

_DEPTH = 32
"""Deepest nesting of folders that is measured; anything deeper counts as too much."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def work_directory(uid: int | None) -> Generator[str]:
    """Make a directory that only `uid` (None: this user) can enter, and remove it afterwards."""
    path = tempfile.mkdtemp(prefix="agentkit-sandbox-")
    try:
        if uid is not None:
            os.chown(path, uid, uid)
        yield path
    finally:
        remove(path)


def is_over(path: str, *, size: int, entries: int, pid: int | None = None) -> bool:
    """Whether a tree holds more than `size` bytes or `entries` names, or cannot be measured.

    Args:
        path: The directory.
        size: Bytes allowed on the disk.
        entries: Names allowed.
        pid: A process whose open files count, too, once they have no name any more.
    """
    used = 0 if pid is None else _unlinked(pid)
    count = 0
    try:
        for about in _walk(path):
            used += about.st_blocks * 512
            count += 1
            if used > size or count > entries:
                return True
    except OSError:  # too deep, or not readable
        return True
    return used > size


def _walk(path: str) -> Iterator[os.stat_result]:
    """What lies below a directory, depth first, so that at most _DEPTH descriptors are open."""
    with ExitStack() as outer:
        levels: list[tuple[int, Iterator[os.DirEntry[str]], ExitStack]] = []

        def enter(descriptor: int) -> None:
            stack = outer.enter_context(ExitStack())
            stack.callback(os.close, descriptor)
            levels.append((descriptor, stack.enter_context(os.scandir(descriptor)), stack))

        enter(os.open(path, _DIRECTORY))
        while levels:
            descriptor, entries, stack = levels[-1]
            entry = next(entries, None)
            if entry is None:
                stack.close()
                levels.pop()
                continue
            try:
                about = entry.stat(follow_symlinks=False)
                yield about
                if stat.S_ISDIR(about.st_mode):
                    if len(levels) == _DEPTH:
                        raise OSError(errno.ELOOP, "too deep")
                    enter(os.open(entry.name, _DIRECTORY, dir_fd=descriptor))
            except FileNotFoundError:  # removed or renamed meanwhile
                continue


def _unlinked(pid: int) -> int:
    """Bytes in open files without a name; 0 where the kernel does not show them."""
    used = 0
    try:
        names = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return 0
    for name in names:
        try:
            about = os.stat(f"/proc/{pid}/fd/{name}")
        except OSError:  # closed meanwhile
            continue
        if stat.S_ISREG(about.st_mode) and about.st_nlink == 0:
            used += about.st_blocks * 512
    return used


def remove(path: str) -> None:
    """Remove a tree of any depth, whatever its permissions. Nobody may be writing to it any more.

    Folders within folders are moved up to the top before theirs is removed, so that no path
    grows long and no recursion deep.
    """
    top = os.open(path, _DIRECTORY)
    mark = secrets.token_hex(8)  # a name that is not taken
    moved = 0
    try:
        while folders := _empty(top):
            for name in folders:
                os.chmod(name, 0o700, dir_fd=top)
                folder = os.open(name, _DIRECTORY, dir_fd=top)
                try:
                    for inner in _empty(folder):
                        moved += 1
                        os.chmod(inner, 0o700, dir_fd=folder)  # to move a folder is to write its ..
                        os.rename(inner, f"{mark}-{moved}", src_dir_fd=folder, dst_dir_fd=top)
                finally:
                    os.close(folder)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(path)


def _empty(directory: int) -> list[str]:
    """Remove files, links and empty folders from a directory and return the folders that are left."""
    folders: list[str] = []
    with os.scandir(directory) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=directory)
            continue
        try:
            os.rmdir(name, dir_fd=directory)
        except OSError:  # not empty
            folders.append(name)
    return folders
