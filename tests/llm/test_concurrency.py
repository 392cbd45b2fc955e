"""The concurrency limit through the gateway, at a server that counts the requests it serves at once."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentkit import portal
from agentkit.errors import CircuitOpenError, ProviderError, ProviderTimeoutError
from agentkit.events import AttemptFinished, CircuitChanged, Event, EventBus, FellBack, QueueLeft
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.llm.policies import BreakerPolicy, RetryPolicy, Timeouts
from agentkit.weights import WeightsStore

from .upstream import Exchange, Upstream
from .wires.ollama import OllamaWire, done, say

BACKUP = LLMConfig("scripted", options={"replies": ["backup"] * 20})


HELLO = [say("hello"), done(prompt_eval_count=1, eval_count=1)]


class CountingOllama(Upstream):
    """Answers each chat after `pause` seconds and remembers the most that were under way at once."""

    def __init__(self) -> None:
        super().__init__(OllamaWire(), serve=self._counted)
        self.pause = 0.0
        self.under_way = 0
        self.peak = 0

    async def _counted(self, request: dict[str, Any], exchange: Exchange) -> None:
        self.under_way += 1
        self.peak = max(self.peak, self.under_way)
        try:
            await asyncio.sleep(self.pause)
            planned = self.script.pop(0) if self.script else HELLO
            if isinstance(planned, tuple):
                await exchange.reply(planned[0], {}, planned[1])
            else:
                await exchange.stream(planned, request)
        finally:
            self.under_way -= 1


@pytest.fixture
async def server() -> AsyncIterator[CountingOllama]:
    async with CountingOllama() as running:
        yield running


ONCE = RetryPolicy(attempts=1)


def config(**fields: Any) -> LLMConfig:
    return LLMConfig("ollama", model="qwen3:8b", **{"retry": ONCE, **fields})


def gateway(server: CountingOllama, **models: LLMConfig) -> tuple[LLMGateway, list[Event]]:
    bus, seen = EventBus(), list[Event]()
    bus.subscribe(seen.append)
    store = WeightsStore(Path("unused"))
    return LLMGateway(models, events=bus, weights=store, ollama_base_url=server.url), seen


def of(kind: type[Event], seen: list[Event]) -> list[Any]:
    return [event for event in seen if isinstance(event, kind)]


async def until_asked(server: CountingOllama, times: int) -> None:
    async with asyncio.timeout(30):
        while len(server.requests) < times:  # noqa: ASYNC110 - another process would not tell either
            await asyncio.sleep(0.005)


async def test_models_at_one_address_share_the_smallest_limit(server: CountingOllama) -> None:
    server.pause = 0.02
    one, seen = gateway(
        server,
        main=config(),
        wide=config(concurrency=9, temperature=0.1),
        narrow=config(concurrency=3, temperature=0.2),
        auto=LLMConfig("auto", model="qwen3:8b", concurrency=4),
    )
    # A limit holds before its own model is asked for the first time.
    models = [one.chat_model(name) for name in ("main", "wide", "auto")]
    answers = await asyncio.gather(*(models[n % 3].ainvoke("Hi") for n in range(24)))
    assert {answer.text for answer in answers} == {"hello"}
    assert server.peak == 3
    assert len(server.requests) == 24
    waited = of(QueueLeft, seen)
    assert len(waited) >= 20
    assert {event.status for event in waited} == {"ok"}


async def test_loops_and_threads_share_it(server: CountingOllama) -> None:
    server.pause = 0.02
    one, _ = gateway(server, main=config(concurrency=2))
    model = one.chat_model()
    texts: list[str] = []

    def in_a_loop_of_its_own() -> None:
        async def several() -> None:
            answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(5)))
            texts.extend(answer.text for answer in answers)

        asyncio.run(several())

    threads = [threading.Thread(target=in_a_loop_of_its_own) for _ in range(2)]
    for thread in threads:
        thread.start()
    here = asyncio.gather(*(model.ainvoke("Hi") for _ in range(5)))
    synchronous = asyncio.gather(*(asyncio.to_thread(model.invoke, "Hi") for _ in range(5)))
    texts += [answer.text for answer in [*await here, *await synchronous]]
    for thread in threads:
        await asyncio.to_thread(thread.join, 30)
    assert texts == ["hello"] * 20
    assert server.peak == 2


async def test_waiting_in_vain_is_an_error_of_its_own_and_no_failure(server: CountingOllama) -> None:
    server.script = [[None]]
    patient = RetryPolicy(attempts=3, base=0)
    limits = Timeouts(queue=0.05)
    one, seen = gateway(
        server,
        main=config(concurrency=1, retry=patient, timeout=limits, breaker=BreakerPolicy(failures=1)),
    )
    model = one.chat_model()
    first = asyncio.create_task(model.ainvoke("Hi"))
    await until_asked(server, 1)
    with pytest.raises(ProviderTimeoutError, match=r"not this call's turn within 0\.05 s") as caught:
        await model.ainvoke("Hi")
    assert caught.value.kind == "queue"
    assert not caught.value.is_retryable
    assert "Raise concurrency (now 1) or timeout.queue, or name a fallback." in str(caught.value)
    assert len(server.requests) == 1
    assert [event.status for event in of(QueueLeft, seen)] == ["error"]  # it queued once, not three times
    assert not of(AttemptFinished, seen)
    assert not of(CircuitChanged, seen)

    second = one.chat_model(replace(one.models["main"], fallbacks=(BACKUP,)))
    assert (await second.ainvoke("Hi")).text == "backup"
    assert [event.reason for event in of(FellBack, seen)] == ["timeout"]
    first.cancel()
    await asyncio.wait([first])
    assert (await model.ainvoke("Hi")).text == "hello"


async def test_waiting_is_not_part_of_the_attempt(server: CountingOllama) -> None:
    server.pause = 0.4
    limits = Timeouts(total=1.5, queue=60)
    one, seen = gateway(server, main=config(concurrency=1, timeout=limits))
    await asyncio.gather(*(one.chat_model().ainvoke("Hi") for _ in range(6)))
    assert max(event.duration for event in of(QueueLeft, seen)) > 1.5
    assert [event.status for event in of(AttemptFinished, seen)] == ["ok"] * 6


async def test_a_place_is_given_back_however_a_call_ends(server: CountingOllama) -> None:
    hello = [say("hel"), say("lo"), done()]
    one, _ = gateway(server, main=config(concurrency=1, timeout=Timeouts(queue=20)))
    model = one.chat_model()

    server.script = [(500, {"error": "broken"})]
    with pytest.raises(ProviderError):
        await model.ainvoke("Hi")

    server.script = [[say("hel"), None]]
    stream = model.astream("Hi")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]

    server.script = [[None]]
    asked = len(server.requests)
    hanging = asyncio.create_task(model.ainvoke("Hi"))
    await until_asked(server, asked + 1)
    queued = asyncio.create_task(model.ainvoke("Hi"))
    await asyncio.sleep(0.02)
    queued.cancel()
    hanging.cancel()
    await asyncio.wait([queued, hanging])

    server.script = [hello]
    assert (await model.ainvoke("Hi")).text == "hello"
    gate = one._gates._gates["ollama", server.url]
    assert (gate.inside, gate.waiting) == (0, 0)


async def test_those_who_waited_do_not_run_into_a_dead_provider(server: CountingOllama) -> None:
    server.pause = 0.05
    server.script = [(503, {"error": "down"})] * 20
    one, seen = gateway(server, main=config(concurrency=2, breaker=BreakerPolicy(failures=2)))
    outcomes = await asyncio.gather(
        *(one.chat_model().ainvoke("Hi") for _ in range(20)), return_exceptions=True
    )
    assert len(server.requests) == 2
    assert [type(outcome) for outcome in outcomes].count(CircuitOpenError) == 18
    assert len(of(QueueLeft, seen)) == 18
    with pytest.raises(CircuitOpenError):  # nobody queues before an open breaker
        await one.chat_model().ainvoke("Hi")
    assert len(of(QueueLeft, seen)) == 18


async def test_a_place_comes_free_on_another_loop_than_the_one_that_waits(server: CountingOllama) -> None:
    server.script = [[None]]
    one, _ = gateway(server, main=config(concurrency=1))
    model = one.chat_model()
    here = asyncio.create_task(model.ainvoke("Hi"))
    await until_asked(server, 1)
    there = asyncio.run_coroutine_threadsafe(model.ainvoke("Hi"), portal.loop())
    gate = one._gates._gates["ollama", server.url]
    async with asyncio.timeout(30):
        while not gate.waiting:  # noqa: ASYNC110 - a gate has no event to wait for
            await asyncio.sleep(0.005)
    here.cancel()
    async with asyncio.timeout(30):
        assert (await asyncio.wrap_future(there)).text == "hello"
    await asyncio.wait([here])
