"""LangGraph's own tools on our graphs: subgraphs in streams, time travel, durability."""

from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.config import get_config
from langgraph.types import Command

from agentkit import build_agent, build_supervisor, tool
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.testing import ToolUse, scripted_model

from .helpers import ask, texts

THREAD: Any = {"configurable": {"thread_id": "t"}}


@tool(name="restart")
def restart(pod: str) -> str:
    """Restart a pod."""
    return f"{pod} runs"


def team(saver: Any = None, *, approvals: bool = False, **replies: list[Any]) -> Graph:
    agents = [
        build_agent(
            name=name,
            model=scripted_model(*said),
            tools=[restart],
            approvals={"restart": approvals},
        )
        for name, said in replies.items()
    ]
    routing = Routing((RulesRouting([Rule("1 == 1", tuple(replies))]),))
    return build_supervisor(agents, model=scripted_model(), routing=routing, checkpointer=saver)


async def test_agents_are_subgraphs_in_the_stream() -> None:
    graph = team(a=[ToolUse("restart", {"pod": "web"}), "A."], b=["B."])
    seen = [
        (namespace, next(iter(update)))
        async for namespace, update in graph.astream(ask("?"), stream_mode="updates", subgraphs=True)
    ]
    inside = {(namespace[0].split(":")[0], node) for namespace, node in seen if namespace}
    assert {("a", "model"), ("a", "tools"), ("b", "model")} <= inside
    assert next(node for namespace, node in seen if not namespace) == "supervisor"


@pytest.mark.parametrize("kind", ["memory", "postgres"])
async def test_an_earlier_checkpoint_is_a_fork_to_go_on_from(kind: str, database_url: str) -> None:
    if kind == "memory":
        await _forks(InMemorySaver())
        return
    async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
        await saver.setup()
        await _forks(saver)


async def _forks(saver: BaseCheckpointSaver[Any]) -> None:
    graph = team(saver, a=["One.", "Two.", "Two, told otherwise."])
    await graph.ainvoke(ask("first"), THREAD)
    await graph.ainvoke(ask("second"), THREAD)
    history = [state async for state in graph.aget_state_history(THREAD)]
    assert texts(history[0].values["messages"]) == ["first", "One.", "second", "Two."]
    before = next(state for state in history if state.values and len(state.values["messages"]) == 2)
    forked = await graph.ainvoke(ask("other"), before.config)
    assert texts(forked["messages"]) == ["first", "One.", "other", "Two, told otherwise."]
    assert texts((await graph.aget_state(THREAD)).values["messages"]) == texts(forked["messages"])
    kept = await graph.aget_state(history[0].config)
    assert texts(kept.values["messages"]) == ["first", "One.", "second", "Two."]  # history is not rewritten


async def test_going_back_to_before_a_decision_asks_again() -> None:
    saver = InMemorySaver()
    call = ToolUse("restart", {"pod": "web"})
    graph = team(saver, approvals=True, a=[call, "Restarted.", call, "Left alone."])
    paused = await graph.ainvoke(ask("?"), THREAD)
    first = paused["__interrupt__"][0].id
    done = await graph.ainvoke(Command(resume={first: {"type": "approve"}}), THREAD)
    assert texts(done["messages"]) == ["?", "Restarted."]
    history = [state async for state in graph.aget_state_history(THREAD)]
    before = next(state for state in history if state.next == ("a",))
    replayed = await graph.ainvoke(None, before.config)
    asked = replayed["__interrupt__"][0].id
    done = await graph.ainvoke(Command(resume={asked: {"type": "reject"}}), THREAD)
    assert texts(done["messages"]) == ["?", "Left alone."]


class Writes(InMemorySaver):
    """Counts the checkpoints of the conversation, not those inside the agents."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    async def aput(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        self.count += not config["configurable"].get("checkpoint_ns")
        return await super().aput(config, checkpoint, metadata, new_versions)


@pytest.mark.parametrize(
    ("durability", "given", "seen", "writes"),
    [
        ("sync", None, "sync", 4),
        ("async", None, "async", 4),
        ("exit", None, "exit", 1),
        ("sync", "exit", "exit", 1),
        (None, None, None, 4),
    ],
)
async def test_durability_holds_for_every_run_and_the_agents_in_it(
    durability: Any, given: Any, seen: str | None, writes: int
) -> None:
    noted: list[str | None] = []

    @tool(name="note")
    def note() -> str:
        """Note how the run is stored."""
        noted.append(get_config()["configurable"].get("__pregel_durability"))
        return "ok"

    saver = Writes()
    call = ToolUse("note", {})
    agent = build_agent(
        name="a", model=scripted_model(call, "One.", call, "Two.", call, "Three."), tools=[note]
    )
    routing = Routing((RulesRouting([Rule("1 == 1", ("a",))]),))
    graph = build_supervisor(
        [agent], model=scripted_model(), routing=routing, checkpointer=saver, durability=durability
    )
    options = {} if given is None else {"durability": given}
    await graph.ainvoke(ask("?"), THREAD, **options)
    assert saver.count == writes
    async for _ in graph.astream(ask("?"), THREAD, **options):
        pass
    graph.invoke(ask("?"), {"configurable": {"thread_id": "u"}}, **options)
    assert noted == [seen] * 3


async def test_without_a_checkpointer_durability_says_nothing() -> None:
    agent = build_agent(name="a", model=scripted_model("One."))
    routing = Routing((RulesRouting([Rule("1 == 1", ("a",))]),))
    graph = build_supervisor([agent], model=scripted_model(), routing=routing, durability="sync")
    assert texts((await graph.ainvoke(ask("?")))["messages"]) == ["?", "One."]


async def test_what_waits_is_kept_with_every_durability() -> None:
    for durability in ("sync", "async", "exit"):
        saver = InMemorySaver()
        agent = build_agent(
            name="a",
            model=scripted_model(ToolUse("restart", {"pod": "web"}), "Restarted."),
            tools=[restart],
            approvals={"restart": True},
        )
        routing = Routing((RulesRouting([Rule("1 == 1", ("a",))]),))
        graph = build_supervisor(
            [agent], model=scripted_model(), routing=routing, checkpointer=saver, durability=durability
        )
        paused = await graph.ainvoke(ask("?"), THREAD)
        answer = {paused["__interrupt__"][0].id: {"type": "approve"}}
        done = await graph.ainvoke(Command(resume=answer), THREAD)
        assert texts(done["messages"]) == ["?", "Restarted."]
