import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit import build_agent, build_supervisor, tool
from agentkit.context import RunContext
from agentkit.errors import ProviderError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.state import Source
from agentkit.services.chat import ChatService
from agentkit.services.usage import Usage
from agentkit.testing import ToolUse, scripted_model


@tool(name="add")
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


PASSAGE = Source(
    index=1,
    uri="docs/a.md",
    title="A",
    heading="",
    start_line=1,
    end_line=2,
    page=None,
    scope="s",
    score=0.5,
    similarity=0.7,
    text="Sums are exact.",
)


async def passages(question: str, context: RunContext) -> list[Source]:
    return [PASSAGE]


def team(*replies: object, router: object = {"agent": "sums"}, checkpointer: object = None) -> Graph:
    model = scripted_model(*replies)
    agent = build_agent(name="sums", model=model, tools=[add], retriever=passages, description="sums")
    return build_supervisor([agent], model=scripted_model(router, "Hello."), checkpointer=checkpointer)


async def test_what_happens_is_told_in_order_and_done_is_last() -> None:
    service = ChatService(team(ToolUse("add", {"a": 2, "b": 3}), "It is five [1]."))
    events = [event async for event in service.stream("2 + 3?", context=RunContext(request_id="r1"))]
    kinds = [event.type for event in events]
    without_tokens = [kind for kind in kinds if kind != "token"]
    assert without_tokens == ["route", "sources", "tool_call", "tool_result", "usage", "done"]
    assert "".join(event.data for event in events if event.type == "token") == "It is five [1]."
    answer = events[-1].data
    assert answer.answer == "It is five [1]."
    assert answer.request_id == "r1"
    assert answer.sources == [PASSAGE]
    assert [(call.name, call.args, call.result) for call in answer.tool_calls] == [
        ("add", {"a": 2, "b": 3}, "5")
    ]
    assert answer.model == "scripted"


async def test_tokens_of_the_route_are_counted_but_not_shown() -> None:
    answer = await ChatService(team("x")).ask("1 + 1?")
    assert answer.answer == "x"
    assert answer.usage.input_tokens is not None
    alone = scripted_model("x")
    reply = await alone.ainvoke("1 + 1?")
    assert reply.usage_metadata is not None
    assert answer.usage.input_tokens > reply.usage_metadata["input_tokens"]
    assert answer.usage.cost_usd is None


async def test_a_direct_answer_has_no_agent_and_no_sources() -> None:
    answer = await ChatService(team(router={"agent": "none"})).ask("hello")
    assert (answer.answer, answer.route["agents"], answer.sources) == ("Hello.", [], [])
    assert set(answer.to_dict()["route"]) == {"agents", "method", "reason"}


async def test_a_thread_goes_on_and_a_new_one_gets_a_name() -> None:
    graph = team("one", "two", router={"agent": "sums"}, checkpointer=InMemorySaver())
    first = await ChatService(graph).ask("a")
    assert len(first.thread_id) == 32
    state = await graph.aget_state({"configurable": {"thread_id": first.thread_id}})
    assert [message.text for message in state.values["messages"]] == ["a", "one"]


async def test_a_provider_error_is_raised_as_it_is() -> None:
    with pytest.raises(ProviderError, match="down"):
        await ChatService(team(ProviderError("down", provider="x"))).ask("a")


async def test_leaving_the_stream_cancels_the_turn() -> None:
    cancelled = asyncio.Event()

    async def slow(question: str, context: RunContext) -> list[Source]:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return []

    agent = build_agent(name="slow", model=scripted_model("x"), retriever=slow)
    graph = build_supervisor([agent], model=scripted_model({"agent": "slow"}))
    stream = ChatService(graph).stream("a")
    assert (await anext(stream)).type == "route"
    pending = asyncio.create_task(anext(stream))
    await asyncio.sleep(0.05)
    pending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pending
    await asyncio.wait_for(cancelled.wait(), 5)


def test_unknown_usage_is_unknown_and_not_zero() -> None:
    assert Usage() == Usage(None, None, None)
