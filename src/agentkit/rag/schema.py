"""Embedding models in the database: registered once, indexed when there is enough to index."""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.rows import DictRow
from psycopg_pool import AsyncConnectionPool

from agentkit.errors import DatabaseError
from agentkit.rag.embeddings.base import EmbeddingSpec

Connection = psycopg.AsyncConnection[DictRow]
Pool = AsyncConnectionPool[Connection]

EXACT_ROWS: Final = 5000
"""Up to this many rows an exact scan costs a few milliseconds and finds everything."""

_MINIMUM_PGVECTOR: Final = (0, 8)  # iterative index scans
_INDEX_LOCK: Final = 0x61676B_696478  # "agkidx"


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """An embedding model's row; both numbers become literals in SQL, so that its index is used."""

    id: int
    dimension: int

    @property
    def index_name(self) -> str:
        """Name of the model's HNSW index."""
        return f"agentkit_chunks_hnsw_{self.id}"

    @property
    def vector_type(self) -> sql.Composable:
        """The type its vectors have, for example `halfvec(384)`."""
        return sql.SQL("halfvec({})").format(sql.Literal(self.dimension))


async def register_model(connection: Connection, spec: EmbeddingSpec) -> RegisteredModel:
    """Return the row of `spec`, added if it is new.

    Raises:
        DatabaseError: The tables are missing, or pgvector is too old.
    """
    values = (spec.model, spec.dimension, spec.document_prefix, spec.query_prefix)
    try:
        row = await _fetch(connection, _FIND_MODEL, values)
        if row is None:
            await _require_pgvector(connection)
            await connection.execute(_ADD_MODEL, values)
            row = await _fetch(connection, _FIND_MODEL, values)
    except psycopg.errors.UndefinedTable as error:
        raise DatabaseError(
            "The database has no tables for documents.", hint="Create them with: agentkit db migrate"
        ) from error
    if row is None:
        raise DatabaseError(f"The embedding model {spec.model!r} vanished while it was registered.")
    return RegisteredModel(int(row["id"]), spec.dimension)


async def optimize(connection: Connection, model: RegisteredModel) -> bool:
    """Refresh statistics, which also tell rare words from common ones, then `build_index`."""
    await connection.execute("ANALYZE agentkit_chunks")
    return await build_index(connection, model)


async def build_index(connection: Connection, model: RegisteredModel) -> bool:
    """Build the model's HNSW index if it has enough rows and none yet; readers and writers go on.

    Args:
        connection: In autocommit and outside a transaction.
        model: Whose vectors to index.

    Returns:
        Whether an index was built now.
    """
    many = await _fetch(
        connection,
        "SELECT count(*) > %s AS many FROM (SELECT FROM agentkit_chunks WHERE model_id = %s LIMIT %s) AS few",
        (EXACT_ROWS, model.id, EXACT_ROWS + 1),
    )
    if not many or not many["many"]:
        return False
    # not the waiting form: a statement that waits keeps CREATE INDEX CONCURRENTLY waiting for it
    locked = await _fetch(connection, "SELECT pg_try_advisory_lock(%s) AS mine", (_INDEX_LOCK + model.id,))
    if not locked or not locked["mine"]:
        return False
    try:
        return await _build_index_locked(connection, model)
    finally:
        await connection.execute("SELECT pg_advisory_unlock(%s)", (_INDEX_LOCK + model.id,))


async def _build_index_locked(connection: Connection, model: RegisteredModel) -> bool:
    name = sql.Identifier(model.index_name)
    state = await _fetch(
        connection, "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (model.index_name,)
    )
    if state is not None and state["indisvalid"]:
        return False
    if state is not None:  # an earlier build was interrupted
        await connection.execute(sql.SQL("DROP INDEX {}").format(name))
    await connection.execute(_MORE_MEMORY)
    # parallel workers would need that memory in /dev/shm, of which a container has 64 MB
    await connection.execute("SET max_parallel_maintenance_workers = 0")
    try:
        await connection.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON agentkit_chunks "
                "USING hnsw ((embedding::{}) halfvec_cosine_ops) WHERE model_id = {}"
            ).format(name, model.vector_type, sql.Literal(model.id))
        )
    finally:
        await connection.execute("RESET maintenance_work_mem")
        await connection.execute("RESET max_parallel_maintenance_workers")
    return True


async def _require_pgvector(connection: Connection) -> None:
    row = await _fetch(connection, "SELECT extversion FROM pg_extension WHERE extname = 'vector'", ())
    version = str(row["extversion"]) if row else "none"
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers < _MINIMUM_PGVECTOR:
        raise DatabaseError(
            f"pgvector {version} is too old: filtered searches would return too few rows.",
            hint="Install pgvector 0.8 or newer, then run: ALTER EXTENSION vector UPDATE",
        )


async def _fetch(connection: Connection, query: Any, values: tuple[Any, ...]) -> DictRow | None:
    cursor = await connection.execute(query, values)
    return await cursor.fetchone()


_FIND_MODEL: Final = """
SELECT id FROM agentkit_embedding_models
WHERE name = %s AND dimension = %s AND document_prefix = %s AND query_prefix = %s
"""

_ADD_MODEL: Final = """
INSERT INTO agentkit_embedding_models (name, dimension, document_prefix, query_prefix)
VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""

# at the default 64 MB a large graph builds four times slower
_MORE_MEMORY: Final = """
SELECT set_config('maintenance_work_mem', '256MB', false)
WHERE pg_size_bytes(current_setting('maintenance_work_mem')) < pg_size_bytes('256MB')
"""
