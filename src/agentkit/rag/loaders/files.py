"""Finding files: explicit ones, and those in folders, always in the same order under the same names."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agentkit.errors import DocumentError
from agentkit.rag.loaders.text import is_binary

_IGNORED_FOLDERS: Final = frozenset({"__pycache__", "node_modules"})
_DATA_SUFFIXES: Final = frozenset(
    {".csv", ".json", ".jsonl", ".lock", ".log", ".map", ".ndjson", ".svg", ".tsv", ".xml"}
)
"""Text to the computer, but data to a reader: left out of folders, ingested when named."""

_SNIFF_BYTES: Final = 8192


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to ingest, and the name it has on every machine."""

    path: Path
    uri: str
    size: int


@dataclass(slots=True)
class Found:
    """What a search for files came to.

    Attributes:
        files: Text files, each once, in the order of the arguments and then of their names.
        skipped: URIs of files in folders that are not text to read.
        errors: One for each argument or file that cannot be read.
        folders: URI prefixes of the folders that were searched, for example `docs/`.
    """

    files: list[SourceFile] = field(default_factory=list[SourceFile])
    skipped: list[str] = field(default_factory=list[str])
    errors: list[DocumentError] = field(default_factory=list[DocumentError])
    folders: list[str] = field(default_factory=list[str])


def find_files(paths: Iterable[Path | str], root: Path | None = None) -> Found:
    """Find the text files among and beneath `paths`.

    In folders, hidden files and folders, caches, symbolic links that lead out of the
    folder, data (JSON, CSV, logs, lock files, …) and files that are not text are left out.

    Args:
        paths: Files and folders.
        root: What URIs are relative to. By default the nearest folder above with a
            `.git`, else the folder a path is in; so they do not depend on the machine or
            the working directory.
    """
    found = Found()
    taken: dict[str, Path] = {}
    for given in paths:
        try:
            _add(found, taken, Path(given), root)
        except DocumentError as error:
            found.errors.append(error)
        except OSError as error:
            found.errors.append(DocumentError(str(given), f"cannot be read: {error.strerror or error}"))
    return found


def _add(found: Found, taken: dict[str, Path], given: Path, root: Path | None) -> None:
    path = given.expanduser().resolve()
    base = _default_root(path) if root is None else root.expanduser().resolve()
    if not path.exists():
        raise DocumentError(str(given), "does not exist.")
    if not path.is_relative_to(base):
        raise DocumentError(str(given), f"is not beneath the root {root}.", hint="Pass a root above it.")
    if not path.is_dir():
        _add_file(found, taken, path, base)
        return
    prefix = path.relative_to(base).as_posix()
    found.folders.append("" if prefix == "." else f"{prefix}/")
    for file in _walk(path):
        try:
            if file.suffix.lower() in _DATA_SUFFIXES or _looks_binary(file):
                found.skipped.append(file.relative_to(base).as_posix())
            else:
                _add_file(found, taken, file, base)
        except OSError as error:
            uri = file.relative_to(base).as_posix()
            found.errors.append(DocumentError(uri, f"cannot be read: {error.strerror or error}"))


def _add_file(found: Found, taken: dict[str, Path], path: Path, base: Path) -> None:
    uri = path.relative_to(base).as_posix()
    if not path.is_file():
        raise DocumentError(uri, "is neither a file nor a folder.")
    if uri not in taken:
        taken[uri] = path
        found.files.append(SourceFile(path, uri, path.stat().st_size))
    elif taken[uri] != path:
        hint = "Pass a root above both, or ingest them into different scopes."
        found.errors.append(
            DocumentError(str(path), f"would be called {uri}, as {taken[uri]} is.", hint=hint)
        )


def _walk(folder: Path) -> Iterator[Path]:
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not _ignored(name))
        for name in sorted(name for name in names if not name.startswith(".")):
            file = Path(here, name)
            if file.is_file() and (not file.is_symlink() or file.resolve().is_relative_to(folder)):
                yield file


def _ignored(name: str) -> bool:
    return name.startswith(".") or name in _IGNORED_FOLDERS


def _looks_binary(file: Path) -> bool:
    with file.open("rb") as stream:
        return is_binary(stream.read(_SNIFF_BYTES))


def _default_root(path: Path) -> Path:
    for folder in path.parents if path.is_file() else (path, *path.parents):
        if (folder / ".git").exists():
            return folder
    return path.parent
