"""The breaker under threads that take turns as often as they can."""

import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from agentkit.llm.resilience.breaker import CircuitBreaker, State, Ticket

from .breaker_world import admitted, trip


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
