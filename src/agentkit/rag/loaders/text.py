"""Plain text, Markdown and source code."""

import codecs
import re
from pathlib import PurePosixPath
from typing import Final

from agentkit.errors import DocumentError
from agentkit.rag.loaders.base import LoadedText

MARKDOWN_SUFFIXES: Final = frozenset({".md", ".markdown", ".mdown", ".mkd"})

_HEADING: Final = re.compile(r"^ {0,3}#[ \t]+(.+?)(?:[ \t]+#+)?[ \t\r]*$", re.MULTILINE)

# UTF-32 first: its little-endian mark begins with UTF-16's
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def is_binary(head: bytes) -> bool:
    """Whether a file that starts with `head` is not text: a NUL without a Unicode mark before it."""
    return b"\x00" in head and not any(head.startswith(mark) for mark, _ in _MARKS)


def load_text(source: str, content: bytes) -> LoadedText:
    """Decode a text file: by its mark, else as UTF-8, else as Latin-1 with a note.

    Raises:
        DocumentError: It is binary, or breaks the encoding its mark promises.
    """
    if is_binary(content):
        raise DocumentError(source, "is binary, not text.", hint="Convert it to text or Markdown first.")
    text, encoding = _decode(source, content)
    if "\x00" in text:
        raise DocumentError(source, "contains NUL characters, so it is not text.")
    path = PurePosixPath(source)
    markdown = path.suffix.lower() in MARKDOWN_SUFFIXES
    heading = _HEADING.search(text) if markdown else None
    return LoadedText(
        text=text,
        mime="text/markdown" if markdown else "text/plain",
        title=heading[1] if heading else path.name,
        encoding=encoding,
        note="not UTF-8, read as Latin-1: check its special characters" if encoding == "latin-1" else "",
    )


def _decode(source: str, content: bytes) -> tuple[str, str]:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return content[len(mark) :].decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise DocumentError(source, f"is marked as {encoding} but is not: {error}") from error
    try:
        return content.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        return content.decode("latin-1"), "latin-1"
