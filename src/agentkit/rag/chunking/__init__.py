"""Chunkers by name, chosen by media type; others come by entry points of `agentkit.chunkers`."""

from collections.abc import Mapping
from typing import Final

from agentkit.rag.chunking.base import (
    DEFAULT_SIZE,
    Chunk,
    Chunker,
    LengthFunction,
)
from agentkit.registry import Registry

chunkers: Final = Registry[type[Chunker]](
    "chunker",
    group="agentkit.chunkers",
    table={
        "text": "agentkit.rag.chunking.text:PlainTextChunker",
        "markdown": "agentkit.rag.chunking.markdown:MarkdownChunker",
    },
)

CHUNKER_OF_MIME: Final[Mapping[str, str]] = {"text/markdown": "markdown"}
"""Which chunker cuts which media type; every other text is cut by `text`."""


class TextChunker:
    r"""Cuts text of any supported type into chunks with exact offsets.

    Args:
        size: Upper limit for every chunk, in the unit of `length`.
        overlap: How much of a chunk's end the next may repeat, in the unit of `length`;
            by default an eighth of the size.
        length: How large a text is: characters by default; pass
            `LocalEmbeddings.count_tokens` to count tokens.

    Example:
        >>> [chunk.heading for chunk in TextChunker().chunk_markdown("# A\n\nOne.\n\n## B\n\nTwo.")]
        [('A',), ('A', 'B')]
    """

    def __init__(
        self, *, size: int = DEFAULT_SIZE, overlap: int | None = None, length: LengthFunction = len
    ) -> None:
        self._size = size
        self._overlap = overlap
        self._length = length
        self._made: dict[str, Chunker] = {}
        self.named("text")  # a wrong size should fail here, not at the first document

    def chunk_text(self, text: str) -> list[Chunk]:
        """Cut plain text."""
        return self.named("text").chunk(text)

    def chunk_markdown(self, text: str) -> list[Chunk]:
        """Cut Markdown along its headings."""
        return self.named("markdown").chunk(text)

    def for_mime(self, mime: str) -> Chunker:
        """Return the chunker for a media type such as `text/markdown`."""
        return self.named(CHUNKER_OF_MIME.get(mime, "text"))

    def named(self, name: str) -> Chunker:
        """Return the chunker registered as `name`, with this object's size and overlap.

        Raises:
            UnknownNameError: There is none.
        """
        if name not in self._made:
            self._made[name] = chunkers.get(name)(size=self._size, overlap=self._overlap, length=self._length)
        return self._made[name]


__all__ = ["CHUNKER_OF_MIME", "Chunk", "Chunker", "LengthFunction", "TextChunker", "chunkers"]
