"""Limits end in an answer: what was found, which limit it was, and a history that goes on."""

import asyncio
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from agentkit import build_agent, build_supervisor, tool
from agentkit.context import RunContext
from agentkit.events import Event, EventBus, LimitReached
from agentkit.graphs.bridge import Graph
from agentkit.graphs.limits import sentence
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.graphs.state import ReachedLimit
from agentkit.llm.budgets import Limits
from agentkit.services.chat import Answer, ChatEvent, ChatService
from agentkit.testing import Step, ToolUse, scripted_model

from .helpers import ask, texts

THREAD: Any = {"configurable": {"thread_id": "t"}}
ROUNDS = "a stopped here: its limit of {} of tool calls is reached."
ran: list[tuple[int, int]] = []


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    ran.clear()


@tool(name="add")
def add(a: int, b: int) -> int:
    """Add two integers."""
    ran.append((a, b))
    return a + b


def use(a: int = 1, b: int = 1) -> ToolUse:
    return ToolUse("add", {"a": a, "b": b})


def all_of(*agents: Graph, **options: Any) -> Graph:
    rule = Rule("history_length >= 0", tuple(agent.name for agent in agents))
    options.setdefault("model", scripted_model())
    return build_supervisor(agents, routing=Routing((RulesRouting([rule]),)), name="team", **options)


async def told(graph: Graph, message: str = "go", **options: Any) -> tuple[list[ChatEvent], Answer]:
    events = [event async for event in ChatService(graph).stream(message, **options)]
    return events, events[-1].data


def words(events: list[ChatEvent]) -> str:
    return "".join(event.data for event in events if event.type == "token")


def is_valid(messages: list[Any]) -> bool:
    """Whether each tool call has its result right after it, as every provider demands."""
    waiting: list[str] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            waiting.remove(message.tool_call_id)
            continue
        if waiting:
            return False
        waiting = [call["id"] or "" for call in message.tool_calls] if isinstance(message, AIMessage) else []
    return not waiting


class TestRounds:
    async def test_the_model_answers_with_what_it_has_and_the_answer_says_why(self) -> None:
        model = scripted_model(use(1, 1), use(2, 2), use(3, 3), "Two and four.")
        agent = build_agent(name="a", model=model, tools=[add], tool_iterations=2)
        result = await agent.ainvoke(ask("go"))
        answer = result["messages"][-1]
        assert answer.text == f"Two and four.\n\n{ROUNDS.format('2 rounds')}"
        assert answer.response_metadata["limits_reached"] == [
            {"agent": "a", "limit": "tool_iterations", "of": "agent", "allowed": 2, "spent": 2}
        ]
        assert ran == [(1, 1), (2, 2)]
        assert is_valid(result["messages"])
        assert [message.type for message in model.calls[3]] == ["human", "ai", "tool", "ai", "tool"]

    async def test_a_turn_that_ends_in_time_says_nothing(self) -> None:
        model = scripted_model(use(), use(), "Two.", use(), use(), "Again two.")
        agent = build_agent(name="a", model=model, tools=[add], tool_iterations=2)
        result = await agent.ainvoke(ask("go"))
        assert result["messages"][-1].text == "Two."
        # the count is the turn's: an agent that is asked to go on has all its rounds again
        again = await agent.ainvoke({"messages": [*result["messages"], ("user", "again")]})
        assert again["messages"][-1].text == "Again two."

    async def test_a_model_that_does_not_stop_asking_is_answered_for(self) -> None:
        model = scripted_model(Step(text="One moment.", tool_calls=(use(),)), use(), use())
        agent = build_agent(name="a", model=model, tools=[add], tool_iterations=1)
        result = await agent.ainvoke(ask("go"))
        assert result["messages"][-1].text == f"One moment.\n\n{ROUNDS.format('1 round')}"
        assert is_valid(result["messages"])

    async def test_it_is_streamed_once_and_told_in_typed_form(self) -> None:
        model = scripted_model(Step(text="Let me see. ", tool_calls=(use(),)), use(), "Two.")
        seen: list[Event] = []
        bus = EventBus()
        bus.subscribe(seen.append)
        agent = build_agent(name="a", model=model, tools=[add], tool_iterations=1, events=bus)
        context = RunContext(request_id="r1")
        events, answer = await told(all_of(agent), context=context)
        assert words(events) == f"Let me see. Two.\n\n{ROUNDS.format('1 round')}"
        assert answer.answer == f"Two.\n\n{ROUNDS.format('1 round')}"
        (limit,) = answer.limits_reached
        assert (limit["agent"], limit["limit"], limit["of"]) == ("a", "tool_iterations", "agent")
        assert [event.data for event in events if event.type == "limit"] == [limit]
        assert answer.to_dict()["limits_reached"] == [limit]
        assert [(e.agent, e.limit, e.of, e.request_id) for e in seen if isinstance(e, LimitReached)] == [
            ("a", "tool_iterations", "agent", "r1")
        ]

    async def test_a_pause_does_not_start_the_count_anew(self) -> None:
        @tool(name="approve")
        def approve() -> str:
            """Ask a person."""
            return str(interrupt("May I?"))

        def team() -> Graph:
            return all_of(
                build_agent(name="a", model=model, tools=[approve, add], tool_iterations=2),
                checkpointer=saver,
            )

        model = scripted_model(use(), ToolUse("approve", {}), use(), "Enough.")
        saver = InMemorySaver()
        await team().ainvoke(ask("go"), THREAD)
        result = await team().ainvoke(Command(resume="yes"), THREAD)
        assert result["messages"][-1].text == f"Enough.\n\n{ROUNDS.format('2 rounds')}"
        assert result["limits_reached"][0]["spent"] == 2


class TestBudgets:
    async def test_what_was_said_before_stays_and_the_sentence_follows(self) -> None:
        model = scripted_model(Step(text="I found one thing.", tool_calls=(use(),)), "never")
        agent = build_agent(name="a", model=model, tools=[add], limits=Limits(model_calls=1))
        saver = InMemorySaver()
        graph = all_of(agent, checkpointer=saver)
        events, answer = await told(graph, thread_id="t")
        said = "I found one thing.\n\na stopped here: its limit of 1 model call is reached."
        assert answer.answer == words(events) == said
        assert [limit["limit"] for limit in answer.limits_reached] == ["model_calls"]
        state = await graph.aget_state(THREAD)
        assert texts(state.values["messages"]) == ["go", said]
        assert is_valid(state.values["messages"])

    async def test_the_next_turn_has_a_budget_of_its_own(self) -> None:
        model = scripted_model(use(), "Fine now.")
        agent = build_agent(name="a", model=model, tools=[add], limits=Limits(model_calls=1))
        graph = all_of(agent, checkpointer=InMemorySaver())
        _, first = await told(graph, thread_id="t")
        _, second = await told(graph, thread_id="t")
        assert first.answer == "a stopped here: its limit of 1 model call is reached."
        assert (second.answer, second.limits_reached) == ("Fine now.", [])
        state = await graph.aget_state(THREAD)
        assert state.values["limits_reached"] == []

    async def test_the_last_answer_that_no_longer_fits_is_not_asked_for(self) -> None:
        model = scripted_model(use(), Step(text="So far two.", tool_calls=(use(),)), "never")
        agent = build_agent(
            name="a", model=model, tools=[add], tool_iterations=1, limits=Limits(model_calls=2)
        )
        result = await agent.ainvoke(ask("go"))
        assert result["messages"][-1].text == f"So far two.\n\n{ROUNDS.format('1 round')}"

    async def test_the_teams_limit_is_the_teams(self) -> None:
        agent = build_agent(name="a", model=scripted_model(use(), "never"), tools=[add])
        _, answer = await told(all_of(agent, limits=Limits(model_calls=1)))
        assert answer.answer == "a stopped here: the team's limit of 1 model call is reached."
        assert answer.limits_reached[0]["of"] == "team"

    async def test_routing_may_reach_it(self) -> None:
        agent = build_agent(name="a", model=scripted_model(), description="all")
        router = scripted_model("no agent at all", "never")  # asked twice for a valid route
        graph = build_supervisor(
            [agent], model=router, limits=Limits(model_calls=1), checkpointer=InMemorySaver()
        )
        events, answer = await told(graph, thread_id="t")
        said = "supervisor stopped here: the team's limit of 1 model call is reached."
        assert answer.answer == words(events) == said
        assert answer.route["agents"] == []
        assert answer.limits_reached == [
            {"agent": "supervisor", "limit": "model_calls", "of": "team", "allowed": 1, "spent": 1}
        ]
        state = await graph.aget_state(THREAD)
        assert texts(state.values["messages"]) == ["go", said]

    async def test_the_supervisors_own_answer_may_reach_it(self) -> None:
        agent = build_agent(name="a", model=scripted_model(), description="all")
        graph = build_supervisor(
            [agent], model=scripted_model({"agent": "none"}, "never"), limits=Limits(model_calls=1)
        )
        events, answer = await told(graph)
        assert answer.answer == words(events)
        assert answer.answer == "supervisor stopped here: the team's limit of 1 model call is reached."
        assert answer.route["method"] == "llm"

    async def test_a_tool_that_asks_a_model_itself_is_told(self) -> None:
        inner = scripted_model("summary", "never")

        @tool(name="summarise")
        async def summarise() -> str:
            """Ask a model."""
            return (await inner.ainvoke("x")).text

        model = scripted_model([ToolUse("summarise", {}), ToolUse("summarise", {})], "never")
        agent = build_agent(name="a", model=model, tools=[summarise], limits=Limits(model_calls=2))
        result = await agent.ainvoke(ask("go"))
        results = [message for message in result["messages"] if message.type == "tool"]
        assert sorted(message.status for message in results) == ["error", "success"]
        assert "its limit of 2 model calls is reached" in result["messages"][-1].text
        assert is_valid(result["messages"])


class TestSeveral:
    def agents(self) -> list[Graph]:
        model = scripted_model(Step(text="Part one.", tool_calls=(use(),)), "never", name="a-model")
        return [
            build_agent(name="a", model=model, tools=[add], limits=Limits(model_calls=1)),
            build_agent(name="b", model=scripted_model("All of it.", name="b-model")),
        ]

    @pytest.mark.parametrize("turned", [False, True])
    async def test_the_part_says_it_and_is_streamed_once(self, turned: bool) -> None:
        agents = self.agents()[::-1] if turned else self.agents()
        events, answer = await told(all_of(*agents))
        parts = [
            "**a**\n\nPart one.\n\na stopped here: its limit of 1 model call is reached.",
            "**b**\n\nAll of it.",
        ]
        assert answer.answer == "\n\n".join(parts[::-1] if turned else parts)
        assert words(events) == answer.answer
        assert [limit["agent"] for limit in answer.limits_reached] == ["a"]

    async def test_all_of_them_may_reach_one_and_it_is_still_an_answer(self) -> None:
        agents = [
            build_agent(
                name=name, model=scripted_model(use(), "never"), tools=[add], limits=Limits(model_calls=1)
            )
            for name in "ab"
        ]
        result = await all_of(*agents).ainvoke(ask("go"))
        assert [part["status"] for part in result["parts"]] == ["limited", "limited"]
        assert [limit["agent"] for limit in result["limits_reached"]] == ["a", "b"]
        assert result["messages"][-1].text.count("its limit of 1 model call is reached") == 2

    async def test_a_combined_answer_keeps_the_sentence_the_model_never_saw(self) -> None:
        boss = scripted_model("Both parts.")
        events, answer = await told(all_of(*self.agents(), model=boss, combine=lambda text: f"{text}\n"))
        said = "Both parts.\n\na stopped here: its limit of 1 model call is reached."
        assert answer.answer == words(events) == said
        assert "stopped here" not in boss.calls[0][-1].text

    async def test_answers_that_can_no_longer_be_combined_stand_side_by_side(self) -> None:
        agents = [build_agent(name=name, model=scripted_model(name.upper())) for name in "ab"]
        events, answer = await told(all_of(*agents, combine=str, limits=Limits(model_calls=2)))
        said = "supervisor stopped here: the team's limit of 2 model calls is reached."
        assert answer.answer == words(events) == f"**a**\n\nA\n\n**b**\n\nB\n\n{said}"
        assert [limit["agent"] for limit in answer.limits_reached] == ["supervisor"]


class TestToolLimits:
    async def test_the_model_is_told_and_goes_on(self) -> None:
        model = scripted_model([use(1, 1), use(2, 2), use(3, 3)], use(4, 4), "Done.")
        agent = build_agent(name="a", model=model, tools=[add], tool_limits={"add": 2})
        result = await agent.ainvoke(ask("go"))
        assert sorted(ran) == [(1, 1), (2, 2)]
        assert result["messages"][-1].text == "Done."
        refused = [
            message.text for message in result["messages"] if getattr(message, "status", "") == "error"
        ]
        assert refused == ["Tool call limit exceeded. Do not call 'add' again."] * 2
        assert is_valid(result["messages"])

    async def test_it_holds_for_one_turn(self) -> None:
        model = scripted_model(use(1, 1), "One.", use(2, 2), "Two.")
        agent = build_agent(name="a", model=model, tools=[add], tool_limits={"add": 1})
        first = await agent.ainvoke(ask("go"))
        await agent.ainvoke({"messages": [*first["messages"], ("user", "more")]})
        assert ran == [(1, 1), (2, 2)]

    async def test_a_pause_does_not_start_the_count_anew(self) -> None:
        @tool(name="approve")
        def approve() -> str:
            """Ask a person."""
            return str(interrupt("May I?"))

        model = scripted_model(use(1, 1), ToolUse("approve", {}), use(2, 2), "Done.")
        agent = build_agent(name="a", model=model, tools=[approve, add], tool_limits={"add": 1})
        graph = all_of(agent, checkpointer=InMemorySaver())
        await graph.ainvoke(ask("go"), THREAD)
        result = await graph.ainvoke(Command(resume="yes"), THREAD)
        assert result["messages"][-1].text == "Done."
        assert ran == [(1, 1)]


async def test_concurrent_turns_count_for_themselves() -> None:
    models = [scripted_model(use(), "Two.") for _ in range(20)]
    agents = [build_agent(name="a", model=model, tools=[add], tool_iterations=1) for model in models]
    results = await asyncio.gather(*(agent.ainvoke(ask("go")) for agent in agents))
    assert {result["messages"][-1].text for result in results} == {"Two."}


def test_an_unknown_cost_is_said_as_such() -> None:
    limit = ReachedLimit(agent="a", limit="cost_usd", of="agent", allowed=0.5, spent=None)
    assert sentence(limit) == ("a stopped here: what was spent is unknown, so its limit of $0.5000 ends it.")
