"""Where models with a `cache` keep their answers."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from agentkit.errors import ConfigurationError
from agentkit.settings import Settings

if TYPE_CHECKING:
    from langchain_core.caches import BaseCache

    from agentkit.database.pool import Pool


async def open_answer_cache(
    settings: Settings,
    pool: "Callable[[], Awaitable[Pool]]",
    closing: Callable[[Callable[[], Awaitable[Any]]], Any],
) -> "BaseCache":
    """Return the cache that `settings.cache.store` names.

    Args:
        settings: Say which, and where Redis is.
        pool: Opens connections to the database.
        closing: Told what is to be awaited at the end.

    Raises:
        ConfigurationError: It is Redis, and no address is set.
        MissingExtraError: It is Redis, and the extra `redis` is not installed.
    """
    url = settings.redis_url
    store = settings.cache.store or ("postgres" if url is None else "redis")
    if store == "memory":
        from agentkit.llm.cache.memory import MemoryCache

        return MemoryCache()
    if store == "postgres":
        from agentkit.llm.cache.postgres import PostgresCache

        return PostgresCache(await pool())
    if url is None:
        raise ConfigurationError(
            "The response cache is to be in Redis, and no address is set.",
            hint="Set AGENTKIT_REDIS_URL.",
        )
    from agentkit.llm.cache.redis import RedisCache

    cache = RedisCache(url.get_secret_value())
    closing(cache.aclose)
    return cache
