"""What goes into the store and what comes out of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from agentkit.rag.chunking.base import Chunk
from agentkit.rag.embeddings.base import EmbeddingSpec

SearchMode = Literal["hybrid", "dense", "lexical"]
"""Vectors and words fused, vectors alone, or words alone."""

SEARCH_MODES: tuple[SearchMode, ...] = ("hybrid", "dense", "lexical")

WHOLE_TEXT = "none"
"""The chunker of a text that was added as it is: it is its own only chunk."""


@dataclass(frozen=True, slots=True)
class NewDocument:
    """One document on its way into the store, cut into chunks.

    Attributes:
        source_uri: What the document is called within its tenant and scope; stable
            across machines, for example a path relative to the project.
        sha256: Of the source's bytes, hexadecimal.
        chunks: In the order of the source.
        title: For people, shown with citations.
        mime: Media type, for example `text/markdown`.
        chunker: Name and parameters of what cut it; a change means cutting again.
        metadata: Anything JSON can hold.
    """

    source_uri: str
    sha256: str
    chunks: Sequence[Chunk]
    title: str = ""
    mime: str = "text/plain"
    chunker: str = WHOLE_TEXT
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class DocumentState:
    """What decides whether a stored document is still current."""

    sha256: str
    mime: str
    chunker: str
    spec: EmbeddingSpec
    chunks: int


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document as the store lists it; `chunks` is how many it has."""

    id: UUID
    tenant: str
    scope: str
    source_uri: str
    title: str
    mime: str
    sha256: str
    chunker: str
    model: str
    metadata: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    chunks: int


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What writing documents came to: chunks they have now, and those that had to be embedded."""

    chunks: int
    embedded: int


@dataclass(frozen=True, slots=True)
class RetrievedChunk:
    """One chunk that answers a query, with everything a citation needs.

    Attributes:
        chunk_id: Stays the same as long as document and content do.
        document_id: Of the document it was cut from.
        source_uri: What the document is called, for example `docs/architecture.md`.
        title: The document's title.
        scope: Knowledge scope it was found in.
        text: Exactly `source[start:end]`.
        start: First character in the decoded source, 0-based.
        end: One past the last character.
        start_line: 1-based line `start` is on.
        end_line: 1-based line the last character is on.
        page: 1-based page, or None where the format has none.
        heading: Headings above the chunk, outermost first.
        score: Fused rank score of this search; only comparable within it.
        similarity: Cosine similarity to the query, -1 to 1, or None when the search did
            not use vectors or the chunk was embedded by another model.
        chunker: What cut it.
        metadata: The document's metadata.
    """

    chunk_id: UUID
    document_id: UUID
    source_uri: str
    title: str
    scope: str
    text: str
    start: int
    end: int
    start_line: int
    end_line: int
    page: int | None
    heading: tuple[str, ...]
    score: float
    similarity: float | None
    chunker: str
    metadata: Mapping[str, Any]
