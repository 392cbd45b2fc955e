"""The gate against a model of it, across loops and threads, and with calls that give up."""

import asyncio
import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agentkit.llm.base import LLMConfig, ProviderContext
from agentkit.llm.resilience.gate import Gate, Gates, address
from agentkit.weights import WeightsStore

CONTEXT = ProviderContext(WeightsStore(Path("unused")), openai_base_url="https://Proxy.example/v1/")


class GateMachine(RuleBasedStateMachine):
    """Calls come, are cancelled and leave; the loop runs only now and then, so that these coincide.

    The model is a list of who is inside and a list of who waits: whatever happened between two
    runs of the loop, afterwards the gate must agree with it: the same calls inside, so those
    that came first, and none forgotten.
    """

    @initialize(limit=st.integers(1, 4))
    def build(self, limit: int) -> None:
        self.loop = asyncio.new_event_loop()
        self.gate = Gate(limit)
        self.limit = limit
        self.inside: list[int] = []
        self.queue: list[int] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.ends: list[asyncio.Event] = []
        self.present: set[int] = set()
        self.walked_in = 0

    def admit(self) -> None:
        while self.queue and len(self.inside) + self.walked_in < self.limit:
            self.inside.append(self.queue.pop(0))

    async def call(self, number: int) -> None:
        await self.gate.enter()
        self.present.add(number)
        assert len(self.present) + self.walked_in <= max(self.limit, self.allowed)
        try:
            await self.ends[number].wait()
        finally:
            self.present.remove(number)
            self.gate.leave()

    @property
    def allowed(self) -> int:
        """After the limit was lowered those inside may stay."""
        return self.gate.inside

    @rule()
    def come(self) -> None:
        number = len(self.tasks)
        self.ends.append(asyncio.Event())
        self.tasks.append(self.loop.create_task(self.call(number)))
        self.queue.append(number)
        self.admit()

    @rule(data=st.data())
    @precondition(lambda self: self.inside or self.queue)
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.inside + self.queue))
        self.tasks[number].cancel()
        (self.inside if number in self.inside else self.queue).remove(number)
        self.admit()

    @rule(data=st.data())
    @precondition(lambda self: self.inside)
    def finish(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(self.inside))
        self.ends[number].set()
        self.inside.remove(number)
        self.admit()

    @rule(limit=st.integers(1, 4))
    def narrow(self, limit: int) -> None:
        self.settle()
        self.gate.narrow(limit)
        self.limit = min(limit, self.limit)
        assert self.gate.limit == self.limit

    @rule()
    def walk_in(self) -> None:
        self.settle()
        free = not self.queue and len(self.inside) + self.walked_in < self.limit
        assert self.gate.try_enter() == free
        self.walked_in += free

    @rule()
    @precondition(lambda self: self.walked_in)
    def walk_out(self) -> None:
        self.walked_in -= 1
        self.gate.leave()
        self.admit()

    @rule()
    def settle(self) -> None:
        async def idle() -> None:
            for _ in range(2 * len(self.tasks) + 5):
                await asyncio.sleep(0)

        self.loop.run_until_complete(idle())
        assert self.present == set(self.inside)
        assert self.gate.inside == len(self.inside) + self.walked_in
        assert self.gate.waiting == len(self.queue)
        for task in self.tasks:
            assert not task.done() or task.cancelled() or task.exception() is None

    def teardown(self) -> None:
        if not hasattr(self, "loop"):
            return
        for end in self.ends:
            end.set()
        for _ in range(self.walked_in):
            self.gate.leave()
        self.walked_in = 0
        if self.tasks:
            _, forgotten = self.loop.run_until_complete(asyncio.wait(self.tasks, timeout=30))
            assert not forgotten
        assert (self.gate.inside, self.gate.waiting) == (0, 0)
        self.loop.close()


GateMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestGateMachine = GateMachine.TestCase


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - a gate has no event to wait for
            await asyncio.sleep(0.001)


async def test_a_wait_that_is_too_long_ends_and_leaves_nothing_behind() -> None:
    gate = Gate(1)
    await gate.enter()
    with pytest.raises(TimeoutError):
        await gate.enter(0.01)
    assert (gate.inside, gate.waiting) == (1, 0)
    gate.leave()
    await gate.enter(0.01)
    assert gate.inside == 1


async def test_a_call_cancelled_in_the_moment_of_its_turn_hands_it_on() -> None:
    gate = Gate(1)
    await gate.enter()
    first, second = (asyncio.create_task(gate.enter()) for _ in range(2))
    await until(lambda: gate.waiting == 2)
    gate.leave()  # the first one's turn, and it does not know yet
    first.cancel()
    await asyncio.wait_for(second, 30)
    assert first.cancelled()
    assert (gate.inside, gate.waiting) == (1, 0)


def test_those_whose_loop_is_gone_are_passed_over() -> None:
    gate = Gate(1)
    assert gate.try_enter()
    dead = asyncio.new_event_loop()
    lost = dead.create_task(gate.enter())
    dead.run_until_complete(asyncio.sleep(0))
    dead.close()

    async def live() -> None:
        waiting = asyncio.create_task(gate.enter())
        await until(lambda: gate.waiting == 2)
        gate.leave()
        await asyncio.wait_for(waiting, 30)

    asyncio.run(live())
    assert (gate.inside, gate.waiting) == (1, 0)
    lost._log_destroy_pending = False  # type: ignore[attr-defined]  # it was lost on purpose


def test_loops_in_many_threads_share_one_gate() -> None:
    gate = Gate(3)
    lock = threading.Lock()
    inside, peak, served, gave_up = 0, 0, 0, 0

    async def call(dice: random.Random) -> None:
        nonlocal inside, peak, served, gave_up
        try:
            await gate.enter(dice.choice([None, 0.0005, 0.002]))
        except TimeoutError:
            gave_up += 1
            return
        try:
            with lock:
                inside += 1
                peak = max(peak, inside)
            await asyncio.sleep(dice.random() / 1000)
            served += 1
        finally:
            with lock:
                inside -= 1
            gate.leave()

    async def many(seed: int) -> None:
        dice = random.Random(seed)
        tasks = [asyncio.create_task(call(dice)) for _ in range(150)]
        for task in dice.sample(tasks, 30):
            await asyncio.sleep(dice.random() / 1000)
            task.cancel()
        async with asyncio.timeout(60):
            await asyncio.gather(*tasks, return_exceptions=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda seed: asyncio.run(many(seed)), range(6)))
    assert peak == 3
    assert served
    assert gave_up
    assert (gate.inside, gate.waiting) == (0, 0)


def test_what_an_address_is() -> None:
    def of(provider: str, **options: object) -> tuple[str, str]:
        return address(provider, LLMConfig(provider, options=options), CONTEXT)

    assert of("openai") == ("openai", "https://proxy.example/v1")
    assert of("openai") == of("openai", base_url="HTTPS://proxy.example/v1")
    assert of("openai") != of("openai", base_url="https://proxy.example/V1")
    assert of("vllm", base_url="http://a:1") != of("openai", base_url="http://a:1")
    assert of("ollama") == ("ollama", "http://127.0.0.1:11434")
    assert of("local") == ("local", "")
    assert of("openai", base_url="http://[") == ("openai", "http://[")
    one = LLMConfig("langchain", use="a.b:make")
    assert address("langchain", one, CONTEXT) != address(
        "langchain", LLMConfig("langchain", use="c"), CONTEXT
    )


def test_the_smallest_limit_of_an_address_counts() -> None:
    gates = Gates(CONTEXT)
    gates.add(LLMConfig("openai", model="a"))
    assert not gates
    for limit in (5, 2, 9):
        gates.add(LLMConfig("openai", model=str(limit), concurrency=limit))
    gates.add(LLMConfig("anthropic", concurrency=7))
    assert gates
    limits = {place: gate.limit for place, gate in gates._gates.items()}
    assert limits == {("openai", "https://proxy.example/v1"): 2, ("anthropic", ""): 7}
