"""A chain of models: the next one is asked when one cannot answer."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import (
    AgentKitError,
    CircuitOpenError,
    ProviderError,
    ProviderTimeoutError,
    ScriptError,
    StreamInterruptedError,
)
from agentkit.events import EventBus, FellBack
from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.policies import DEFAULT_ON, Reason
from agentkit.llm.resilience.commit import committing
from agentkit.llm.resilience.wrapper import ProviderWrapper

_BY_STATUS: dict[int, Reason] = {
    401: "auth",
    403: "auth",
    404: "not_found",
    408: "timeout",
    429: "rate_limit",
}
_SERVER_ERROR = 500


def reason(error: ProviderError) -> Reason:
    """Classify an error by its fields alone."""
    if isinstance(error, ProviderTimeoutError):
        return "timeout"
    if isinstance(error, CircuitOpenError) or error.status is None:
        return "unavailable" if error.is_retryable or isinstance(error, CircuitOpenError) else "invalid"
    known = _BY_STATUS.get(error.status)
    return known or ("unavailable" if error.status >= _SERVER_ERROR else "invalid")


class FallbackProvider(ProviderWrapper):
    """Asks its links in order until one answers.

    Switches only before the first content. The last chunk says in
    `response_metadata["fallback"]` which model should have answered and why it did not.
    When all fail, the first link's error is raised, with notes on the others. When every
    breaker is open, the first link is probed rather than nobody asked.

    Args:
        links: The model and its fallbacks, in order; at least one.
        events: Receives `FellBack`.
        on: Reasons for which the next link is asked.
    """

    def __init__(
        self, links: Sequence[LLMProvider], *, events: EventBus, on: Collection[Reason] = DEFAULT_ON
    ) -> None:
        super().__init__(links[0])
        self.links = tuple(links)
        self._events = events
        self._on = frozenset(on)

    async def start(self) -> None:
        """Get the first link ready; should that fail, its attempt will say so and fall back."""
        with suppress(AgentKitError):
            await self.inner.start()

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the links in order; see `LLMProvider.chat`."""
        failures: list[ProviderError] = []
        for number, link in enumerate(self.links):
            try:
                async with closing(
                    committing(link.chat(messages, tools=tools, stream=stream, **options))
                ) as chunks:
                    async for chunk in chunks:
                        yield self._explained(chunk, failures)
                    return
            except StreamInterruptedError:
                raise  # the user has read the first words: nobody else may begin again
            except ProviderError as error:
                if isinstance(error, ScriptError) or reason(error) not in self._on:
                    raise
                failures.append(error)
            if number + 1 < len(self.links):
                following = self.links[number + 1].model
                self._events.emit(FellBack(link.model, following, reason(failures[-1])))
        if all(isinstance(error, CircuitOpenError) for error in failures):
            probe = self.inner.chat(messages, tools=tools, stream=stream, force_probe=True, **options)
            async with closing(committing(probe)) as chunks:
                async for chunk in chunks:
                    yield chunk
            return
        first, *others = failures
        for link, error in zip(self.links[1:], others, strict=True):
            first.add_note(f"The fallback {link.model} failed too: {error.message}")
        raise first

    async def aclose(self) -> None:
        """Close every link."""
        for link in self.links:
            await link.aclose()

    def _explained(self, chunk: AIMessageChunk, failures: Sequence[ProviderError]) -> AIMessageChunk:
        if failures and chunk.response_metadata:
            first = failures[0]
            chunk.response_metadata["fallback"] = {
                "from": self.inner.model,
                "reason": reason(first),
                "error": first.message,
            }
        return chunk
