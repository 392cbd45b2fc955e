"""One attempt: bounded in time at every stage, and reported however it ends.

Each wait for a chunk is bounded, never the `yield` between them: a timeout there would
cancel the consumer. HTTP read timeouts cannot do this: keep-alive comments reset them.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import ProviderTimeoutError
from agentkit.events import AttemptFinished, EventBus, Status
from agentkit.llm.base import LLMProvider, ToolSpec, closing, has_content
from agentkit.llm.policies import Timeouts
from agentkit.llm.resilience.wrapper import ProviderWrapper

TimeoutKind = Literal["first_token", "idle", "total"]

_HINTS: dict[TimeoutKind, str] = {
    "first_token": "Raise timeout.first_token, or name a fallback.",
    "idle": "Raise timeout.idle, or name a fallback.",
    "total": "Raise the model's timeout, or lower max_tokens.",
}


class AttemptProvider(ProviderWrapper):
    """Bounds and reports each attempt of a provider.

    Args:
        inner: Makes the requests.
        timeouts: Limits of each.
        events: Receives `AttemptFinished`.
    """

    def __init__(self, inner: LLMProvider, *, timeouts: Timeouts, events: EventBus) -> None:
        super().__init__(inner)
        self._timeouts = timeouts
        self._events = events

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the inner provider once; see `LLMProvider.chat`.

        Raises:
            ProviderTimeoutError: A limit was reached; the upstream request is closed.
        """
        await self.inner.start()  # fetching weights is not answering slowly
        started = time.perf_counter()
        status: Status = "cancelled"
        error_type = timeout_kind = ""
        try:
            source = self.inner.chat(messages, tools=tools, stream=stream, **options)
            async with closing(self._bounded(source, stream=stream)) as chunks:
                async for chunk in chunks:
                    yield chunk
            status = "ok"
        except Exception as error:
            status, error_type = "error", type(error).__name__
            timeout_kind = error.kind if isinstance(error, ProviderTimeoutError) else ""
            raise
        finally:
            duration = time.perf_counter() - started
            self._events.emit(
                AttemptFinished(self.name, self.model, status, duration, error_type, timeout_kind)
            )

    async def _bounded(
        self, chunks: AsyncIterator[AIMessageChunk], *, stream: bool
    ) -> AsyncIterator[AIMessageChunk]:
        limits = self._timeouts
        now = asyncio.get_running_loop().time
        started = now()
        ends = started + limits.total if limits.total is not None else None
        # A whole answer has no first token to wait for.
        first = limits.first_token if stream else None
        waiting_until = started + first if first is not None else None
        content = False
        async with closing(chunks) as source:
            while True:
                kind, deadline = _nearest(
                    ("idle" if content else "first_token", waiting_until), ("total", ends)
                )
                timer = asyncio.timeout_at(deadline)
                try:
                    async with timer:
                        chunk = await anext(source, None)
                except TimeoutError as error:
                    if not timer.expired():
                        raise  # the provider's own
                    raise self._late(kind) from error
                if chunk is None:
                    return
                content = content or has_content(chunk)
                if content:
                    waiting_until = now() + limits.idle if limits.idle is not None else None
                yield chunk
                if content and limits.idle is not None:
                    waiting_until = now() + limits.idle  # a slow consumer is not a slow provider

    def _late(self, kind: TimeoutKind) -> ProviderTimeoutError:
        seconds: float = getattr(self._timeouts, kind)
        said = {
            "first_token": f"{self.model} said nothing within {seconds:g} s.",
            "idle": f"{self.model} stopped for {seconds:g} s in mid-answer.",
            "total": f"The answer was not complete after {seconds:g} s.",
        }
        return ProviderTimeoutError(said[kind], provider=self.name, kind=kind, hint=_HINTS[kind])


def _nearest(
    first: tuple[TimeoutKind, float | None], second: tuple[TimeoutKind, float | None]
) -> tuple[TimeoutKind, float | None]:
    """The deadline that comes first; None never comes."""
    if first[1] is None or (second[1] is not None and second[1] < first[1]):
        return second
    return first
