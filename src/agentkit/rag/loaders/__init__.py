"""Loaders by name, chosen by suffix; others come by entry points of `agentkit.loaders`."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

from agentkit.errors import DocumentError
from agentkit.rag.loaders.base import LoadedText, Loader
from agentkit.registry import Registry

loaders: Final = Registry[Loader](
    "loader", group="agentkit.loaders", table={"text": "agentkit.rag.loaders.text:load_text"}
)

LOADER_OF_SUFFIX: Final[Mapping[str, str]] = {}
"""Which loader reads which suffix; every other file is read by `text`."""

MAX_BYTES: Final = 20 * 1024 * 1024


def read_bytes(path: Path, source: str, max_bytes: int = MAX_BYTES) -> bytes:
    """Return the content of the file called `source`.

    Raises:
        DocumentError: It cannot be read, or is larger than `max_bytes`.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(max_bytes + 1)
    except OSError as error:
        raise DocumentError(source, f"cannot be read: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise DocumentError(
            source, f"is larger than {max_bytes:,} bytes.", hint="Split it, or raise the limit."
        )
    return content


def load(source: str, content: bytes) -> LoadedText:
    """Return the text of the source of this URI, by the loader for its suffix.

    Raises:
        DocumentError: The loader cannot make text of it.
    """
    return loaders.get(LOADER_OF_SUFFIX.get(PurePosixPath(source).suffix.lower(), "text"))(source, content)


__all__ = ["LOADER_OF_SUFFIX", "MAX_BYTES", "LoadedText", "Loader", "load", "loaders", "read_bytes"]
