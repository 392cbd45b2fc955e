"""Looking at stored documents, and deleting them."""

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from agentkit.rag.embeddings.base import EmbeddingSpec
from agentkit.rag.records import WHOLE_TEXT, DocumentState, StoredDocument
from agentkit.rag.schema import Connection

_COLUMNS: Final = """
SELECT
    document.id, tenant, scope, source_uri, title, mime, sha256, chunker, model.name AS model, metadata,
    document.created_at, updated_at,
    (SELECT count(*) FROM agentkit_chunks WHERE document_id = document.id) AS chunks
FROM agentkit_documents AS document JOIN agentkit_embedding_models AS model ON model.id = model_id
"""

_LIST: Final = (
    _COLUMNS
    + """
WHERE tenant = %(tenant)s AND (%(scopes)s::text[] IS NULL OR scope = ANY(%(scopes)s))
ORDER BY scope, source_uri LIMIT %(limit)s OFFSET %(offset)s
"""
)

_GET: Final = _COLUMNS + " WHERE tenant = %s AND document.id = %s"

_STATES: Final = """
SELECT
    source_uri, sha256, mime, chunker, model.name AS model, dimension, document_prefix, query_prefix,
    (SELECT count(*) FROM agentkit_chunks WHERE document_id = document.id) AS chunks
FROM agentkit_documents AS document JOIN agentkit_embedding_models AS model ON model.id = model_id
WHERE tenant = %s AND scope = %s
"""

_SCOPES: Final = """
SELECT scope, count(*) AS documents FROM agentkit_documents WHERE tenant = %s GROUP BY scope ORDER BY scope
"""

_DELETE: Final = "DELETE FROM agentkit_documents WHERE tenant = %s AND id = ANY(%s)"

# One text that is its own chunk goes by the id it was added with, a chunk by its own.
_TEXTS: Final = """
SELECT CASE WHEN chunker = %(whole)s THEN source_uri ELSE chunk.id::text END AS id, content, metadata
FROM agentkit_chunks AS chunk JOIN agentkit_documents AS document ON document.id = document_id
WHERE document.tenant = %(tenant)s AND (
    document.scope = %(scope)s AND chunker = %(whole)s AND source_uri = ANY(%(ids)s)
    OR chunk.id = ANY(%(chunk_ids)s)
)
"""

_DELETE_TEXTS: Final = """
DELETE FROM agentkit_documents
WHERE tenant = %(tenant)s AND scope = %(scope)s AND chunker = %(whole)s
    AND (%(ids)s::text[] IS NULL OR source_uri = ANY(%(ids)s))
"""


async def list_documents(
    connection: Connection, tenant: str, scopes: Sequence[str] | None, limit: int | None, offset: int
) -> list[StoredDocument]:
    """Return documents in the order of scope and URI; `scopes` None means all, empty means none."""
    values = {
        "tenant": tenant,
        "scopes": None if scopes is None else list(scopes),
        "limit": limit,
        "offset": offset,
    }
    cursor = await connection.execute(_LIST, values)
    return [StoredDocument(**row) for row in await cursor.fetchall()]


async def get_document(connection: Connection, tenant: str, document: UUID) -> StoredDocument | None:
    """Return one document of the tenant, None if it has none of this id."""
    row = await (await connection.execute(_GET, (tenant, document))).fetchone()
    return StoredDocument(**row) if row else None


async def document_states(connection: Connection, tenant: str, scope: str) -> dict[str, DocumentState]:
    """Return what every document of a scope was made from, by URI, in one query."""
    cursor = await connection.execute(_STATES, (tenant, scope))
    return {
        row["source_uri"]: DocumentState(
            sha256=row["sha256"],
            mime=row["mime"],
            chunker=row["chunker"],
            spec=EmbeddingSpec(row["model"], row["dimension"], row["document_prefix"], row["query_prefix"]),
            chunks=row["chunks"],
        )
        for row in await cursor.fetchall()
    }


async def scopes(connection: Connection, tenant: str) -> dict[str, int]:
    """Return the tenant's scopes and how many documents each has."""
    cursor = await connection.execute(_SCOPES, (tenant,))
    return {row["scope"]: int(row["documents"]) for row in await cursor.fetchall()}


async def delete_documents(connection: Connection, tenant: str, documents: Sequence[UUID]) -> int:
    """Delete documents of the tenant with their chunks; return how many there were."""
    return (await connection.execute(_DELETE, (tenant, list(documents)))).rowcount


async def get_texts(
    connection: Connection, tenant: str, scope: str, ids: Sequence[str]
) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (id, text, metadata) of added texts, or of chunks by their id, in the order asked for."""
    chunk_ids = [parsed for name in ids if (parsed := _uuid(name))]
    values = _texts_values(tenant, scope, ids) | {"chunk_ids": chunk_ids}
    rows = await (await connection.execute(_TEXTS, values)).fetchall()
    found = {row["id"]: (row["id"], row["content"], row["metadata"]) for row in rows}
    return [found[name] for name in ids if name in found]


async def delete_texts(connection: Connection, tenant: str, scope: str, ids: Sequence[str] | None) -> int:
    """Delete texts that were added as they are, all of the scope's when `ids` is None."""
    return (await connection.execute(_DELETE_TEXTS, _texts_values(tenant, scope, ids))).rowcount


def _texts_values(tenant: str, scope: str, ids: Sequence[str] | None) -> dict[str, Any]:
    return {
        "tenant": tenant,
        "scope": scope,
        "whole": WHOLE_TEXT,
        "ids": None if ids is None else list(ids),
    }


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
