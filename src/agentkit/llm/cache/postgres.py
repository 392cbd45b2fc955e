"""Answers in PostgreSQL, beside everything else."""

from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from agentkit.llm.cache.stored import StoredCache

_GET: Final = "SELECT answer FROM agentkit_llm_cache WHERE key = %s AND expires_at > now()"
_PUT: Final = """
INSERT INTO agentkit_llm_cache (key, answer, expires_at)
VALUES (%s, %s, now() + make_interval(secs => %s))
ON CONFLICT (key) DO UPDATE SET answer = excluded.answer, expires_at = excluded.expires_at
"""
# A few rows at every write: more than one keeps the table from growing, and no write waits for
# another's cleaning.
_SWEEP: Final = """
DELETE FROM agentkit_llm_cache WHERE key IN (
    SELECT key FROM agentkit_llm_cache WHERE expires_at <= now()
    ORDER BY expires_at LIMIT 100 FOR UPDATE SKIP LOCKED
)
"""
_CLEAR: Final = "DELETE FROM agentkit_llm_cache"
_LONGEST: Final = 10 * 365 * 86400.0


class PostgresCache(StoredCache):
    """A LangChain cache in the table `agentkit_llm_cache`; `agentkit.llm.MIGRATIONS` makes it.

    Expired answers are not returned, and each write removes up to 100 of them.

    Args:
        pool: Connections in autocommit, opened on the running event loop.
        ttl: Seconds an entry is kept that does not say so itself.
    """

    def __init__(
        self, pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]], *, ttl: float = 3600.0
    ) -> None:
        super().__init__(ttl=ttl)
        self._pool = pool

    async def _get(self, key: str) -> str | None:
        async with self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_GET, [key])
            row = await cursor.fetchone()
        return None if row is None else row[0]

    async def _put(self, key: str, entry: str, seconds: float) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_PUT, [key, entry, min(seconds, _LONGEST)])
            await connection.execute(_SWEEP)

    async def _clear(self) -> None:
        async with self._pool.connection() as connection:
            await connection.execute(_CLEAR)
