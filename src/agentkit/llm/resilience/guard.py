"""A circuit breaker around a provider."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import CircuitOpenError, ProviderError
from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.resilience.breaker import CircuitBreaker, is_provider_failure
from agentkit.llm.resilience.wrapper import ProviderWrapper


class BreakerProvider(ProviderWrapper):
    """Leaves a provider alone while its breaker is open.

    Every attempt counts for itself; a cancelled one, or one that was refused for the
    request's own fault, says nothing about the provider.

    Args:
        inner: Makes one attempt a call.
        breaker: Shared by everything that talks to the same provider and model.
    """

    def __init__(self, inner: LLMProvider, breaker: CircuitBreaker) -> None:
        super().__init__(inner)
        self.breaker = breaker

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        force_probe: bool = False,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the inner provider unless the breaker is open; see `LLMProvider.chat`.

        Args:
            messages: The conversation so far.
            tools: What the model may call.
            stream: False yields exactly one chunk.
            force_probe: Try although the open period is not over; still one at a time.
            **options: As for every provider.

        Raises:
            CircuitOpenError: It was not asked.
        """
        ticket = self.breaker.admit(force=force_probe)
        if ticket is None:
            wait = self.breaker.retry_in
            until = f"for another {wait:.0f} s" if wait else "until the probe under way is back"
            raise CircuitOpenError(
                f"{self.name} failed too often and is left alone {until}.",
                provider=self.name,
                retry_in=wait,
                hint="Name a fallback for the model, or wait.",
            )
        try:
            source = self.inner.chat(messages, tools=tools, stream=stream, **options)
            async with closing(source) as chunks:
                async for chunk in chunks:
                    yield chunk
        except ProviderError as error:
            if is_provider_failure(error):
                self.breaker.failed(ticket)
            else:
                self.breaker.released(ticket)
            raise
        except (asyncio.CancelledError, GeneratorExit, Exception):
            self.breaker.released(ticket)
            raise
        self.breaker.succeeded(ticket)
