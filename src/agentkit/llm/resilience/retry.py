"""Retry with backoff: only what is retryable, and only before the user has seen anything."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import ProviderError
from agentkit.events import EventBus, RetryScheduled
from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.policies import RetryPolicy
from agentkit.llm.resilience.commit import committing
from agentkit.llm.resilience.wrapper import ProviderWrapper

T = TypeVar("T")


class RetryProvider(ProviderWrapper):
    """Repeats failed attempts of a provider.

    Args:
        inner: Makes one attempt a call.
        policy: How often and how soon.
        events: Receives `RetryScheduled`.
        sleep: Waits that many seconds.
        draw: A number in [0, 1).
    """

    def __init__(
        self,
        inner: LLMProvider,
        policy: RetryPolicy,
        *,
        events: EventBus,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(inner)
        self._policy = policy
        self._events = events
        self._sleep = sleep
        self._draw = draw

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask until an attempt succeeds or may not be repeated; see `LLMProvider.chat`."""
        attempt = 1
        while True:
            try:
                source = self.inner.chat(messages, tools=tools, stream=stream, **options)
                async with closing(committing(source)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                    return
            except ProviderError as error:
                delay = _delay(self._policy, error, attempt, self._draw)
                if delay is None:
                    raise
                self._events.emit(RetryScheduled(self.name, self.model, attempt, delay, type(error).__name__))
            await self._sleep(delay)
            attempt += 1


async def retry_with_backoff(
    call: Callable[[], Awaitable[T]],
    policy: RetryPolicy = RetryPolicy(),  # noqa: B008 - frozen
    *,
    events: EventBus | None = None,
    model: str = "",
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    draw: Callable[[], float] = random.random,
) -> T:
    """Repeat a call of a provider as the gateway does: what is retryable, with full jitter.

    Args:
        call: Makes one attempt.
        policy: How often and how soon.
        events: Receives `RetryScheduled`, or None.
        model: Model the events name.
        sleep: Waits that many seconds.
        draw: A number in [0, 1).

    Raises:
        ProviderError: The last attempt's, or the first that may not be repeated.

    Example:
        >>> import asyncio
        >>> async def answer() -> str:
        ...     return "Hello."
        >>> asyncio.run(retry_with_backoff(answer))
        'Hello.'
    """
    attempt = 1
    while True:
        try:
            return await call()
        except ProviderError as error:
            delay = _delay(policy, error, attempt, draw)
            if delay is None:
                raise
            if events is not None:
                events.emit(RetryScheduled(error.provider, model, attempt, delay, type(error).__name__))
        await sleep(delay)
        attempt += 1


def _delay(
    policy: RetryPolicy, error: ProviderError, attempt: int, draw: Callable[[], float]
) -> float | None:
    """Seconds to wait before the next attempt, or None when there must not be one."""
    if not error.is_retryable or attempt >= policy.attempts:
        return None
    delay = draw() * min(policy.cap, policy.base * 2 ** (attempt - 1))
    if error.retry_after is None:
        return delay
    return None if error.retry_after > policy.cap else max(delay, error.retry_after)
