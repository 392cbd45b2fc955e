"""A cache that can only help: asked for a short time, never trusted, left alone while it fails."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar, cast

from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration

from agentkit.llm.cache.key import FORMAT
from agentkit.llm.resilience.breaker import CircuitBreaker

T = TypeVar("T")

logger = logging.getLogger(__name__)

CacheSource = BaseCache | Callable[[], Awaitable[BaseCache]]
"""A cache, or what opens one at the first call that needs it; not asked again once it succeeded."""

LLM_STRING: Final = f"agentkit:{FORMAT}"
"""Second half of LangChain's cache keys; the first half is the whole request's SHA-256."""

_OPENING: Final = 2.0
_READING: Final = 0.25
_WRITING: Final = 1.0
_PIECES: Final = 10
_TURNS: Final = 4
_FAILURES: Final = 3
_LEFT_ALONE: Final = 5.0


class CacheUnusableError(Exception):
    """The cache did not answer, not in time, or not with an entry of ours."""


class AnswerCache:
    """Answers by request, in any LangChain cache.

    The cache gets 0.25 s for a look and 1 s for a write, up to four times as much while it
    answers others. After three failures in a row it is left alone for 5 s. Failures are logged
    once, until it works again. Any thread and event loop may use it, if the cache allows that.

    Args:
        source: The cache, or what opens it; several first calls may do so at once. Opening
            may take 2 s of a call, then it is cancelled and the call goes on without.
        patience: Seconds for a look.
        left_alone: Seconds without a look after three failures.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        source: CacheSource,
        *,
        patience: float = _READING,
        left_alone: float = _LEFT_ALONE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._cache = source if isinstance(source, BaseCache) else None
        self._patience = patience
        self._clock = clock
        self._breaker = CircuitBreaker(failures=_FAILURES, open_for=left_alone)
        self._answered = 0
        self._warned = False
        self._abandoned: set[asyncio.Future[Any]] = set()

    async def open(self) -> None:
        """Open the cache unless it is. Does not raise: whoever looks will hear of it."""
        with suppress(CacheUnusableError):
            await self._ready()

    async def find(self, key: str, seconds: float) -> AIMessage | None:
        """Return the answer kept for `key` if it is younger than `seconds`; it is the caller's own copy.

        Raises:
            CacheUnusableError: The cache failed.
        """
        cache = await self._ready()
        found = await self._guarded(lambda: cache.alookup(key, LLM_STRING), self._patience)
        if not found:
            return None
        try:
            message, age = _checked(found[0], key, self._clock())
        except ValueError as error:
            self._warn(error)
            raise CacheUnusableError(str(error)) from error
        return message.model_copy(deep=True) if age < seconds else None

    async def keep(self, key: str, message: AIMessage, seconds: float) -> None:
        """Keep an answer for `seconds`.

        Raises:
            CacheUnusableError: The cache failed.
        """
        info = {"key": key, "stored_at": self._clock(), "ttl": seconds}
        entry = ChatGeneration(message=message.model_copy(deep=True), generation_info=info)
        cache = await self._ready()
        await self._guarded(lambda: cache.aupdate(key, LLM_STRING, [entry]), _WRITING)

    async def _ready(self) -> BaseCache:
        if self._cache is None:
            assert not isinstance(self._source, BaseCache)  # noqa: S101 - it would be the cache
            self._cache = await self._guarded(self._source, _OPENING)
        return self._cache

    async def _guarded(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Let the breaker decide, bound `work` in time, and remember how it ended."""
        ticket = self._breaker.admit()
        if ticket is None:
            raise CacheUnusableError("the cache failed too often and is left alone for a while")
        try:
            result = await self._bounded(work(), seconds)
        except (TypeError, ValueError) as error:  # one entry cannot be read or written
            self._breaker.released(ticket)
            self._warn(error)
            raise CacheUnusableError(str(error)) from error
        except Exception as error:
            self._breaker.failed(ticket)
            self._warn(error)
            raise CacheUnusableError(str(error)) from error
        except BaseException:
            self._breaker.released(ticket)
            raise
        self._breaker.succeeded(ticket)
        self._answered += 1
        if self._warned:
            self._warned = False
            logger.warning("The response cache works again.")
        return result

    async def _bounded(self, work: Awaitable[T], seconds: float) -> T:
        """Await `work` until nothing has come from the cache for `seconds`, or four times as long in all.

        It may take its time to be cancelled: we do not wait for that. The time is counted in
        pieces, which last longer while our own loop is busy: an answer that waits to be read
        is not late. And while others are answered, our turn comes.
        """
        task = asyncio.ensure_future(work)
        silent, answered = 0, self._answered
        try:
            for _ in range(_PIECES * _TURNS):
                if (await asyncio.wait({task}, timeout=seconds / _PIECES))[0]:
                    break
                silent = silent + 1 if answered == self._answered else 0
                answered = self._answered
                if silent >= _PIECES:
                    break
        finally:
            if not task.done():
                task.cancel()
                self._abandoned.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise TimeoutError(f"no answer within {seconds} s")
        if task.cancelled():  # by its own loop, which ended; nobody has cancelled us
            raise ConnectionError("the cache was closed")
        return task.result()

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # seen, else asyncio complains

    def _warn(self, error: Exception) -> None:
        log = logger.debug if self._warned else logger.warning
        self._warned = True
        log("The response cache is of no use, models answer without it: %s: %s", type(error).__name__, error)


def _checked(entry: object, key: str, now: float) -> tuple[AIMessage, float]:
    """The message of an entry and its age in seconds.

    Raises:
        ValueError: It is not an answer to this request as we would have kept it.
    """
    info = cast("dict[str, Any]", getattr(entry, "generation_info", None) or {})
    message, stored = getattr(entry, "message", None), info.get("stored_at")
    if not isinstance(message, AIMessage) or info.get("key") != key:
        raise ValueError("an entry is not one of ours; a cache must keep messages and generation_info")
    if not isinstance(stored, int | float) or not math.isfinite(stored):
        raise ValueError("an entry does not say when it was stored")
    if not message.content and not message.tool_calls:
        raise ValueError("an entry holds no answer")
    return message, now - stored
