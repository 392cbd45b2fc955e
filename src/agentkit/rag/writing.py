"""Writing documents: COPY into temporary tables, then upsert and delete what is gone, in one transaction."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID, uuid5

from psycopg.types.json import Jsonb

from agentkit.errors import DocumentError
from agentkit.rag.chunking.base import Chunk
from agentkit.rag.records import NewDocument
from agentkit.rag.schema import Connection, RegisteredModel

_NAMESPACE: Final = UUID("f7494702-4b03-4b47-b550-49274708632e")


def document_id(tenant: str, scope: str, source_uri: str) -> UUID:
    """Return the id a document has on every machine."""
    return uuid5(_NAMESPACE, f"{tenant}\x1f{scope}\x1f{source_uri}")


def embedded_text(chunk: Chunk) -> str:
    """Return what is embedded for a chunk: its headings, then its text."""
    return "\n".join((" > ".join(chunk.heading), chunk.text)) if chunk.heading else chunk.text


def content_hash(chunk: Chunk) -> str:
    """Return the SHA-256 of what is embedded: equal hashes have equal vectors."""
    return hashlib.sha256(embedded_text(chunk).encode()).hexdigest()


def vector_text(vector: Sequence[float]) -> str:
    """Return a vector as pgvector reads it; five digits are more than a half float holds."""
    return "[" + ",".join(f"{number:.5g}" for number in vector) + "]"


def require_storable(document: NewDocument) -> None:
    """Refuse text PostgreSQL cannot hold.

    Raises:
        DocumentError: A chunk has a NUL character or a lone surrogate.
    """
    for chunk in document.chunks:
        if "\x00" in chunk.text:
            raise DocumentError(document.source_uri, "contains NUL characters, so it is not text.")
        try:
            chunk.text.encode()
        except UnicodeEncodeError as error:
            raise DocumentError(document.source_uri, f"is not valid Unicode: {error}") from error


async def known_vectors(
    connection: Connection, tenant: str, model: RegisteredModel, hashes: Sequence[str]
) -> dict[str, str]:
    """Return the tenant's stored vectors by content hash, in pgvector's text form."""
    cursor = await connection.execute(_KNOWN, (tenant, model.id, list(hashes)))
    return {row["sha256"]: row["embedding"] for row in await cursor.fetchall()}


async def write_documents(
    connection: Connection,
    model: RegisteredModel,
    documents: Sequence[NewDocument],
    vectors: Mapping[str, str],
    *,
    tenant: str,
    scope: str,
    language: str,
) -> None:
    """Replace `documents` whole; other documents are not touched.

    Each document's row is locked until the commit, in one order everywhere, so that two
    writers of the same documents come one after the other and never deadlock.

    Args:
        connection: Outside a transaction.
        model: Whose vectors these are.
        documents: With distinct `source_uri`.
        vectors: A vector in pgvector's text form for every chunk's content hash.
        tenant: Whose documents these are.
        scope: Knowledge scope they belong to.
        language: PostgreSQL text search configuration.
    """
    async with connection.transaction():
        cursor = connection.cursor()
        for statement in _TEMPORARY:
            await cursor.execute(statement)
        async with cursor.copy(_COPY_DOCUMENTS) as copy:
            for document in documents:
                await copy.write_row(_document_row(document, tenant, scope))
        values = {"tenant": tenant, "scope": scope, "model": model.id, "language": language}
        locked = -1
        while locked != len(documents):  # fewer when one was deleted between the two statements
            await cursor.execute(_ADD_DOCUMENTS, values)
            locked = (await cursor.execute(_LOCK_DOCUMENTS)).rowcount
        await cursor.execute(_UPDATE_DOCUMENTS, values)
        async with cursor.copy(_COPY_CHUNKS) as copy:
            for document in documents:
                for row in _chunk_rows(document, tenant, scope, vectors):
                    await copy.write_row(row)
        await cursor.execute(_DELETE_GONE)
        await cursor.execute(_UPSERT_CHUNKS, values)


def _document_row(document: NewDocument, tenant: str, scope: str) -> tuple[Any, ...]:
    return (
        document_id(tenant, scope, document.source_uri),
        document.source_uri,
        document.sha256,
        document.title,
        document.mime,
        document.chunker,
        Jsonb(dict(document.metadata)),
    )


def _chunk_rows(
    document: NewDocument, tenant: str, scope: str, vectors: Mapping[str, str]
) -> list[tuple[Any, ...]]:
    owner = document_id(tenant, scope, document.source_uri)
    seen: dict[str, int] = {}
    rows: list[tuple[Any, ...]] = []
    for ordinal, chunk in enumerate(document.chunks):
        digest = content_hash(chunk)
        seen[digest] = seen.get(digest, 0) + 1
        rows.append(
            (
                # from the content, not the position: a chunk that only moved keeps its row and index entry
                uuid5(owner, f"{digest}:{seen[digest]}"),
                owner,
                ordinal,
                chunk.start,
                chunk.end,
                chunk.start_line,
                chunk.end_line,
                chunk.page,
                list(chunk.heading),
                digest,
                chunk.text,
                vectors[digest],
            )
        )
    return rows


_KNOWN: Final = """
SELECT DISTINCT ON (sha256) sha256, embedding::text AS embedding
FROM agentkit_chunks WHERE tenant = %s AND model_id = %s AND sha256 = ANY(%s)
"""

# Kept for the life of the connection: creating them per document would bloat the catalogue.
_TEMPORARY: Final = (
    "SET LOCAL client_min_messages = warning",  # IF NOT EXISTS says so each time
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS agentkit_new_documents (
        id uuid, source_uri text, sha256 text, title text, mime text, chunker text, metadata jsonb
    ) ON COMMIT DELETE ROWS
    """,
    """
    CREATE TEMPORARY TABLE IF NOT EXISTS agentkit_new_chunks (
        id uuid, document_id uuid, ordinal integer, start_char integer, end_char integer, start_line integer,
        end_line integer, page integer, heading text[], sha256 text, content text, embedding halfvec
    ) ON COMMIT DELETE ROWS
    """,
)

_COPY_DOCUMENTS: Final = "COPY agentkit_new_documents FROM STDIN"
_COPY_CHUNKS: Final = "COPY agentkit_new_chunks FROM STDIN"

# DO NOTHING waits for another writer at every unique index; DO UPDATE would at one of the
# two only, and fail at the other.
_ADD_DOCUMENTS: Final = """
INSERT INTO agentkit_documents (
    id, tenant, scope, source_uri, sha256, title, mime, chunker, model_id, metadata
)
SELECT id, %(tenant)s, %(scope)s, source_uri, sha256, title, mime, chunker, %(model)s, metadata
FROM agentkit_new_documents ORDER BY source_uri
ON CONFLICT DO NOTHING
"""

_LOCK_DOCUMENTS: Final = """
SELECT FROM agentkit_documents AS stored JOIN agentkit_new_documents USING (id)
ORDER BY stored.source_uri FOR UPDATE OF stored
"""

_UPDATE_DOCUMENTS: Final = """
UPDATE agentkit_documents AS stored SET
    sha256 = fresh.sha256, title = fresh.title, mime = fresh.mime, chunker = fresh.chunker,
    model_id = %(model)s, metadata = fresh.metadata, updated_at = now()
FROM agentkit_new_documents AS fresh
WHERE stored.id = fresh.id
"""

_DELETE_GONE: Final = """
DELETE FROM agentkit_chunks AS stored USING agentkit_new_documents AS document
WHERE stored.document_id = document.id
    AND NOT EXISTS (SELECT FROM agentkit_new_chunks AS kept WHERE kept.id = stored.id)
"""

_UPSERT_CHUNKS: Final = """
INSERT INTO agentkit_chunks AS stored (
    id, document_id, tenant, scope, model_id, ordinal, start_char, end_char, start_line, end_line, page,
    heading, sha256, content, tsv, embedding
)
SELECT
    id, document_id, %(tenant)s, %(scope)s, %(model)s, ordinal, start_char, end_char, start_line, end_line,
    page, heading, sha256, content,
    to_tsvector(%(language)s::regconfig, array_to_string(heading, ' ') || ' ' || content), embedding
FROM agentkit_new_chunks
ON CONFLICT (id) DO UPDATE SET
    model_id = excluded.model_id, ordinal = excluded.ordinal, start_char = excluded.start_char,
    end_char = excluded.end_char, start_line = excluded.start_line, end_line = excluded.end_line,
    page = excluded.page, tsv = excluded.tsv, embedding = excluded.embedding
WHERE
    (stored.model_id, stored.ordinal, stored.start_char, stored.start_line, stored.page, stored.tsv)
    IS DISTINCT FROM (
        excluded.model_id, excluded.ordinal, excluded.start_char, excluded.start_line, excluded.page,
        excluded.tsv
    )
"""
