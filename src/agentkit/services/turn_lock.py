"""One turn at a time on a thread, in this process and, with PostgreSQL, among all of them.

LangGraph lets two runs of one thread go on side by side, from the same checkpoint: two people
answering the same pause would run its tool twice, and two answering two pauses would each leave
the other's agent waiting for ever.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, cast
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from agentkit import portal
from agentkit.database.advisory import AdvisoryLocks
from agentkit.errors import DatabaseError
from agentkit.graphs.bridge import Graph

_POLL = 0.05  # seconds
_guard = threading.Lock()
_running: set[tuple[int, str]] = set()
_locks: "WeakKeyDictionary[Any, AdvisoryLocks]" = WeakKeyDictionary()


@asynccontextmanager
async def alone(graph: Graph, thread_id: str) -> AsyncGenerator[None]:
    """Wait until no other turn runs on the thread, and keep others waiting inside the block.

    Without a checkpointer there is nothing to share, and nothing is waited for. With one that is
    neither in PostgreSQL nor of this process, only turns of this process are kept apart.

    Raises:
        DatabaseError: The database the conversations are in does not answer.
    """
    if not graph.checkpointer:
        yield
        return
    checkpointer = cast("Any", graph.checkpointer)
    key = (id(checkpointer), thread_id)
    while not _enter(key):  # noqa: ASYNC110 - the one inside may be on another loop
        await asyncio.sleep(_POLL)
    try:
        locks = _advisory(checkpointer)
        if locks is None:
            yield
            return
        name = f"agentkit thread {thread_id}"
        try:
            while not await portal.arun(locks.try_acquire, name, on=graph.home):  # noqa: ASYNC110 - in another process
                await asyncio.sleep(_POLL)
        except psycopg.Error as error:
            raise DatabaseError(f"The thread {thread_id!r} could not be locked: {error}") from error
        try:
            yield
        finally:
            await portal.arun(locks.release, name, on=graph.home)
    finally:
        _running.discard(key)


def _enter(key: tuple[int, str]) -> bool:
    with _guard:
        if key in _running:
            return False
        _running.add(key)
        return True


def _advisory(checkpointer: Any) -> AdvisoryLocks | None:
    """The locks in the database of a checkpointer; None where it has none we know."""
    with _guard:
        if checkpointer in _locks:
            return _locks[checkpointer]
    connection = getattr(checkpointer, "conn", None)
    if isinstance(connection, AsyncConnectionPool):
        conninfo = connection.conninfo
    elif isinstance(connection, psycopg.AsyncConnection):
        conninfo = make_conninfo(connection.info.dsn, password=connection.info.password)
    else:
        return None
    if not isinstance(conninfo, str):  # made anew for each connection
        return None
    with _guard:
        return _locks.setdefault(checkpointer, AdvisoryLocks(conninfo))
