"""Markdown: cut at headings first, keep fenced code and tables whole where they fit.

Read line by line after CommonMark 0.31 (https://spec.commonmark.org): ATX and setext
headings, fences of backticks or tildes, and GitHub's pipe tables. The text itself is
never rewritten, so offsets stay exact.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

from agentkit.rag.chunking.base import Chunk, Chunker, Lines, make_chunk
from agentkit.rag.chunking.text import CODE, PROSE, split_span

Kind = Literal["heading", "fence", "table", "prose"]

_ATX: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT: Final = re.compile(r" {0,3}(=+|-+)[ \t]*$")
# any indentation, unlike CommonMark: fences inside lists are common, indented code that opens one is not
_FENCE: Final = re.compile(r"[ \t]*(`{3,}(?=[^`]*$)|~{3,})")
_RAW_LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
_FRONT_MATTER: Final = re.compile(r"---[ \t]*\r?\n(?:.*\n)*?---[ \t]*(?:\r?\n|\Z)")
_TABLE_RULE: Final = re.compile(r" {0,3}\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")


@dataclass(slots=True)
class Block:
    """A run of lines of one kind; `level` and `title` are a heading's."""

    kind: Kind
    start: int
    end: int
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with all that follows it up to the next heading."""

    heading: tuple[str, ...]
    blocks: tuple[Block, ...]


class MarkdownChunker(Chunker):
    """Cuts Markdown so that a chunk never mixes two sections that both have text."""

    name: ClassVar[str] = "markdown"
    version: ClassVar[int] = 1

    def chunk(self, text: str) -> list[Chunk]:
        """Cut `text`; everything in it but white space is in at least one chunk."""
        lines = Lines(text)
        return [
            chunk
            for section in _sections(text)
            for start, end in self._pack(text, section)
            if (chunk := make_chunk(text, start, end, lines, heading=section.heading))
        ]

    def _pack(self, text: str, section: Section) -> Iterator[tuple[int, int]]:
        """Fill spans with whole blocks; a block that is larger than a span is cut inside."""
        start = end = section.blocks[0].start
        for block in section.blocks:
            if self.length(text[start : block.end]) <= self.size:
                end = block.end
                continue
            if self.length(text[block.start : block.end]) <= self.size and not _only_heading(
                text, start, end
            ):
                yield start, end
                start, end = block.start, block.end
                continue
            # what is pending goes with the first piece: a heading alone says nothing
            *pieces, (start, end) = self._split(text, start, block)
            yield from pieces
        yield start, end

    def _split(self, text: str, start: int, block: Block) -> list[tuple[int, int]]:
        boundaries = PROSE if block.kind in ("prose", "heading") else CODE
        overlap = self.overlap if boundaries is PROSE else 0
        spans = split_span(
            text, start, block.end, size=self.size, overlap=overlap, length=self.length, boundaries=boundaries
        )
        return list(spans)


def _only_heading(text: str, start: int, end: int) -> bool:
    """Whether a span holds no more than heading lines."""
    return all(_ATX.match(line) or not line.strip() for line in text[start:end].split("\n"))


def _sections(text: str) -> Iterator[Section]:
    """Group blocks under their headings; headings without text go to the next section with some."""
    path: list[tuple[int, str]] = []
    pending: list[Block] = []
    has_body = False
    for block in _blocks(text):
        if block.kind == "heading":
            if has_body:
                yield Section(tuple(title for _, title in path), tuple(pending))
                pending, has_body = [], False
            path = [entry for entry in path if entry[0] < block.level]
            path.append((block.level, block.title))
        elif text[block.start : block.end].strip():
            has_body = True
        pending.append(block)
    if pending:
        yield Section(tuple(title for _, title in path), tuple(pending))


def _blocks(text: str) -> Iterator[Block]:
    """Cut `text` into blocks that touch: each ends where the next starts."""
    offset = front.end() if (front := _FRONT_MATTER.match(text)) else 0
    yield from _nonempty(Block("fence", 0, offset))
    block = Block("prose", offset, offset)
    fence = ""
    previous = ""
    for raw in _RAW_LINE.findall(text, offset):
        line, start, offset = raw.rstrip("\r\n"), offset, offset + len(raw)
        if fence:
            block.end = offset
            if line.strip() and not line.strip().strip(fence[0]) and len(line.strip()) >= len(fence):
                fence = ""
                yield block
                block = Block("prose", offset, offset)
        elif opened := _FENCE.match(line):
            fence = opened[1]
            yield from _nonempty(block)
            block = Block("fence", start, offset)
        elif heading := _ATX.match(line):
            yield from _nonempty(block)
            yield Block("heading", start, offset, len(heading[1]), (heading[2] or "").strip())
            block = Block("prose", offset, offset)
        elif previous.strip() and block.kind == "prose" and (underline := _SETEXT.match(line)):
            first = start - len(previous)
            yield from _nonempty(Block("prose", block.start, first))
            yield Block("heading", first, offset, 1 if underline[1][0] == "=" else 2, previous.strip())
            block = Block("prose", offset, offset)
        elif "|" in previous and block.kind == "prose" and _TABLE_RULE.match(line):
            first = start - len(previous)
            yield from _nonempty(Block("prose", block.start, first))
            block = Block("table", first, offset)
        elif block.kind == "table" and "|" not in line:
            yield block
            block = Block("prose", start, offset)
        elif block.kind == "prose" and block.end > block.start and not previous.strip() and line.strip():
            yield block  # one paragraph (with the blank lines after it) a block
            block = Block("prose", start, offset)
        else:
            block.end = offset
        previous = "" if fence or block.start == offset else raw
    yield from _nonempty(block)


def _nonempty(block: Block) -> Iterator[Block]:
    if block.end > block.start:
        yield block
