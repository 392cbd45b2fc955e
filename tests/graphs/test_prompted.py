"""The prompt versions used are on every answer and in every trace."""

from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from agentkit import build_agent, build_supervisor, tool
from agentkit.graphs.bridge import Graph
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.routing import LLMRouting, Routing, Rule, RulesRouting
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.chat import ChatService
from agentkit.testing import ToolUse, scripted_model

from .helpers import Knowledge, ask, source

PROMPTS = PromptManager(search_path("prompts"))


class Trace(AsyncCallbackHandler):
    """Keeps the metadata of every run, as a tracing sink is told it."""

    def __init__(self) -> None:
        self.models: list[dict[str, Any]] = []
        self.chains: dict[str, dict[str, Any]] = {}

    async def on_chat_model_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
        self.models.append(dict(metadata or {}))

    async def on_chain_start(self, *args: Any, metadata: Any = None, **kwargs: Any) -> None:
        self.chains.setdefault(kwargs.get("name") or "", dict(metadata or {}))


@tool(name="add")
def add(a: int, b: int) -> int:
    """Add two integers."""
    return a + b


def agent(name: str, *replies: object, retriever: Any = None, prompt: str | None = None) -> Graph:
    return build_agent(
        name=name,
        model=scripted_model(*replies),
        tools=[add],
        prompt=PROMPTS.get("agents/python") if prompt is None else prompt,
        retriever=retriever,
        sources_prompt=lambda text: PROMPTS.get("retrieval", sources=text),
    )


def team(*agents: Graph, to: list[str] | None = None, model: Any = None, **options: Any) -> Graph:
    strategy = RulesRouting([Rule("1 == 1", tuple(to))]) if to else None
    return build_supervisor(
        list(agents),
        model=model or scripted_model("Hello."),
        prompt=PROMPTS.get("supervisor", agents="- python"),
        routing=Routing((strategy,) if strategy else ()),
        name="team",
        **options,
    )


async def run(graph: Graph, trace: Trace) -> tuple[BaseMessage, list[BaseMessage]]:
    config: Any = {"callbacks": [trace], "metadata": {"request_id": "r1"}, "configurable": {"thread_id": "t"}}
    result = await graph.ainvoke(ask("2 + 3?"), config)
    return result["messages"][-1], result["messages"]


async def test_an_agents_messages_and_model_calls_carry_its_prompts() -> None:
    trace = Trace()
    graph = agent("python", ToolUse("add", {"a": 2, "b": 3}), "Five.", retriever=Knowledge(source("S.")))
    answer, messages = await run(graph, trace)
    used = ["agents/python@1", "retrieval@1"]
    assert prompts_of(answer) == used
    assert [prompts_of(message) for message in messages] == [[], used, [], used]
    assert [(call["prompts"], call["request_id"]) for call in trace.models] == [(used, "r1")] * 2


async def test_text_that_is_no_prompt_leaves_everything_as_it_was() -> None:
    trace = Trace()
    answer, _ = await run(agent("python", "Five.", prompt="You add."), trace)
    assert "prompts" not in answer.response_metadata
    assert "prompts" not in trace.models[0]


async def test_one_agent_of_a_team() -> None:
    trace = Trace()
    graph = team(agent("python", "Five."), to=["python"])
    answer, _ = await run(graph, trace)
    assert prompts_of(answer) == ["agents/python@1"]
    assert trace.chains["team"]["prompts"] == ["supervisor@1", "agents/python@1"]
    assert trace.models[0]["prompts"] == ["agents/python@1"]
    assert trace.models[0]["request_id"] == "r1"


async def test_the_supervisors_own_answer() -> None:
    trace = Trace()
    answer, _ = await run(team(agent("python")), trace)
    assert prompts_of(answer) == ["supervisor@1"]
    assert (trace.models[0]["prompts"], trace.models[0]["request_id"]) == (["supervisor@1"], "r1")


async def test_the_model_that_routes_is_traced_with_its_own_prompt() -> None:
    trace = Trace()
    model = scripted_model({"agent": "python"})
    routing = Routing((LLMRouting(model, lambda agents: PROMPTS.get("routing", agents=agents)),))
    graph = build_supervisor([agent("python", "Five.")], model=model, routing=routing)
    answer, _ = await run(graph, trace)
    assert [call["prompts"] for call in trace.models] == [["routing@1"], ["agents/python@1"]]
    assert trace.models[0]["request_id"] == "r1"
    assert prompts_of(answer) == ["agents/python@1"]


@pytest.mark.parametrize("combined", [False, True])
async def test_several_agents(combined: bool) -> None:
    trace = Trace()
    combine = (lambda text: PROMPTS.get("combine", answers=text)) if combined else None
    two = agent("second", "Two.", retriever=Knowledge(source("S.")))
    graph = team(
        agent("first", "One."), two, to=["first", "second"], model=scripted_model("Both."), combine=combine
    )
    answer, _ = await run(graph, trace)
    used = ["agents/python@1", "retrieval@1"]
    assert prompts_of(answer) == (["combine@1", *used] if combined else used)
    if combined:
        assert trace.models[-1]["prompts"] == ["combine@1"]


async def test_the_answer_of_a_turn_has_them_and_a_kept_thread_too() -> None:
    saver = InMemorySaver()
    graph = team(agent("python", "Five."), to=["python"], checkpointer=saver)
    answer = await ChatService(graph).ask("2 + 3?", thread_id="t")
    assert answer.prompts == ["agents/python@1"]
    assert answer.to_dict()["prompts"] == ["agents/python@1"]
    state = await graph.aget_state({"configurable": {"thread_id": "t"}})
    assert prompts_of(state.values["messages"][-1]) == ["agents/python@1"]
