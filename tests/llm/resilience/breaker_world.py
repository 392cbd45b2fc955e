"""The time and the dice of a breaker under test."""

from dataclasses import dataclass, field
from typing import Any

from agentkit.llm.resilience.breaker import CircuitBreaker, State, Ticket


@dataclass
class World:
    """The time and the dice a breaker sees, and what it said."""

    now: float = 100.0
    dice: float = 0.0
    changes: list[State] = field(default_factory=list)
    told: list[float | None] = field(default_factory=list)

    def breaker(self, **options: Any) -> CircuitBreaker:
        return CircuitBreaker(
            clock=lambda: self.now,
            random=lambda: self.dice,
            on_change=self.changes.append,
            announce=self.told.append,
            **{"failures": 2, "open_for": 8.0, "jitter": 0.25, **options},
        )


def admitted(breaker: CircuitBreaker, *, force: bool = False) -> Ticket:
    ticket = breaker.admit(force=force)
    assert ticket is not None
    return ticket


def trip(breaker: CircuitBreaker, times: int = 2) -> None:
    for _ in range(times):
        breaker.failed(admitted(breaker))
    assert breaker.state == "open"
