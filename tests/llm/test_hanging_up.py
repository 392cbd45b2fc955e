"""Whoever leaves an answer early hangs up on the provider at once, whichever way he leaves."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, cast

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph

from agentkit.events import AttemptFinished, CircuitChanged, ModelCallFinished
from agentkit.llm.policies import BreakerPolicy, RetryPolicy

from .faults import KEY
from .stack import PROVIDERS, WIRES, Stack, stack
from .upstream import HANG, HEADERS, Forever, Upstream

logger = logging.getLogger(__name__)

# The goal is 100 ms; measured on two CPUs: 0.5 ms (`--log-cli-level=INFO` shows it).
BOUND = 5.0

every_provider = pytest.mark.parametrize("provider", PROVIDERS)

MOMENTS: dict[str, Callable[[Any], list[Any]]] = {
    "before the first byte": lambda _: [HANG],
    "after the headers": lambda _: [HEADERS, HANG],
    "after the role": lambda wire: [*wire.opening, HANG],
    "in mid-answer": lambda wire: [*wire.opening, wire.said("word"), HANG],
    "while chunks come": lambda wire: [*wire.opening, Forever(wire.said("word"), 0.005)],
}


@asynccontextmanager
async def hanging(provider: str, moment: str) -> AsyncIterator[tuple[Stack, Upstream]]:
    """A model whose upstream is at that moment for ever; a breaker that one failure would open."""
    wire = WIRES[provider]()
    async with Upstream(wire) as upstream:
        upstream.script = [MOMENTS[moment](wire)]
        retry, breaker = RetryPolicy(attempts=3, base=0.001), BreakerPolicy(failures=1, open_for=60.0)
        one = stack(provider, upstream.url, KEY, retry=retry, breaker=breaker)
        yield one, upstream
        await one.gateway.aclose()


async def check_left(one: Stack, upstream: Upstream, left: float) -> None:
    """The upstream has seen it, all is reported once, nothing is open, and the provider is not blamed."""
    async with asyncio.timeout(BOUND):
        await upstream.disconnected.wait()
        while not any(isinstance(event, ModelCallFinished) for event in one.events):  # noqa: ASYNC110 - a list
            await asyncio.sleep(0.001)
    logger.info("hung up after %.2f ms", 1000 * (upstream.hung_up[0] - left))
    assert len(upstream.requests) == 1
    assert upstream.open == 0
    assert [(type(event), event.status) for event in one.events] == [
        (AttemptFinished, "cancelled"),
        (ModelCallFinished, "cancelled"),
    ]
    wire = upstream.wire
    upstream.script = [[*wire.opening, wire.said("hello"), *wire.closing]]
    assert (await one.model.ainvoke("again")).text == "hello"  # the breaker is closed
    assert not [event for event in one.events if isinstance(event, CircuitChanged)]


@pytest.mark.parametrize("moment", MOMENTS)
@every_provider
async def test_cancelling_the_reader(provider: str, moment: str) -> None:
    async with hanging(provider, moment) as (one, upstream):
        read = asyncio.Event()

        async def reader() -> None:
            async for chunk in one.model.astream("hello"):
                if chunk.text:
                    read.set()
                    if moment == "while chunks come":
                        await asyncio.Event().wait()  # cancelled between two chunks

        task = asyncio.create_task(reader())
        async with asyncio.timeout(BOUND):
            await (read.wait() if "word" in str(upstream.script) else upstream.arrived.wait())
        await asyncio.sleep(0.01)
        left = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await check_left(one, upstream, left)


@pytest.mark.parametrize("moment", ["before the first byte", "in mid-answer"])
@every_provider
async def test_cancelling_a_whole_answer(provider: str, moment: str) -> None:
    async with hanging(provider, moment) as (one, upstream):
        task = asyncio.create_task(one.model.ainvoke("hello"))
        async with asyncio.timeout(BOUND):
            await upstream.arrived.wait()
        await asyncio.sleep(0.01)
        left = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await check_left(one, upstream, left)


@pytest.mark.parametrize("moment", ["in mid-answer", "while chunks come"])
@every_provider
async def test_closing_the_stream(provider: str, moment: str) -> None:
    async with hanging(provider, moment) as (one, upstream):
        async with aclosing(one.model.astream("hello")) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    break
            left = time.perf_counter()
        await check_left(one, upstream, left)


@pytest.mark.parametrize("moment", ["in mid-answer", "while chunks come"])
@every_provider
async def test_breaking_out_of_the_loop(provider: str, moment: str) -> None:
    """Nothing is closed by hand: Python does when the last reference to the stream is gone."""
    async with hanging(provider, moment) as (one, upstream):
        async for chunk in one.model.astream("hello"):
            if chunk.text:
                break
        await check_left(one, upstream, time.perf_counter())


@every_provider
async def test_an_error_of_the_readers_own(provider: str) -> None:
    async with hanging(provider, "in mid-answer") as (one, upstream):

        async def read() -> None:
            async with aclosing(one.model.astream("hello")) as chunks:
                async for chunk in chunks:
                    if chunk.text:
                        raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await read()
        await check_left(one, upstream, time.perf_counter())


@every_provider
async def test_leaving_a_synchronous_stream(provider: str) -> None:
    """It runs on the background loop of `agentkit.portal`, in another thread."""
    async with hanging(provider, "while chunks come") as (one, upstream):

        def read() -> float:
            for chunk in one.model.stream("hello"):
                if chunk.text:
                    break
            return time.perf_counter()

        await check_left(one, upstream, await asyncio.to_thread(read))


# asyncio.run cancels the task that closes what was let go. When that happens in the midst of closing,
# once in some hundred times on a busy machine, the garbage collector closes the socket, and warns.
let_go = pytest.param(
    "let go", marks=pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
)


@pytest.mark.parametrize("how", [let_go, "closed"])
@every_provider
async def test_a_loop_that_ends_right_after(provider: str, how: str) -> None:
    """As in a script: the loop is gone before Python gets to tidying up. Nothing is printed."""
    async with hanging(provider, "while chunks come") as (one, upstream):
        complaints: list[dict[str, Any]] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
            stream = one.model.astream("hello")
            async for chunk in stream:
                if chunk.text:
                    break
            if how == "closed":
                await cast("Any", stream).aclose()

        def script() -> float:
            asyncio.run(main())
            gc.collect()
            return time.perf_counter()

        await check_left(one, upstream, await asyncio.to_thread(script))
        assert complaints == []


@pytest.mark.parametrize("mode", ["values", "messages"])
@every_provider
async def test_cancelling_a_run_of_a_graph(provider: str, mode: str) -> None:
    """With the mode `messages`, LangGraph streams the model; otherwise it waits for the whole answer."""
    async with hanging(provider, "in mid-answer") as (one, upstream):

        async def answer(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await one.model.ainvoke(state["messages"])]}

        builder = StateGraph(MessagesState)
        builder.add_node("answer", answer)
        builder.add_edge(START, "answer")
        builder.add_edge("answer", END)
        graph = builder.compile()

        async def run() -> None:
            async for _ in graph.astream({"messages": [("user", "hello")]}, stream_mode=mode):
                pass

        task = asyncio.create_task(run())
        async with asyncio.timeout(BOUND):
            await upstream.arrived.wait()
        await asyncio.sleep(0.02)
        left = time.perf_counter()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await check_left(one, upstream, left)
