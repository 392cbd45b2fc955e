"""Plain text: cut at paragraphs where possible, then lines, sentences, words, and only then anywhere."""

import re
from collections.abc import Iterator
from typing import ClassVar, Final

from agentkit.errors import ConfigurationError
from agentkit.rag.chunking.base import Chunk, Chunker, LengthFunction, Lines, make_chunk

PARAGRAPH: Final = re.compile(r"\n[ \t\r]*\n\s*")
LINE: Final = re.compile(r"\n")
SENTENCE: Final = re.compile(r"""[.!?…]["'”\u2019)\]]*\s+|[。\uff01\uff1f]""")
WORD: Final = re.compile(r"\s+")

PROSE: Final = (PARAGRAPH, SENTENCE, LINE, WORD)
CODE: Final = (PARAGRAPH, LINE, WORD)


class PlainTextChunker(Chunker):
    """Cuts any text at the best boundary in the second half of what fits."""

    name: ClassVar[str] = "text"
    version: ClassVar[int] = 1

    def chunk(self, text: str) -> list[Chunk]:
        """Cut `text`; everything in it but white space is in at least one chunk."""
        lines = Lines(text)
        spans = split_span(
            text, 0, len(text), size=self.size, overlap=self.overlap, length=self.length, boundaries=PROSE
        )
        return [chunk for start, end in spans if (chunk := make_chunk(text, start, end, lines))]


def split_span(
    text: str,
    start: int,
    end: int,
    *,
    size: int,
    overlap: int,
    length: LengthFunction,
    boundaries: tuple[re.Pattern[str], ...],
) -> Iterator[tuple[int, int]]:
    """Yield spans that cover `text[start:end]`, each at most `size` by `length`.

    Args:
        text: The whole source.
        start: First character to cover.
        end: One past the last character to cover.
        size: Upper limit of a span.
        overlap: How much a span may repeat of the one before, unless that ended a paragraph.
        length: How large a text is.
        boundaries: Where to cut, best first.

    Raises:
        ConfigurationError: `length` finds a single character larger than `size`.
    """
    covered = start
    while covered < end:
        if text[covered].isspace():  # white space belongs to no span's start
            covered += 1
            start = max(start, covered) if start == covered - 1 else start
            continue
        limit = _fit(text, start, end, size, length)
        if limit <= covered:
            if start == covered:
                raise ConfigurationError(
                    f"The length function finds one character larger than the chunk size {size}.",
                    hint="Use a larger size or another length function.",
                )
            start = covered  # the overlap left no room for anything new
            continue
        cut, paragraph = (end, True) if limit >= end else _best_cut(text, start, covered, limit, boundaries)
        yield start, cut
        covered = cut
        start = cut if paragraph else _overlap_start(text, start, cut, overlap, length)


def _fit(text: str, start: int, end: int, size: int, length: LengthFunction) -> int:
    """Return the largest `e <= end` found with `length(text[start:e]) <= size`."""
    if length is len:
        return min(end, start + size)
    low, step = start, size
    while low < end and length(text[start : (high := min(end, low + step))]) <= size:
        low, step = high, step * 2
    if low >= end:
        return end
    high = min(end, low + step)
    while high - low > 1:
        middle = (low + high) // 2
        if length(text[start:middle]) <= size:
            low = middle
        else:
            high = middle
    return low


def _best_cut(
    text: str, start: int, covered: int, limit: int, boundaries: tuple[re.Pattern[str], ...]
) -> tuple[int, bool]:
    """Return where to end a span, between `covered` and `limit`, and whether a paragraph ends there."""
    middle = max(covered, (start + limit) // 2)
    for boundary in boundaries:
        lowest = covered if boundary is WORD else middle
        # one character more, so that a boundary that ends exactly at the limit is seen
        ends = [found.end() for found in boundary.finditer(text, lowest, min(len(text), limit + 1))]
        fitting = [place for place in ends if lowest < place <= limit]
        if fitting:
            return fitting[-1], boundary is PARAGRAPH
    return limit, False


def _overlap_start(text: str, start: int, cut: int, overlap: int, length: LengthFunction) -> int:
    """Return the start of the next span: the first word within `overlap` of `cut`."""
    if overlap == 0:
        return cut
    if length is len:
        first = max(start + 1, cut - overlap)
    else:
        low, high = start + 1, cut
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if length(text[middle:cut]) <= overlap else (middle + 1, high)
        first = low
    word = WORD.search(text, max(start, first - 1), cut)
    return word.end() if word and word.end() < cut else cut
