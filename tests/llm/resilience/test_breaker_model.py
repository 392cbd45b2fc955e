"""The breaker against a reference model."""

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from agentkit.errors import ProviderError
from agentkit.llm.resilience.breaker import State, Ticket, is_provider_failure

from .breaker_world import World


@dataclass
class Reference:
    """The breaker as a set of the calls that still have a say: no generations, no flags."""

    failures: int
    open_for: float
    jitter: float
    state: State = "closed"
    until: float = 0.0
    row: int = 0
    heard: set[int] = field(default_factory=set)
    probe: int | None = None  # under way, whether or not it still has a say
    changes: list[State] = field(default_factory=list)
    told: list[float | None] = field(default_factory=list)

    def go(self, state: State) -> None:
        self.state = state
        self.changes.append(state)

    def admits(self, now: float, *, force: bool) -> bool:
        if self.state == "closed":
            return True
        if self.probe is not None:
            return False
        if self.state == "open" and (now >= self.until or force):
            self.go("half_open")
        return self.state == "half_open"

    def admitted(self, call: int) -> None:
        self.heard.add(call)
        if self.state == "half_open":
            self.probe = call

    def opened_elsewhere(self, seconds: float, now: float) -> None:
        until = now + min(seconds, self.open_for * (1 + self.jitter))
        if self.state == "open":
            self.until = max(self.until, until)
            return
        self.until = until
        self.heard.clear()
        self.go("open")

    def closed_elsewhere(self) -> None:
        if self.state != "closed":
            self.row = 0
            self.heard.clear()
            self.go("closed")

    def ended(self, call: int, outcome: str, now: float, dice: float) -> None:
        if call == self.probe:
            self.probe = None
        if call not in self.heard:
            return
        self.heard.remove(call)
        if outcome == "succeeded":
            self.row = 0
            if self.state == "half_open":
                self.go("closed")
                self.told.append(None)
        elif outcome == "failed":
            self.row += 1
            if self.state == "half_open" or self.row == self.failures:
                self.row = 0
                self.heard.clear()
                period = self.open_for * (1 + self.jitter * dice)
                self.until = now + period
                self.go("open")
                self.told.append(period)


class BreakerMachine(RuleBasedStateMachine):
    """Any interleaving of calls, outcomes (late and repeated ones too), clock steps and other replicas' news.

    All numbers are binary fractions, so that sums of times are exact.
    """

    calls: Bundle[int] = Bundle("calls")

    @initialize(
        failures=st.integers(1, 4),
        open_for=st.sampled_from([1.0, 8.0, 30.0]),
        jitter=st.sampled_from([0.0, 0.25, 1.0]),
    )
    def build(self, failures: int, open_for: float, jitter: float) -> None:
        self.world = World()
        self.breaker = self.world.breaker(failures=failures, open_for=open_for, jitter=jitter)
        self.reference = Reference(failures, open_for, jitter)
        self.tickets: list[Ticket] = []
        self.probing: set[int] = set()  # probes whose outcome nobody has reported yet

    @rule(target=calls, force=st.booleans())
    def admit(self, force: bool) -> int:
        return self.call(force=force)

    def call(self, *, force: bool) -> int:
        """Ask for a ticket and return its number, or -1."""
        expected = self.reference.admits(self.world.now, force=force)
        ticket = self.breaker.admit(force=force)
        assert (ticket is not None) == expected
        if ticket is None:
            return -1
        self.tickets.append(ticket)
        number = len(self.tickets) - 1
        self.reference.admitted(number)
        assert ticket.probe == (self.breaker.state == "half_open")
        if ticket.probe:
            self.probing.add(number)
        return number

    @rule(call=calls, outcome=st.sampled_from(["succeeded", "failed", "released"]))
    def end(self, call: int, outcome: str) -> None:
        if call < 0:
            return
        before, late = self.breaker.state, call not in self.reference.heard
        self.reference.ended(call, outcome, self.world.now, self.world.dice)
        getattr(self.breaker, outcome)(self.tickets[call])
        self.probing.discard(call)
        if late or outcome == "released":
            assert self.breaker.state == before

    @rule(call=calls, status=st.none() | st.integers(400, 599), is_retryable=st.booleans())
    def end_with_an_error(self, call: int, status: int | None, is_retryable: bool) -> None:
        opened = self.world.changes.count("open")
        error = ProviderError("no", provider="p", status=status, is_retryable=is_retryable)
        self.end(call, "failed" if is_provider_failure(error) else "released")
        if status is not None and 400 <= status < 500 and status not in (408, 429):
            assert self.world.changes.count("open") == opened

    @rule(quarters=st.integers(1, 400))
    def hear_that_it_opened(self, quarters: int) -> None:
        self.reference.opened_elsewhere(quarters / 4, self.world.now)
        self.breaker.open_elsewhere(quarters / 4)
        assert self.breaker.state == "open"

    @rule()
    def hear_that_it_closed(self) -> None:
        self.reference.closed_elsewhere()
        self.breaker.close_elsewhere()
        assert self.breaker.state == "closed"

    @rule(quarters=st.integers(0, 160))
    def step(self, quarters: int) -> None:
        self.world.now += quarters / 4

    @rule(eighths=st.integers(0, 8))
    def roll(self, eighths: int) -> None:
        self.world.dice = eighths / 8

    @rule(target=calls)
    def wait_out_the_longest_period(self) -> int:
        self.world.now += self.reference.open_for * (1 + self.reference.jitter)
        free = self.breaker.state != "closed" and not self.probing
        call = self.call(force=False)
        if free:
            assert call >= 0
            assert self.breaker.admit() is None
            assert self.breaker.admit(force=True) is None
        return call

    @invariant()
    def never_two_probes(self) -> None:
        assert len(self.probing) <= 1

    @invariant()
    def as_the_reference(self) -> None:
        assert self.breaker.state == self.reference.state
        assert self.world.changes == self.reference.changes
        assert self.world.told == self.reference.told  # what was heard is not told again
        waiting = self.reference.until - self.world.now if self.reference.state == "open" else 0
        assert self.breaker.retry_in == max(0, waiting)


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase
