"""Noticing that files have changed, however they were written.

Editors write a new file and rename it over the old one, deployments replace whole folders,
Kubernetes swaps a symbolic link (`..data`) beside the links that a pod sees. So folders are
watched and not files, the watch is set up anew after every change, and a look at all files
every few seconds finds what a file system does not tell.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agentkit.extras import require

logger = logging.getLogger(__name__)

SUFFIXES: Final = (".yaml", ".yml", ".json")
_QUIET_MS: Final = 100  # without a change, until a burst of changes is over
_LONGEST_BURST_MS: Final = 2000
_LOOK_EVERY: Final = 5.0

Fingerprint = frozenset[tuple[str, int, int, int, int]]
"""Path, inode, size and times of every file."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched: YAML and JSON files, whether they exist yet or not.

    Attributes:
        trees: Folders, with everything beneath them.
        folders: Folders without their subfolders.
    """

    trees: frozenset[Path]
    folders: frozenset[Path] = frozenset()


def fingerprint(watched: Watched) -> Fingerprint:
    """Return what tells one state of the files from another; links are followed."""
    found: set[tuple[str, int, int, int, int]] = set()
    for folder in _folders(watched):
        for name in _names(folder):
            if not name.endswith(SUFFIXES):
                continue
            path = os.path.join(folder, name)  # noqa: PTH118 - a Path each would be most of the time
            try:
                status = os.stat(path)  # noqa: PTH116 - as above
            except OSError:
                continue
            found.add((path, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return frozenset(found)


async def changes(watched: Callable[[], Watched], *, poll: float | None = None) -> AsyncGenerator[None]:
    """Yield once the watch stands, and then after each burst of changes.

    What changes while the consumer is busy is one more burst: nothing is lost.

    Args:
        watched: Says what is watched now; asked again after each burst.
        poll: Look at the files every so many seconds, for file systems that tell nothing of
            changes (NFS, some bind mounts). None: let the operating system tell.

    Raises:
        MissingExtraError: `poll` is None and the package `watchfiles` is not installed.
    """
    if poll is None:
        require("watchfiles", extra="reload", purpose="Watching a blueprint's files")
    every = poll or _LOOK_EVERY
    alarm = _Alarm()
    try:
        while True:
            target = await asyncio.to_thread(watched)
            # Set up before anybody looks at the files: what changes from here on is told.
            old, alarm = alarm, _Alarm()
            if poll is None:
                await alarm.set(target)
            await old.stop()
            seen = await asyncio.to_thread(fingerprint, target)
            yield
            if await asyncio.to_thread(watched) != target:
                continue  # the newly watched may have changed before they were watched
            while not await alarm.rings(every):
                if await asyncio.to_thread(fingerprint, target) != seen:
                    break
    finally:
        await alarm.stop()


class _Alarm:
    """Rings once, when the operating system tells of a change; one never set stays silent."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._failed = False

    async def set(self, target: Watched) -> None:
        """Begin to watch."""
        places = await asyncio.to_thread(_Places, target)
        self._task = asyncio.create_task(_told(places), name="watch a blueprint's files")
        await asyncio.sleep(0)  # the task's first step sets up the watch

    async def rings(self, seconds: float) -> bool:
        """Wait for it, `seconds` at most."""
        if self._task is None or self._failed:
            await asyncio.sleep(seconds)
            return False
        done, _ = await asyncio.wait([self._task], timeout=seconds)
        if not done:
            return False
        if (error := self._task.exception()) is None:
            return True
        if isinstance(error, FileNotFoundError):  # a folder went between listing and watching
            await asyncio.sleep(_QUIET_MS / 1000)
            return True
        if not isinstance(error, OSError):
            raise error
        self._failed = True
        logger.warning(
            "the system cannot watch a blueprint's files (%s); they are looked at every %g s", error, seconds
        )
        return False

    async def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


async def _told(places: "_Places") -> None:
    """Return after a burst of changes at those places."""
    from watchfiles import awatch  # pyright: ignore[reportUnknownVariableType] - trio is not installed

    batches = awatch(
        *places.watched,
        recursive=False,
        watch_filter=places.matter,
        step=_QUIET_MS,
        debounce=_LONGEST_BURST_MS,
        ignore_permission_denied=True,
    )
    async with aclosing(batches):
        async for _ in batches:
            return


class _Places:
    """Which folders the operating system is asked to watch, and what in them matters.

    A folder is watched itself, for its files, and so is the folder above it: it may be
    replaced by another of its name, and a link on the way to it may be turned.
    """

    def __init__(self, target: Watched) -> None:
        self._inside = set(_folders(target))
        self._links: set[str] = set()
        above: set[str] = set()
        for folder in (*target.trees, *target.folders):
            for path in (folder, *folder.parents):
                if path == folder or path.is_symlink() or not path.exists():
                    self._links.add(str(path))
                    above.add(str(path.parent))
        self.watched = sorted(folder for folder in self._inside | above if Path(folder).is_dir())

    def matter(self, _change: object, path: str) -> bool:
        """Whether a change at `path` may be one of what is watched."""
        folder, name = os.path.split(path)
        if path in self._links:
            return True
        if folder not in self._inside:
            return False
        # `..data` is the link Kubernetes swaps; other hidden files are editors' own.
        hidden = name.startswith(".") and not name.startswith("..")
        return not hidden and (name.endswith(SUFFIXES) or "." not in name or name.startswith(".."))


def _folders(watched: Watched) -> Iterator[str]:
    """Every folder whose files matter, also through links; each once."""
    for folder in watched.folders:
        yield str(folder)
    been: set[str] = set()
    waiting = [str(folder) for folder in watched.trees]
    while waiting:
        folder = waiting.pop()
        real = os.path.realpath(folder)
        if real in been:
            continue
        been.add(real)
        yield folder
        with suppress(OSError), os.scandir(folder) as entries:
            waiting += [entry.path for entry in entries if entry.name[0] != "." and entry.is_dir()]


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)  # noqa: PTH208 - the names are enough
    except OSError:
        return []
