import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import interrupt

from agentkit import build_agent, build_supervisor, tool
from agentkit.context import RunContext
from agentkit.errors import ProviderError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.graphs.state import Source
from agentkit.services.chat import ChatService
from agentkit.services.usage import Usage
from agentkit.testing import Step, ToolUse, scripted_model


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


class TestSeveral:
    """The words of agents that speak at once, told in the order of the route."""

    def team(self, *agents: Graph, **options: object) -> ChatService:
        rule = Rule("1 == 1", tuple(agent.name for agent in agents))
        model = options.pop("model", scripted_model())
        return ChatService(
            build_supervisor(agents, model=model, routing=Routing((RulesRouting([rule]),)), **options)
        )

    def agent(self, name: str, *replies: object, **options: object) -> Graph:
        return build_agent(name=name, model=scripted_model(*replies, name=f"{name}-model"), **options)

    async def test_their_words_do_not_mingle_and_are_the_answer(self) -> None:
        words = {name: " ".join(f"{name}{number}" for number in range(200)) for name in "abc"}
        service = self.team(*(self.agent(name, words[name]) for name in "abc"))
        events = [event async for event in service.stream("?")]
        told = [event.data for event in events if event.type == "token"]
        answer = events[-1].data
        assert answer.answer == "\n\n".join(f"**{name}**\n\n{words[name]}" for name in "abc")
        assert "".join(told) == answer.answer
        assert told[0].startswith("**a**\n\na0")
        assert len(told) > 200  # the first is heard as it speaks
        assert answer.route["agents"] == ["a", "b", "c"]
        assert answer.model == "a-model, b-model, c-model"
        assert sorted(event.data["agent"] for event in events if event.type == "part") == ["a", "b", "c"]
        assert events[0].type == "route"

    async def test_the_last_may_be_first_to_finish(self) -> None:
        done = asyncio.Event()

        async def after_the_other(question: str, context: RunContext) -> list[Source]:
            await done.wait()
            return []

        service = self.team(self.agent("a", "Slow.", retriever=after_the_other), self.agent("b", "Fast."))
        events = []
        async for event in service.stream("?"):
            events.append((event.type, event.data["agent"] if event.type == "part" else event.data))
            if event.type == "part":
                done.set()
        assert [data for kind, data in events if kind == "part"] == ["b", "a"]
        assert "".join(data for kind, data in events if kind == "token") == "**a**\n\nSlow.\n\n**b**\n\nFast."

    async def test_sources_are_told_before_what_cites_them_with_their_final_numbers(self) -> None:
        async def others(question: str, context: RunContext) -> list[Source]:
            return [Source(**{**PASSAGE, "uri": "docs/b.md"})]

        service = self.team(
            self.agent("a", "A [1].", retriever=passages), self.agent("b", "B [1].", retriever=others)
        )
        events = [event async for event in service.stream("?")]
        answer = events[-1].data
        assert answer.answer == "**a**\n\nA [1].\n\n**b**\n\nB [2]."
        assert [(found["index"], found["uri"]) for found in answer.sources] == [
            (1, "docs/a.md"),
            (2, "docs/b.md"),
        ]
        told = [event.data for event in events if event.type == "sources"]
        assert [found for sources in told for found in sources] == answer.sources
        kinds = [event.type for event in events if event.type in ("sources", "token")]
        assert kinds[-2:] == ["sources", "token"]

    async def test_a_failure_after_the_first_words_is_told_below_them(self) -> None:
        broken = Step(text="I think", error=ProviderError("key sk-1", provider="x"))
        service = self.team(self.agent("a", broken), self.agent("b", "B."))
        events = [event async for event in service.stream("?")]
        told = "".join(event.data for event in events if event.type == "token")
        missing = "a could not answer: something went wrong."
        assert told == f"**a**\n\nI think\n\n{missing}\n\n**b**\n\nB."
        assert events[-1].data.answer == f"**a**\n\n{missing}\n\n**b**\n\nB."
        parts = {event.data["agent"]: event.data["error"] for event in events if event.type == "part"}
        assert parts["b"] == ""
        assert parts["a"] in ("ProviderError", "StreamInterruptedError")
        assert "sk-1" not in repr(events)

    async def test_when_all_fail_the_error_is_raised(self) -> None:
        down = ProviderError("down", provider="x")
        with pytest.raises(ProviderError, match="down"):
            await self.team(self.agent("a", down), self.agent("b", down)).ask("?")

    async def test_a_combined_answer_is_heard_alone_and_as_it_is_written(self) -> None:
        service = self.team(
            self.agent("a", "A [1].", retriever=passages),
            self.agent("b", "B."),
            self.agent("c", ProviderError("down", provider="x")),
            model=scripted_model("Both [1] say so.", name="boss"),
            combine=lambda answers: f"{answers}\n",
        )
        events = [event async for event in service.stream("?")]
        told = [event.data for event in events if event.type == "token"]
        answer = events[-1].data
        assert answer.answer == "Both [1] say so.\n\nc could not answer: something went wrong."
        assert "".join(told) == answer.answer
        assert len(told) > 2
        assert answer.model == "a-model, b-model, boss"
        assert answer.sources == [PASSAGE]

    async def test_what_could_not_be_combined_is_told_whole(self) -> None:
        service = self.team(
            self.agent("a", "A."),
            self.agent("b", "B."),
            model=scripted_model(ProviderError("down", provider="x")),
            combine=str,
        )
        events = [event async for event in service.stream("?")]
        told = "".join(event.data for event in events if event.type == "token")
        assert told == events[-1].data.answer == "**a**\n\nA.\n\n**b**\n\nB."

    async def test_tools_of_all_of_them_are_told(self) -> None:
        service = self.team(
            self.agent("a", ToolUse("add", {"a": 1, "b": 1}), "Two.", tools=[add]),
            self.agent("b", ToolUse("add", {"a": 2, "b": 2}), "Four.", tools=[add]),
        )
        answer = await service.ask("?")
        assert sorted(call.result or "" for call in answer.tool_calls) == ["2", "4"]
        assert answer.answer == "**a**\n\nTwo.\n\n**b**\n\nFour."

    async def test_a_pause_does_not_break_the_stream(self) -> None:
        @tool(name="approve")
        def approve() -> str:
            """Ask a person."""
            return str(interrupt("May I?"))

        service = self.team(
            self.agent("a", ToolUse("approve", {}), "Done.", tools=[approve]),
            self.agent("b", "B."),
            checkpointer=InMemorySaver(),
        )
        events = [event async for event in service.stream("?", thread_id="t")]
        assert events[-1].type == "done"
        assert [event.data["agent"] for event in events if event.type == "part"] == ["b"]
