"""Supervisors among the agents of a supervisor: pauses, rights and conversations go through them."""

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, interrupt

from agentkit import build_agent, build_supervisor, tool
from agentkit.context import RunContext
from agentkit.graphs.bridge import Graph
from agentkit.graphs.handoffs import HANDOFF
from agentkit.graphs.routing import AgentCard, Routing, Rule, RulesRouting
from agentkit.testing import Step, ToolUse, scripted_model

from .helpers import Knowledge, ask, source, texts

THREAD: Any = {"configurable": {"thread_id": "t"}}


@tool(name="approve")
def approve(what: str) -> str:
    """Ask a person."""
    return f"{what}: {interrupt({'approve': what})}"


def agent(name: str, *replies: object, **options: Any) -> Graph:
    return build_agent(name=name, model=scripted_model(*replies), **options)


def all_of(*agents: Graph, name: str, **options: Any) -> Graph:
    rule = Rule("history_length >= 0", tuple(agent.name for agent in agents))
    routing = Routing((RulesRouting([rule]),))
    return build_supervisor(list(agents), model=scripted_model(), routing=routing, name=name, **options)


def waiting(saver: Any, *, asked: bool) -> Graph:
    """A team whose inner team has two agents that wait, beside one that answers."""

    def waits(name: str) -> Graph:
        replies = [ToolUse("approve", {"what": name})] if asked else [f"{name} is done."]
        return agent(name, *replies, tools=[approve])

    inner = all_of(waits("a"), waits("b"), agent("c", *(["C."] if asked else [])), name="inner")
    outer = agent("d", *(["D."] if asked else []))
    return all_of(inner, outer, name="outer", checkpointer=saver)


async def test_two_approvals_in_a_team_are_answered_one_by_one_by_another_process(database_url: str) -> None:
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        await saver.setup()
        result = await waiting(saver, asked=True).ainvoke(ask("?"), THREAD)
        pauses = {pause.value["approve"]: pause.id for pause in result["__interrupt__"]}
        assert set(pauses) == {"a", "b"}
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        result = await waiting(saver, asked=False).ainvoke(Command(resume={pauses["b"]: "yes"}), THREAD)
        assert [pause.value for pause in result["__interrupt__"]] == [{"approve": "a"}]
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        # Whoever answered before is not asked again: its script is empty.
        result = await waiting(saver, asked=False).ainvoke(Command(resume={pauses["a"]: "no"}), THREAD)
        assert result["messages"][-1].text == (
            "**inner**\n\n**a**\n\na is done.\n\n**b**\n\nb is done.\n\n**c**\n\nC.\n\n**d**\n\nD."
        )
        assert len(result["messages"]) == 2
        assert result["teams"]["inner"]["agents"] == ["a", "b", "c"]


async def test_rights_reach_the_agents_of_a_team() -> None:
    knowledge = Knowledge(source("x"))
    graph = all_of(all_of(agent("a", "A."), agent("b", "B.", retriever=knowledge), name="in"), name="out")
    context = RunContext(user="ana", tenant="t", scopes=frozenset({"s"}), request_id="r")
    await graph.ainvoke(ask("?"), context=context)
    assert knowledge.asked == [("?", context)]


async def test_a_team_remembers_the_conversation_but_not_a_turn_of_its_own() -> None:
    model = scripted_model("First.", Step("Second.", expect=lambda said: len(said) == 3))
    member = build_agent(name="a", model=model)
    graph = all_of(all_of(member, name="in"), name="out", checkpointer=InMemorySaver())
    await graph.ainvoke(ask("One?"), THREAD)
    result = await graph.ainvoke(ask("Two?"), THREAD)
    assert texts(result["messages"]) == ["One?", "First.", "Two?", "Second."]


def test_a_synchronous_caller_may_ask_a_team() -> None:
    graph = all_of(all_of(agent("a", "A."), name="in"), name="out")
    assert graph.invoke(ask("?"))["messages"][-1].text == "A."


async def test_teams_are_visible_subgraphs() -> None:
    graph = all_of(all_of(agent("a", "A."), name="in"), name="out")
    seen = {
        tuple(node.partition(":")[0] for node in namespace)
        async for namespace, _ in graph.astream(ask("?"), stream_mode="updates", subgraphs=True)  # type: ignore[misc]
    }
    assert seen == {(), ("in",), ("in", "a")}


async def test_time_travel_goes_back_before_a_handoff() -> None:
    card = AgentCard("b", "Knows b.")
    replies = (ToolUse("handoff_to_b", {"task": "x"}),)
    first = agent("a", *replies, handoffs=[card])
    second = agent("b", "Once.", "Twice.")
    routing = Routing((RulesRouting([Rule("history_length >= 0", ("a",))]),))
    saver = InMemorySaver()
    graph = build_supervisor([first, second], model=scripted_model(), routing=routing, checkpointer=saver)
    assert (await graph.ainvoke(ask("?"), THREAD))["messages"][-1].text == "Once."
    states = [state async for state in graph.aget_state_history(THREAD)]
    before = next(state for state in states if state.next == (HANDOFF,))
    result = await graph.ainvoke(None, before.config)
    assert result["messages"][-1].text == "Twice."
    assert [hop["agent"] for hop in result["hops"]] == ["a", "b"]
    assert [type(message) for message in result["messages"]][1:] == [AIMessage]


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_every_durability_keeps_hops(durability: Any) -> None:
    first = agent("a", ToolUse("handoff_to_b", {"task": "x"}), handoffs=[AgentCard("b")])
    routing = Routing((RulesRouting([Rule("history_length >= 0", ("a",))]),))
    graph = build_supervisor(
        [first, agent("b", "B.")], model=scripted_model(), routing=routing, checkpointer=InMemorySaver()
    )
    await graph.ainvoke(ask("?"), THREAD, durability=durability)
    state = await graph.aget_state(THREAD)
    assert [hop["agent"] for hop in state.values["hops"]] == ["a", "b"]
