"""What a model's configuration says about time, retries, breaker and fallbacks."""

from dataclasses import dataclass
from typing import Literal, get_args

from agentkit.errors import ConfigurationError

Reason = Literal["rate_limit", "timeout", "unavailable", "auth", "not_found", "invalid"]
"""Why a model could not answer, coarsely enough to decide whether another may try."""

REASONS: tuple[Reason, ...] = get_args(Reason)

DEFAULT_ON: tuple[Reason, ...] = ("rate_limit", "timeout", "unavailable")
"""Reasons for which a fallback is asked; the others would fail there as well, or hide a mistake."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one attempt in seconds; None is no limit.

    Attributes:
        connect: Until the connection stands. Ours, not the operating system's two minutes.
        queue: Until it is this call's turn, where `concurrency` is limited; None: as `total`.
        first_token: Until the first content: text, a tool call or reasoning. A chunk that
            only names the role does not count.
        idle: Between two chunks after that.
        total: Until the answer is complete.
    """

    first_token: float | None = None
    idle: float | None = None
    total: float | None = 300.0
    connect: float | None = 5.0
    queue: float | None = None

    def __post_init__(self) -> None:
        for kind in ("first_token", "idle", "total", "connect", "queue"):
            seconds = getattr(self, kind)
            if seconds is not None and seconds <= 0:
                raise ConfigurationError(f"timeout.{kind} must be positive, not {seconds}.")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon a failed attempt is repeated.

    The n-th wait is drawn uniformly from 0 to `min(cap, base * 2**(n-1))` seconds ("full
    jitter", Brooker, AWS Architecture Blog 2015), so that clients do not come back together.

    Attributes:
        attempts: Attempts in all; 1 never retries.
        base: Seconds the first wait is below.
        cap: Seconds no wait exceeds. A Retry-After beyond it is not waited for: the error
            is raised at once, and a fallback may answer.
    """

    attempts: int = 3
    base: float = 0.5
    cap: float = 8.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ConfigurationError(f"retry.attempts must be at least 1, not {self.attempts}.")
        if self.base < 0 or self.cap < 0:
            raise ConfigurationError("retry.base and retry.cap must not be negative.")


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """When a provider is left alone, and for how long.

    Attributes:
        failures: Consecutive failed attempts that open the breaker.
        open_for: Seconds until one probe is let through; jittered by a tenth.
    """

    failures: int = 5
    open_for: float = 30.0

    def __post_init__(self) -> None:
        if self.failures < 1 or self.open_for <= 0:
            raise ConfigurationError("breaker.failures must be at least 1 and breaker.open_for positive.")


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in US dollars per million tokens.

    Attributes:
        input: Tokens read.
        output: Tokens written.
        cache_read: Tokens read from the provider's cache; None: as much as the others.
    """

    input: float
    output: float
    cache_read: float | None = None

    def __post_init__(self) -> None:
        if min(self.input, self.output, self.cache_read or 0.0) < 0:
            raise ConfigurationError("A price must not be negative.")
