"""Blueprints kept by digest in PostgreSQL, for threads that are still on them."""

from collections.abc import Mapping
from typing import Any, Final

import psycopg
from psycopg.rows import tuple_row
from psycopg_pool import AsyncConnectionPool

from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.blueprints.snapshot import freeze, thaw

_SAVE: Final = """
INSERT INTO agentkit_blueprints (digest, name, snapshot) VALUES (%s, %s, %s)
ON CONFLICT (digest) DO UPDATE SET used_at = now()
"""
_LOAD: Final = "SELECT snapshot FROM agentkit_blueprints WHERE digest = %s"


class BlueprintArchive:
    """The table `agentkit_blueprints`; `agentkit.blueprints.MIGRATIONS` makes it.

    Args:
        pool: Connections in autocommit, opened on the running event loop.
        env: Environment in which secrets are looked up again.
    """

    def __init__(
        self, pool: AsyncConnectionPool[psycopg.AsyncConnection[Any]], env: Mapping[str, str]
    ) -> None:
        self._pool = pool
        self._env = env

    async def save(self, loaded: LoadedBlueprint) -> None:
        """Keep a blueprint; one that is there already is only noted as used."""
        async with self._pool.connection() as connection:
            await connection.execute(_SAVE, [loaded.digest, loaded.spec.name, freeze(loaded)])

    async def load(self, digest: str) -> LoadedBlueprint | None:
        """Return a blueprint that was kept, or None.

        Raises:
            BlueprintError: It cannot be read any more; see `thaw`.
        """
        async with self._pool.connection() as connection, connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(_LOAD, [digest])
            row = await cursor.fetchone()
        return None if row is None else thaw(row[0], env=self._env)
