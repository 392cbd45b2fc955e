"""Runs a Python script as another user, who could otherwise not reach the interpreter in root's home.

    python as_user.py UID SCRIPT ARGUMENTS…        (as root)

In a mount namespace of its own, folders that only root may pass are replaced by empty ones in
which nothing but the interpreter, its environment and this repository is to be found.
"""

import ctypes
import os
import sys
import tempfile
from pathlib import Path

NEW_MOUNTS, BIND, RECURSIVE, PRIVATE, DETACH = 0x20000, 4096, 16384, 1 << 18, 2
libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    words = [word.encode() if word is not None else None for word in (source, target, kind)]
    if libc.mount(*words, ctypes.c_ulong(flags), options and options.encode()):
        raise OSError(ctypes.get_errno(), f"mount {target}")


def open_up(needed: list[str]) -> None:
    """Make `needed` reachable for everybody, in this process and its children."""
    if libc.unshare(NEW_MOUNTS):
        raise OSError(ctypes.get_errno(), "unshare")
    mount("none", "/", None, RECURSIVE | PRIVATE)
    private: dict[str, list[str]] = {}
    for path in needed:
        closed = [folder for folder in reversed(Path(path).parents) if not folder.stat().st_mode & 1]
        if closed:
            private.setdefault(str(closed[0]), []).append(path)
    for folder, paths in private.items():
        kept = []
        for path in paths:
            aside = tempfile.mkdtemp(prefix="kept-")
            mount(path, aside, None, BIND | RECURSIVE)
            kept.append((aside, path))
        mount("none", folder, "tmpfs", 0, "mode=0755")
        for aside, path in kept:
            Path(path).mkdir(parents=True)
            mount(aside, path, None, BIND | RECURSIVE)
            libc.umount2(aside.encode(), DETACH)
            os.rmdir(aside)


def main(uid: int, *command: str) -> None:
    open_up(sorted({sys.base_prefix, sys.prefix, str(Path(__file__).parents[3])}, key=len))
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    os.umask(0o022)
    os.environ["HOME"] = os.environ["TMPDIR"] = "/tmp"
    os.execv(sys.executable, [sys.executable, *command])


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
