"""What a chunk is, and what cuts text into chunks."""

import re
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from agentkit.errors import ConfigurationError

LengthFunction = Callable[[str], int]
"""How large a text is: `len` for characters, or a tokenizer's count."""

DEFAULT_SIZE = 800
MIN_SIZE = 16


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a source: `text` is exactly `source[start:end]`.

    Attributes:
        text: The piece, never empty or only white space.
        start: First character, 0-based.
        end: One past the last character.
        start_line: 1-based line of the first character.
        end_line: 1-based line of the last character.
        heading: Headings above it, outermost first.
        page: 1-based page, or None where the format has none.
    """

    text: str
    start: int
    end: int
    start_line: int
    end_line: int
    heading: tuple[str, ...] = ()
    page: int | None = None


class Chunker(ABC):
    """Cuts text into chunks of at most `size`.

    Args:
        size: Upper limit for every chunk, in the unit of `length`; at least 16.
        overlap: How much of a chunk's end the next may repeat, in the unit of `length`;
            less than half of `size`; by default an eighth. Only where one passage had to be cut in two.
        length: How large a text is; characters by default. Must not shrink when text is
            added.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    """Raise it when the same text would be cut differently: documents are then cut again."""

    def __init__(
        self, *, size: int = DEFAULT_SIZE, overlap: int | None = None, length: LengthFunction = len
    ) -> None:
        if overlap is None:
            overlap = size // 8
        if size < MIN_SIZE:
            raise ConfigurationError(f"A chunk size of {size} is too small.", hint=f"At least {MIN_SIZE}.")
        if not 0 <= overlap < size / 2:
            raise ConfigurationError(
                f"An overlap of {overlap} does not fit a chunk size of {size}.",
                hint=f"Choose 0 to {(size - 1) // 2}: less than half of the size.",
            )
        self.size = size
        self.overlap = overlap
        self.length = length

    @property
    def signature(self) -> str:
        """Identifies the result: the same text and signature give the same chunks."""
        unit = "" if self.length is len else f":{getattr(self.length, '__qualname__', 'custom')}"
        return f"{self.name}-{self.version}:{self.size}:{self.overlap}{unit}"

    @abstractmethod
    def chunk(self, text: str) -> list[Chunk]:
        """Cut `text`; everything in it but white space is in at least one chunk."""


class Lines:
    """Translates character offsets of one text into 1-based line numbers."""

    def __init__(self, text: str) -> None:
        self._breaks = [found.start() for found in re.finditer("\n", text)]

    def of(self, offset: int) -> int:
        """Line of the character at `offset`; a line break belongs to the line it ends."""
        return bisect_left(self._breaks, offset) + 1


def make_chunk(
    text: str, start: int, end: int, lines: Lines, *, heading: tuple[str, ...] = ()
) -> Chunk | None:
    """Return `text[start:end]` as a chunk without the white space around it, None if nothing is left."""
    piece = text[start:end]
    if not (stripped := piece.strip()):
        return None
    start += len(piece) - len(piece.lstrip())
    end = start + len(stripped)
    return Chunk(stripped, start, end, lines.of(start), lines.of(end - 1), heading)
