"""The breaker, rule by rule, against a reference model, and under threads."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

from agentkit.errors import CircuitOpenError, ConfigurationError, ProviderError, ScriptError
from agentkit.llm.resilience.breaker import CircuitBreaker, State, Ticket, is_provider_failure


@dataclass
class World:
    """The time and the dice a breaker sees, and what it said."""

    now: float = 100.0
    dice: float = 0.0
    changes: list[State] = field(default_factory=list)

    def breaker(self, **options: Any) -> CircuitBreaker:
        return CircuitBreaker(
            clock=lambda: self.now,
            random=lambda: self.dice,
            on_change=self.changes.append,
            **{"failures": 2, "open_for": 8.0, "jitter": 0.25, **options},
        )


@pytest.fixture
def world() -> World:
    return World()


def admitted(breaker: CircuitBreaker, *, force: bool = False) -> Ticket:
    ticket = breaker.admit(force=force)
    assert ticket is not None
    return ticket


def trip(breaker: CircuitBreaker, times: int = 2) -> None:
    for _ in range(times):
        breaker.failed(admitted(breaker))
    assert breaker.state == "open"


def test_a_closed_breaker_admits_any_number_of_calls(world: World) -> None:
    breaker = world.breaker()

    assert None not in [breaker.admit() for _ in range(100)]
    assert (breaker.state, breaker.retry_in, world.changes) == ("closed", 0.0, [])


def test_failures_in_a_row_open_it(world: World) -> None:
    breaker = world.breaker(failures=3)
    for _ in range(2):
        breaker.failed(admitted(breaker))
    assert breaker.state == "closed"

    breaker.failed(admitted(breaker))

    assert (breaker.state, breaker.retry_in, world.changes) == ("open", 8.0, ["open"])
    assert breaker.admit() is None


def test_a_success_starts_the_count_again(world: World) -> None:
    breaker = world.breaker()
    for _ in range(5):
        breaker.failed(admitted(breaker))
        breaker.succeeded(admitted(breaker))

    assert (breaker.state, world.changes) == ("closed", [])


def test_a_released_call_neither_counts_nor_starts_the_count_again(world: World) -> None:
    breaker = world.breaker()
    for _ in range(10):
        breaker.released(admitted(breaker))
    breaker.failed(admitted(breaker))
    breaker.released(admitted(breaker))
    assert breaker.state == "closed"

    breaker.failed(admitted(breaker))

    assert breaker.state == "open"


def test_one_probe_once_the_open_period_is_over(world: World) -> None:
    breaker = world.breaker()
    trip(breaker)
    world.now += 7.75
    assert (breaker.admit(), breaker.retry_in) == (None, 0.25)
    world.now += 0.25
    assert (breaker.state, breaker.retry_in) == ("open", 0.0)  # time alone changes nothing

    tickets = [breaker.admit() for _ in range(10)]

    assert [ticket is not None for ticket in tickets] == [True] + [False] * 9
    assert (breaker.state, breaker.retry_in) == ("half_open", 0.0)


def test_a_successful_probe_closes_it_with_the_count_at_zero(world: World) -> None:
    breaker = world.breaker()
    trip(breaker)
    world.now += 8
    breaker.succeeded(admitted(breaker))
    assert world.changes == ["open", "half_open", "closed"]

    breaker.failed(admitted(breaker))
    assert breaker.state == "closed"
    breaker.failed(admitted(breaker))
    assert breaker.state == "open"


def test_a_failed_probe_opens_it_for_a_fresh_period(world: World) -> None:
    breaker = world.breaker(failures=5)
    trip(breaker, 5)
    world.now += 20
    world.dice = 0.5

    breaker.failed(admitted(breaker))

    assert (breaker.retry_in, breaker.admit()) == (9.0, None)
    assert world.changes == ["open", "half_open", "open"]


@pytest.mark.parametrize(("dice", "period"), [(0.0, 8.0), (0.5, 9.0), (1.0, 10.0)])
def test_the_open_period_is_lengthened_by_at_most_the_jitter(
    world: World, dice: float, period: float
) -> None:
    breaker = world.breaker()
    world.dice = dice

    trip(breaker)

    assert breaker.retry_in == period


def test_breakers_that_opened_together_do_not_probe_together() -> None:
    breakers = [CircuitBreaker(failures=1, clock=lambda: 0.0) for _ in range(20)]
    for breaker in breakers:
        trip(breaker, 1)

    periods = {breaker.retry_in for breaker in breakers}

    assert len(periods) == 20
    assert all(30 <= period <= 33 for period in periods)


def test_a_released_probe_frees_its_place_at_once(world: World) -> None:
    breaker = world.breaker()
    trip(breaker)
    world.now += 8
    for _ in range(3):
        breaker.released(admitted(breaker))
        assert breaker.state == "half_open"

    probe = admitted(breaker)

    assert breaker.admit() is None
    breaker.succeeded(probe)
    assert world.changes == ["open", "half_open", "closed"]


@pytest.mark.parametrize("late", [CircuitBreaker.succeeded, CircuitBreaker.failed, CircuitBreaker.released])
def test_results_from_before_the_trip_are_old_news(
    world: World, late: Callable[[CircuitBreaker, Ticket], None]
) -> None:
    breaker = world.breaker()
    old = [admitted(breaker) for _ in range(9)]
    trip(breaker)
    late(breaker, old.pop())
    assert (breaker.state, breaker.retry_in) == ("open", 8.0)

    world.now += 8
    probe = admitted(breaker)
    late(breaker, old.pop())
    assert (breaker.state, breaker.admit()) == ("half_open", None)

    breaker.succeeded(probe)
    for ticket in old:
        late(breaker, ticket)
    assert breaker.state == "closed"
    assert world.changes == ["open", "half_open", "closed"]


def test_late_successes_do_not_hide_new_failures(world: World) -> None:
    breaker = world.breaker()
    old = admitted(breaker)
    trip(breaker)
    world.now += 8
    breaker.succeeded(admitted(breaker))
    breaker.failed(admitted(breaker))

    breaker.succeeded(old)
    breaker.failed(admitted(breaker))

    assert breaker.state == "open"


def test_only_the_first_outcome_of_a_ticket_counts(world: World) -> None:
    breaker = world.breaker()
    ticket = admitted(breaker)
    breaker.failed(ticket)
    breaker.failed(ticket)
    assert breaker.state == "closed"

    breaker.failed(admitted(breaker))
    world.now += 8
    cancelled = admitted(breaker)
    breaker.released(cancelled)
    probe = admitted(breaker)
    for again in (breaker.released, breaker.succeeded, breaker.failed):
        again(cancelled)
    assert (breaker.state, breaker.admit()) == ("half_open", None)

    breaker.succeeded(probe)
    assert breaker.state == "closed"


def test_force_probes_before_the_period_is_over_but_one_at_a_time(world: World) -> None:
    breaker = world.breaker()
    trip(breaker)

    probe = admitted(breaker, force=True)

    assert breaker.state == "half_open"
    assert (breaker.admit(), breaker.admit(force=True)) == (None, None)
    breaker.failed(probe)
    assert (breaker.state, breaker.retry_in, breaker.admit()) == ("open", 8.0, None)
    breaker.succeeded(admitted(breaker, force=True))
    assert breaker.state == "closed"


def test_force_changes_nothing_while_closed(world: World) -> None:
    breaker = world.breaker()
    tickets = [admitted(breaker, force=True) for _ in range(3)]
    assert breaker.state == "closed"

    breaker.failed(tickets[0])
    assert breaker.state == "closed"
    breaker.failed(tickets[1])
    assert breaker.state == "open"


def test_on_change_may_read_the_breaker_that_calls_it() -> None:
    seen: list[tuple[State, State, bool]] = []
    breaker = CircuitBreaker(
        failures=1,
        clock=lambda: 0.0,
        on_change=lambda state: seen.append((state, breaker.state, breaker.retry_in > 0)),
    )
    trip(breaker, 1)

    breaker.succeeded(admitted(breaker, force=True))

    assert seen == [("open", "open", True), ("half_open", "half_open", False), ("closed", "closed", False)]


def test_a_failing_on_change_is_logged_and_loses_no_ticket(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(state: State) -> None:
        raise RuntimeError(f"no sink for {state}")

    breaker = CircuitBreaker(failures=1, clock=lambda: world.now, on_change=broken)
    trip(breaker, 1)
    breaker.succeeded(admitted(breaker, force=True))

    assert breaker.state == "closed"
    assert [record.message.rpartition(" ")[2] for record in caplog.records] == ["open", "half_open", "closed"]
    assert "no sink for half_open" in caplog.text


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"failures": 0}, "failures must be at least 1, not 0"),
        ({"open_for": 0.0}, "open_for must be a positive number of seconds, not 0.0"),
        ({"open_for": float("inf")}, "open_for must be a positive number of seconds, not inf"),
        ({"open_for": float("nan")}, "open_for must be a positive number of seconds, not nan"),
        ({"jitter": -0.1}, "jitter must be from 0 to 1, not -0.1"),
        ({"jitter": 1.5}, "jitter must be from 0 to 1, not 1.5"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        CircuitBreaker(**options)


@pytest.mark.parametrize(
    ("status", "is_retryable", "expected"),
    [
        (408, False, True),
        (429, False, True),
        (500, False, True),
        (501, False, True),
        (503, True, True),
        (529, True, True),
        (None, True, True),
        (200, True, True),  # an error inside the stream of a good response
        (None, False, False),
        (200, False, False),
        *[
            (status, retryable, False)
            for status in (400, 401, 403, 404, 409, 422)
            for retryable in (False, True)
        ],
    ],
)
def test_what_speaks_against_the_provider(status: int | None, is_retryable: bool, expected: bool) -> None:
    error = ProviderError("no", provider="openai", status=status, is_retryable=is_retryable)

    assert is_provider_failure(error) is expected


def test_our_own_errors_do_not_speak_against_the_provider() -> None:
    assert not is_provider_failure(ScriptError("no step"))
    assert not is_provider_failure(CircuitOpenError("left alone", provider="openai", retry_in=1.0))


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
    changes: list[State] = field(default_factory=list)

    def go(self, state: State) -> None:
        self.state = state
        self.changes.append(state)

    def admits(self, now: float, *, force: bool) -> bool:
        if self.state == "open" and (now >= self.until or force):
            self.go("half_open")
            return True
        return self.state == "closed" or (self.state == "half_open" and not self.heard)

    def ended(self, call: int, outcome: str, now: float, dice: float) -> None:
        if call not in self.heard:
            return
        self.heard.remove(call)
        if outcome == "succeeded":
            self.row = 0
            if self.state == "half_open":
                self.go("closed")
        elif outcome == "failed":
            self.row += 1
            if self.state == "half_open" or self.row == self.failures:
                self.row = 0
                self.heard.clear()
                self.until = now + self.open_for * (1 + self.jitter * dice)
                self.go("open")


class BreakerMachine(RuleBasedStateMachine):
    """Any interleaving of calls, outcomes (late and repeated ones too) and clock steps.

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
        self.reference.heard.add(number)
        if self.breaker.state == "half_open":
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
        waiting = self.reference.until - self.world.now if self.reference.state == "open" else 0
        assert self.breaker.retry_in == max(0, waiting)


BreakerMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)
TestBreakerMachine = BreakerMachine.TestCase


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns as often as the interpreter lets them."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


THREADS = 50


@pytest.mark.usefixtures("eager_switching")
@pytest.mark.parametrize("start", ["period over", "probe released"])
def test_of_fifty_threads_at_once_one_probes(start: str) -> None:
    now = 0.0

    def clock() -> float:
        time.sleep(0)  # another thread's turn, in the middle of admit()
        return now

    breaker = CircuitBreaker(failures=1, open_for=1.0, clock=clock)
    barrier = threading.Barrier(THREADS)

    def ask(_: int) -> Ticket | None:
        barrier.wait()
        return breaker.admit()

    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(20):
            trip(breaker, 1)
            now += 2
            if start == "probe released":
                breaker.released(admitted(breaker))
            probes = [ticket for ticket in pool.map(ask, range(THREADS)) if ticket is not None]
            assert len(probes) == 1
            breaker.succeeded(probes[0])
            assert breaker.state == "closed"


@pytest.mark.usefixtures("eager_switching")
def test_under_any_load_changes_are_told_in_order_and_probes_are_alone() -> None:
    changes: list[State] = []
    breaker = CircuitBreaker(failures=3, open_for=1e-5, on_change=changes.append)
    barrier = threading.Barrier(8)
    outcomes = (breaker.failed, breaker.failed, breaker.failed, breaker.succeeded, breaker.released)

    def use(seed: int) -> None:
        barrier.wait()
        for number in range(500):
            ticket = breaker.admit(force=number % 7 == 0)
            if ticket is not None:
                outcomes[(number + seed) % len(outcomes)](ticket)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(use, range(8)))

    allowed = {("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("half_open", "closed")}
    assert set(zip(["closed", *changes], changes, strict=False)) <= allowed
    assert changes[-1] == breaker.state
    breaker.succeeded(admitted(breaker, force=True))  # nobody's place is still taken
