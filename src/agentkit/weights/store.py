"""The folder model weights live in: what is there, and how the rest gets there.

Layout under the root: `MODEL/FILE` when installed; `MODEL/FILE.partial` holds the verified
parts so far, so that an interrupted pull goes on where it stopped; `MODEL/.fetch` is the
fetcher's scratch space; `MODEL/.lock` keeps two processes from fetching at once.
"""

import asyncio
import errno
import fcntl
import hashlib
import logging
import os
import shutil
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkit.errors import WeightsError
from agentkit.weights.catalogue import Catalogue, CatalogueEntry, WeightFile, load_catalogue
from agentkit.weights.fetch import fetch_part

Progress = Callable[[str, int, int], None]
"""Called with the model's name, bytes done and bytes in total."""

_BLOCK = 1 << 20
_LOCK_POLL = 0.2

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Weights:
    """The installed files of one model."""

    name: str
    files: Mapping[str, Path]

    def file(self, name: str) -> Path:
        """Path of the file the catalogue calls `name`, for example `model.gguf`."""
        return self.files[name]


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """How much of a model is on this machine.

    Attributes:
        state: `installed`, `partial` (a pull was interrupted, or a file is damaged) or `missing`.
        size: Usable bytes on disk.
        total: Bytes of the whole model.
    """

    state: Literal["installed", "partial", "missing"]
    size: int
    total: int


class WeightsStore:
    """Fetches, checks and finds model weights.

    Its methods block (they wait for pip and for disks); use `aensure` from a coroutine.

    Args:
        root: Folder for all models; created when something is fetched.
        catalogue: What can be fetched; the shipped catalogue by default.

    Example::

        weights = WeightsStore(Path("models")).ensure("all-minilm-l6-v2")
        weights.file("model.onnx")
    """

    def __init__(self, root: Path, catalogue: Catalogue | None = None) -> None:
        self.root = root
        self.catalogue = catalogue if catalogue is not None else load_catalogue()

    def status(self, name: str) -> WeightsStatus:
        """What is on disk, judged by file sizes; `verify` reads the content too."""
        entry = self.catalogue[name]
        done = sum(self._bytes_done(entry, file) for file in entry.files)
        if all(self._installed(entry, file) for file in entry.files):
            return WeightsStatus("installed", done, entry.size)
        return WeightsStatus("partial" if done else "missing", done, entry.size)

    def path(self, name: str) -> Weights:
        """Return the installed files of `name` without fetching anything.

        Raises:
            WeightsError: A file is missing or has the wrong size.
            UnknownNameError: The catalogue has no such model.
        """
        entry = self.catalogue[name]
        for file in entry.files:
            path = self._path(entry, file)
            if not path.is_file():
                raise WeightsError(f"The weights of {name!r} are not installed.", hint=_pull(name))
            if (size := path.stat().st_size) != file.size:
                raise WeightsError(
                    f"{path} is damaged: expected {file.size} bytes, found {size}.", hint=_pull(name)
                )
        return Weights(name, {file.name: self._path(entry, file) for file in entry.files})

    def verify(self, name: str) -> Weights:
        """Read every installed file and compare its SHA-256.

        Raises:
            WeightsError: A file is missing, or it differs; the damaged file is removed.
        """
        weights = self.path(name)
        for file in self.catalogue[name].files:
            _check(weights.file(file.name), file, name)
        return weights

    async def aensure(self, name: str, progress: Progress | None = None) -> Weights:
        """`ensure` in a thread; cancelling it ends the download."""
        stop = threading.Event()
        try:
            return await asyncio.to_thread(self.ensure, name, progress, stop=stop)
        finally:
            stop.set()

    def ensure(
        self, name: str, progress: Progress | None = None, *, stop: threading.Event | None = None
    ) -> Weights:
        """Return the files of `name`, fetching what is missing.

        Verified parts are kept, so that a pull that was interrupted, even by `kill -9`,
        goes on with the next part. Two processes at once fetch once.

        Args:
            name: A model of the catalogue.
            progress: Told the bytes done, on the calling thread.
            stop: Set it from another thread to give up.

        Raises:
            WeightsError: Offline, pip missing, disk full, or a checksum differs.
            UnknownNameError: The catalogue has no such model.
        """
        entry = self.catalogue[name]
        if self.status(name).state != "installed":
            report = progress or _silent
            with _disk_errors(self.root, name), self._lock(entry, report, stop or threading.Event()) as halt:
                for file in entry.files:
                    if not self._installed(entry, file):
                        self._install(entry, file, report, halt)
        return self.path(name)

    def _install(
        self, entry: CatalogueEntry, file: WeightFile, report: Progress, stop: threading.Event
    ) -> None:
        """Append the missing parts to `FILE.partial`, check the whole, and give it its name."""
        folder = self.root / entry.name
        partial = folder / f"{file.name}.partial"
        scratch = folder / ".fetch"
        kept = _whole_parts(file, partial.stat().st_size if partial.exists() else 0)
        position = sum(part.size for part in file.parts[:kept])
        self._require_space(entry, file.size - position)
        elsewhere = sum(self._bytes_done(entry, other) for other in entry.files if other is not file)
        with partial.open("ab") as target:
            target.truncate(position)
            for part in file.parts[kept:]:
                start = elsewhere + position

                def part_done(fraction: float, start: int = start, size: int = part.size) -> None:
                    report(entry.name, start + int(size * fraction), entry.size)

                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
                for block in fetch_part(part, scratch, model=entry.name, progress=part_done, stop=stop):
                    target.write(block)
                target.flush()
                os.fsync(target.fileno())
                position += part.size
        shutil.rmtree(scratch, ignore_errors=True)
        _check(partial, file, entry.name)
        partial.replace(folder / file.name)
        _sync_folder(folder)
        report(entry.name, elsewhere + file.size, entry.size)

    def _path(self, entry: CatalogueEntry, file: WeightFile) -> Path:
        return self.root / entry.name / file.name

    def _installed(self, entry: CatalogueEntry, file: WeightFile) -> bool:
        path = self._path(entry, file)
        return path.is_file() and path.stat().st_size == file.size

    def _bytes_done(self, entry: CatalogueEntry, file: WeightFile) -> int:
        if self._installed(entry, file):
            return file.size
        partial = self.root / entry.name / f"{file.name}.partial"
        kept = _whole_parts(file, partial.stat().st_size if partial.exists() else 0)
        return sum(part.size for part in file.parts[:kept])

    def _require_space(self, entry: CatalogueEntry, missing: int) -> None:
        # The wheel in flight and its copy need room beside the file itself.
        largest = max(part.size for file in entry.files for part in file.parts)
        needed, free = missing + 2 * largest, shutil.disk_usage(self.root).free
        if free < needed:
            raise WeightsError(
                f"{self.root} has {free >> 20} MB free; fetching {entry.name!r} needs {needed >> 20} MB.",
                hint=f"Free some space or set another data directory. {_pull(entry.name)}",
            )

    @contextmanager
    def _lock(
        self, entry: CatalogueEntry, report: Progress, stop: threading.Event
    ) -> Generator[threading.Event]:
        folder = self.root / entry.name
        folder.mkdir(parents=True, exist_ok=True)
        # flock belongs to the open file: it excludes threads too, and dies with the process.
        with (folder / ".lock").open("w") as handle:
            waiting = False
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not waiting:
                        logger.info("another process is fetching %s: waiting for it", entry.name)
                    waiting = True
                if stop.wait(_LOCK_POLL):
                    raise WeightsError(f"Fetching {entry.name!r} was stopped.", hint=_pull(entry.name))
                report(entry.name, self.status(entry.name).size, entry.size)
            yield stop


def _whole_parts(file: WeightFile, size: int) -> int:
    """How many leading parts a partial file of `size` bytes holds completely."""
    count = 0
    for part in file.parts:
        if size < part.size:
            break
        size -= part.size
        count += 1
    return count


def _check(path: Path, file: WeightFile, model: str) -> None:
    digest = hashlib.sha256()
    with path.open("rb") as source:
        while block := source.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != file.sha256:
        path.unlink(missing_ok=True)
        raise WeightsError(
            f"{path} is damaged and was removed: expected SHA-256 {file.sha256}, got {digest.hexdigest()}.",
            hint=_pull(model),
        )


def _sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _disk_errors(root: Path, name: str) -> Generator[None]:
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = "The disk is full" if full else f"{type(error).__name__}: {error}"
        raise WeightsError(f"Cannot store {name!r} under {root}. {what}.", hint=_pull(name)) from error


def _silent(_label: str, _done: int, _total: int) -> None:
    return


def _pull(name: str) -> str:
    return f"Fetch it with: agentkit models pull {name}"
