"""Where conversations are kept, and what outlasts them."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.store.base import BaseStore

    from agentkit.database.pool import Pool


async def open_checkpointer(
    kind: str, pool: "Callable[[], Awaitable[Pool]]", url: Callable[[], Awaitable[str]]
) -> "BaseCheckpointSaver[Any] | None":
    """Return what keeps conversations as `runtime.checkpointer` says; None for `none`.

    Args:
        kind: `postgres`, `memory` or `none`.
        pool: Opens connections to the database.
        url: Returns its URL.
    """
    if kind == "postgres":
        from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

        from agentkit.database.migrate import migration_lock

        saver = AsyncPostgresSaver(await pool())
        # Its own migrations have no lock, and two first starts at once would collide.
        async with migration_lock(await url()):
            await saver.setup()
        return saver
    if kind == "memory":
        from langgraph.checkpoint.memory import InMemorySaver

        return InMemorySaver()
    return None


async def open_memory(
    kind: str, pool: "Callable[[], Awaitable[Pool]]", url: Callable[[], Awaitable[str]]
) -> "BaseStore":
    """Return what keeps facts beyond a conversation, as `runtime.store` says.

    Args:
        kind: `postgres` or `memory`.
        pool: Opens connections to the database.
        url: Returns its URL.
    """
    if kind == "memory":
        from langgraph.store.memory import InMemoryStore

        return InMemoryStore()
    from langgraph.store.postgres.aio import AsyncPostgresStore

    from agentkit.database.migrate import migration_lock

    store = AsyncPostgresStore(await pool())
    async with migration_lock(await url()):  # as for the checkpointer
        await store.setup()
    return store
