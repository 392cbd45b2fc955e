"""Locks by name that PostgreSQL drops when their holder ends, however it ends."""

import asyncio
from typing import Any

import psycopg

_TRY = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class AdvisoryLocks:
    """Session-level advisory locks on one connection of their own, which is open while any is held.

    It is not one of a pool: whoever holds a lock needs the pool's connections for its work.
    If the server goes down, so do the locks.

    Args:
        conninfo: Of the database; processes exclude each other when it is the same one.
    """

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._held: set[str] = set()
        self._busy = asyncio.Lock()

    async def try_acquire(self, name: str) -> bool:
        """Take the lock `name` unless somebody has it, in this process or another; returns whether.

        Raises:
            psycopg.Error: The database does not answer.
        """
        attempt = asyncio.ensure_future(self._try(name))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            if await attempt:
                await self._release(name)
            raise

    async def release(self, name: str) -> None:
        """Let go of a lock that is held."""
        await asyncio.shield(self._release(name))

    async def _try(self, name: str) -> bool:
        async with self._busy:
            if name in self._held:  # one session may lock twice
                return False
            try:
                if self._connection is None or self._connection.closed:
                    self._connection = await psycopg.AsyncConnection.connect(
                        self._conninfo, autocommit=True, prepare_threshold=None
                    )
                row = await (await self._connection.execute(_TRY, (name,))).fetchone()
                if row is not None and row[0]:
                    self._held.add(name)
                    return True
                return False
            finally:
                await self._close_if_idle()

    async def _release(self, name: str) -> None:
        async with self._busy:
            self._held.discard(name)
            try:
                if self._held and self._connection is not None and not self._connection.closed:
                    await self._connection.execute(_UNLOCK, (name,))
            finally:
                await self._close_if_idle()

    async def _close_if_idle(self) -> None:
        if not self._held and self._connection is not None:
            connection, self._connection = self._connection, None
            await connection.close()
