"""The circuit breaker: when to leave a failing provider alone, and when to try it again.

::

               failures in a row             open period over, or forced
    closed ─────────────────────────▶ open ─────────────────────────────▶ half_open
       ▲                               ▲                                   │    │
       │                               └────────── probe failed ───────────┘    │
       └─────────────────────────── probe succeeded ────────────────────────────┘

The pattern is Michael Nygard's ("Release It!", 2nd edition, chapter 5). Under concurrency
three more rules matter: half-open lets one probe through, not whoever comes; a call that was
cancelled has no say; and what was sent before the breaker opened is old news when it returns.

Replicas tell each other (`agentkit.llm.resilience.shared`): what a breaker finds out itself it
announces, what it hears from elsewhere (`open_elsewhere`, `close_elsewhere`) it follows in silence.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from agentkit.errors import ConfigurationError, ProviderError, ScriptError

logger = logging.getLogger(__name__)

State = Literal["closed", "half_open", "open"]

T = TypeVar("T")

_REQUEST_TIMEOUT = 408
_TOO_MANY_REQUESTS = 429
_BAD_REQUEST = 400
_SERVER_ERROR = 500


def is_provider_failure(error: ProviderError) -> bool:
    """Whether an error speaks against the provider rather than against the request.

    Statuses 408, 429 and 5xx do, other 4xx do not. Without an error status (no response, or
    one that broke off) it does if it is retryable: a wrong key or a missing model is not.
    """
    if isinstance(error, ScriptError):
        return False
    if error.status is None or error.status < _BAD_REQUEST:
        return error.is_retryable
    return error.status in (_REQUEST_TIMEOUT, _TOO_MANY_REQUESTS) or error.status >= _SERVER_ERROR


@dataclass(slots=True, eq=False)
class Ticket:
    """Leave to make one call; handed back with its outcome. Only the first outcome counts.

    Attributes:
        generation: How often the breaker had opened, or been told to close, when the call was admitted.
        probe: Whether the call finds out if the provider is back.
        settled: Whether the ticket was handed back.
    """

    generation: int
    probe: bool = False
    settled: bool = False


class CircuitBreaker:
    """Counts what became of calls, and refuses new ones while there are too many failures.

    Makes no calls, starts no timers and belongs to no event loop; any thread may use it. Each
    ticket must be handed back exactly once: an unreturned probe keeps everyone else out.

    Args:
        failures: How many in a row open it; a success starts the count again.
        open_for: Seconds it stays open.
        jitter: Share of `open_for` by which each open period is lengthened at most, so that
            replicas which failed together do not come back together.
        clock: Seconds that never run backwards.
        random: Draws from [0, 1), once for each open period.
        on_change: Told each new state, in order. It is called under the breaker's lock, so it
            must not block; it may read the breaker.
        announce: Told, likewise, what the calls made here found out: the seconds the breaker
            stays open, or None when a probe has closed it. Not told what came from elsewhere.

    Raises:
        ConfigurationError: A number is out of range.

    Example:
        >>> breaker = CircuitBreaker(failures=1)
        >>> ticket = breaker.admit()
        >>> breaker.failed(ticket)
        >>> breaker.state, breaker.admit()
        ('open', None)
    """

    def __init__(
        self,
        *,
        failures: int = 5,
        open_for: float = 30.0,
        jitter: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
        random: Callable[[], float] = random.random,
        on_change: Callable[[State], None] | None = None,
        announce: Callable[[float | None], None] | None = None,
    ) -> None:
        if failures < 1:
            raise ConfigurationError(f"A breaker's failures must be at least 1, not {failures}.")
        if not 0 < open_for < math.inf:
            raise ConfigurationError(
                f"A breaker's open_for must be a positive number of seconds, not {open_for}."
            )
        if not 0 <= jitter <= 1:
            raise ConfigurationError(f"A breaker's jitter must be from 0 to 1, not {jitter}.")
        self._limit = failures
        self._open_for = open_for
        self._jitter = jitter
        self._clock = clock
        self._random = random
        self._on_change = on_change
        self._announce = announce
        # Re-entrant: on_change may read the breaker it is called by.
        self._lock = threading.RLock()
        self._state: State = "closed"
        self._failed = 0  # in a row, since the last success
        self._generation = 0  # how often it has opened, or been told to close
        self._open_until = 0.0
        self._probe: Ticket | None = None

    @property
    def state(self) -> State:
        """Closed, open, or half-open. Open lasts until a probe is admitted, not by the clock alone."""
        with self._lock:
            return self._state

    @property
    def retry_in(self) -> float:
        """Seconds until an open breaker admits a probe; 0 in the other states."""
        with self._lock:
            return max(0.0, self._open_until - self._clock()) if self._state == "open" else 0.0

    def admit(self, *, force: bool = False) -> Ticket | None:
        """Ask to make a call.

        Args:
            force: Probe even though the open period is not over, for the caller that has
                nobody else to ask. Still one probe at a time.

        Returns:
            A ticket for `succeeded`, `failed` or `released`, or None: do not call.
        """
        with self._lock:
            if self._state == "closed":
                return Ticket(self._generation)
            if self._probe is not None or not (force or self.retry_in == 0):
                return None
            probe = self._probe = Ticket(self._generation, probe=True)
            self._change("half_open")
            return probe

    def succeeded(self, ticket: Ticket) -> None:
        """The provider answered."""
        with self._lock:
            if not self._settle(ticket):
                return
            self._failed = 0
            if self._change("closed"):
                self._tell(self._announce, None)

    def failed(self, ticket: Ticket) -> None:
        """The provider failed; see `is_provider_failure`."""
        with self._lock:
            if not self._settle(ticket):
                return
            self._failed += 1
            if self._state == "half_open" or self._failed >= self._limit:
                period = self._open_for * (1 + self._jitter * self._random())
                self._open(period)
                self._tell(self._announce, period)

    def released(self, ticket: Ticket) -> None:
        """The call ended without saying anything about the provider; a probe's place is free again."""
        with self._lock:
            self._settle(ticket)

    def open_elsewhere(self, seconds: float) -> None:
        """Follow another replica: its calls failed, or its probe is under way.

        What was admitted here before is old news. An open period only grows by this, and never
        beyond the longest one of this breaker's own.

        Args:
            seconds: How long the provider is to be left alone.
        """
        with self._lock:
            seconds = min(seconds, self._open_for * (1 + self._jitter))
            if self._state == "open":
                self._open_until = max(self._open_until, self._clock() + seconds)
            else:
                self._open(seconds)

    def close_elsewhere(self) -> None:
        """Follow another replica whose probe succeeded. What was admitted here before is old news."""
        with self._lock:
            if self._state != "closed":
                self._failed = 0
                self._generation += 1
                self._change("closed")

    def _settle(self, ticket: Ticket) -> bool:
        """Take a ticket back. False if it has no say: used already, or old news."""
        if ticket.settled:
            return False
        ticket.settled = True
        if ticket is self._probe:
            self._probe = None
        return ticket.generation == self._generation

    def _open(self, seconds: float) -> None:
        self._open_until = self._clock() + seconds
        self._generation += 1
        self._change("open")

    def _change(self, state: State) -> bool:
        if state == self._state:
            return False
        self._state = state
        self._tell(self._on_change, state)
        return True

    @staticmethod
    def _tell(listener: Callable[[T], None] | None, news: T) -> None:
        if listener is None:
            return
        try:
            listener(news)
        except Exception:
            # Raising here would lose the ticket being issued, and with it the only probe's place.
            logger.exception("%r failed on %s", listener, news)
