"""Failures survived: wrappers that are providers themselves, and so stack.

From the outside in: a chain of fallbacks; each link retried; each attempt let through by
the circuit breaker and the concurrency limit, bounded in time and reported. `resilient_link`
builds one link.
"""

from collections.abc import Callable

from agentkit.events import EventBus
from agentkit.llm.base import LLMProvider
from agentkit.llm.resilience.attempt import AttemptProvider
from agentkit.llm.resilience.breaker import CircuitBreaker
from agentkit.llm.resilience.fallback import FallbackProvider
from agentkit.llm.resilience.gate import Gates
from agentkit.llm.resilience.guard import BreakerProvider
from agentkit.llm.resilience.retry import RetryProvider
from agentkit.llm.resilience.shared import SharedCircuit


def resilient_link(
    provider: LLMProvider,
    breaker: CircuitBreaker,
    events: EventBus,
    *,
    translate: Callable[[LLMProvider], LLMProvider] = lambda provider: provider,
    gates: Gates | None = None,
    shared: SharedCircuit | None = None,
) -> LLMProvider:
    """Wrap a provider as its configuration says: retry(breaker(translate(attempt(provider)))).

    Timeouts see what the model writes, retries what the user reads; between them it is translated.
    """
    config = provider.config
    attempt = translate(AttemptProvider(provider, timeouts=config.timeouts, events=events))
    guard = BreakerProvider(attempt, breaker, events=events, gates=gates, shared=shared)
    return RetryProvider(guard, config.retry, events=events)


__all__ = [
    "AttemptProvider",
    "BreakerProvider",
    "CircuitBreaker",
    "FallbackProvider",
    "RetryProvider",
    "resilient_link",
]
