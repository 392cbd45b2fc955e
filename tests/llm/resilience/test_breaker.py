"""The breaker, rule by rule."""

from collections.abc import Callable
from typing import Any

import pytest

from agentkit.errors import CircuitOpenError, ConfigurationError, ProviderError, ScriptError
from agentkit.llm.resilience.breaker import CircuitBreaker, State, Ticket, is_provider_failure

from .breaker_world import World, admitted, trip


@pytest.fixture
def world() -> World:
    return World()


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


def test_it_announces_what_it_found_out_and_not_what_it_heard(world: World) -> None:
    breaker = world.breaker()
    breaker.open_elsewhere(4.0)
    assert (breaker.state, breaker.retry_in, breaker.admit()) == ("open", 4.0, None)
    breaker.close_elsewhere()
    breaker.close_elsewhere()
    assert world.changes == ["open", "closed"]
    assert world.told == []

    trip(breaker)
    world.now += 8
    breaker.failed(admitted(breaker))
    breaker.succeeded(admitted(breaker, force=True))

    assert world.told == [8.0, 8.0, None]


def test_what_others_say_never_shortens_a_period_nor_exceeds_the_longest(world: World) -> None:
    breaker = world.breaker()
    trip(breaker)
    breaker.open_elsewhere(1.0)
    assert breaker.retry_in == 8.0
    breaker.open_elsewhere(1e9)
    assert breaker.retry_in == 10.0
    assert world.changes == ["open"]


@pytest.mark.parametrize("late", [CircuitBreaker.succeeded, CircuitBreaker.failed, CircuitBreaker.released])
def test_a_probe_is_old_news_once_others_have_decided(
    world: World, late: Callable[[CircuitBreaker, Ticket], None]
) -> None:
    breaker = world.breaker(failures=1)
    trip(breaker, 1)
    probe = admitted(breaker, force=True)
    breaker.open_elsewhere(8.0)
    world.now += 20
    assert breaker.admit() is None  # one probe at a time, though this one has no say any more
    late(breaker, probe)
    assert breaker.state == "open"

    probe = admitted(breaker)
    breaker.close_elsewhere()
    late(breaker, probe)
    assert breaker.state == "closed"


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
