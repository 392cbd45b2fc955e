"""One attempt: bounded in time at every stage, and reported however it ends."""

import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import ProviderTimeoutError
from agentkit.events import AttemptFinished, EventBus, Status
from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.policies import Timeouts
from agentkit.llm.resilience.timeouts import bounded
from agentkit.llm.resilience.wrapper import ProviderWrapper


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
            # A whole answer has no first token to wait for.
            limits = self._timeouts if stream else replace(self._timeouts, first_token=None)
            async with closing(bounded(source, limits, self)) as chunks:
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
