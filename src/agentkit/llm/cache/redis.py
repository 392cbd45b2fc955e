"""Answers in Redis, which forgets them by itself."""

import math
from typing import Any, Final

from agentkit.extras import require
from agentkit.llm.cache.stored import StoredCache

PREFIX: Final = "agentkit:llm:"
_BATCH: Final = 500
_CONNECTIONS: Final = 16
_PATIENCE: Final = 5.0
_LONGEST: Final = 10 * 365 * 86400.0


class RedisCache(StoredCache):
    """A LangChain cache in Redis, under keys that begin with `agentkit:llm:`.

    Args:
        url: `redis://` or `rediss://`, with the password if there is one.
        ttl: Seconds an entry is kept that does not say so itself.

    Raises:
        MissingExtraError: The extra `redis` is not installed.
    """

    def __init__(self, url: str, *, ttl: float = 3600.0) -> None:
        super().__init__(ttl=ttl)
        purpose = "The response cache in Redis"
        client = require("redis.asyncio", extra="redis", purpose=purpose)
        retry = require("redis.asyncio.retry", extra="redis", purpose=purpose)
        backoff = require("redis.backoff", extra="redis", purpose=purpose)
        pool = client.BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=_PATIENCE,
            decode_responses=True,
            socket_timeout=_PATIENCE,
            socket_connect_timeout=_PATIENCE,
            # Once and at once: a connection that died since its last use is no failure.
            retry=retry.Retry(backoff.NoBackoff(), 1),
        )
        self._redis: Any = client.Redis.from_pool(pool)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _get(self, key: str) -> str | None:
        return await self._redis.get(PREFIX + key)

    async def _put(self, key: str, entry: str, seconds: float) -> None:
        milliseconds = math.ceil(min(seconds, _LONGEST) * 1000)
        await self._redis.set(PREFIX + key, entry, px=milliseconds)

    async def _clear(self) -> None:
        batch: list[str] = []
        async for key in self._redis.scan_iter(match=f"{PREFIX}*", count=_BATCH):
            batch.append(key)
            if len(batch) == _BATCH:
                await self._redis.unlink(*batch)
                batch.clear()
        if batch:
            await self._redis.unlink(*batch)
