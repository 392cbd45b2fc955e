"""Connection pools that fail early, with words that help."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool

from agentkit.errors import DatabaseError

Pool = AsyncConnectionPool[psycopg.AsyncConnection[DictRow]]
"""The pool every part shares: autocommit, rows as dictionaries, nothing prepared behind our back."""


def redact(url: str) -> str:
    """Return a database URL without its password, fit for messages and logs."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return url.replace(f":{parts.password}@", ":***@", 1)


def unreachable(url: str, error: Exception) -> DatabaseError:
    """Say which database did not answer, why, and what to look at."""
    reason = " ".join(str(error).split())
    return DatabaseError(
        f"PostgreSQL at {redact(url)} refuses: {reason}",
        hint="Check AGENTKIT_DATABASE_URL, that the server runs and that the user may connect. "
        "Unset it to use the embedded PostgreSQL (extra `local`).",
    )


async def check(url: str, *, patience: float = 10.0) -> None:
    """Connect once, so that a wrong URL is an error now and not a pool's time-out later.

    Raises:
        DatabaseError: The URL is malformed or the server does not accept it within
            `patience` seconds.
    """
    try:
        conninfo_to_dict(url)
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=int(patience)):
            pass
    except psycopg.Error as error:
        raise unreachable(url, error) from error


async def ensure_database(server_url: str, name: str) -> None:
    """Create a database on a server unless it is there; safe when several processes do it at once."""
    async with await psycopg.AsyncConnection.connect(server_url, autocommit=True) as connection:
        found = await connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if await found.fetchone() is not None:
            return
        # Losing the race shows as either error, depending on how close it was.
        with suppress(psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
            await connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))


@asynccontextmanager
async def open_pool(url: str, *, size: int = 10) -> AsyncGenerator[Pool]:
    """Yield a pool of at most `size` connections, closed at the end of the block.

    Connections are in autocommit, as langgraph-checkpoint-postgres wants them; code that
    needs a transaction opens one. `prepare_threshold=None` because psycopg would keep a
    plan made before `SET hnsw.ef_search`.
    """
    options: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": None,
        "row_factory": dict_row,
        "application_name": "agentkit",
    }
    pool: Pool = AsyncConnectionPool(url, min_size=1, max_size=size, open=False, kwargs=options, timeout=30.0)
    await pool.open()
    try:
        yield pool
    finally:
        await pool.close()
