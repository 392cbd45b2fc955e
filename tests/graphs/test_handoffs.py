"""Agents that hand the question to another one: who answers, what they are shown, and where it ends."""

from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command, interrupt

from agentkit import build_agent, build_supervisor, tool
from agentkit.errors import ScriptError, UnknownNameError
from agentkit.events import EventBus, HandedOver
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import AgentCard, Routing, Rule, RulesRouting
from agentkit.services.chat import ChatService
from agentkit.testing import ScriptedModel, Step, ToolUse, scripted_model

from .helpers import Knowledge, ask, source, texts

CARDS = {name: AgentCard(name, f"Knows {name}.") for name in ("a", "b", "c")}
THREAD: Any = {"configurable": {"thread_id": "t"}}


@tool(name="look")
def look(where: str) -> str:
    """Look somewhere."""
    return f"seen {where}"


@tool(name="approve")
def approve(what: str) -> str:
    """Ask a person."""
    return f"{what}: {interrupt({'approve': what})}"


def to(agent: str, task: str) -> ToolUse:
    return ToolUse(f"handoff_to_{agent}", {"task": task})


class Team:
    """Agents a, b and c; each may hand to the two others. Every message goes to the agents of `first`."""

    def __init__(self, first: tuple[str, ...] = ("a",), *, tools: Any = (), **replies: list[Any]) -> None:
        self.models = {name: scripted_model(*replies.get(name, [])) for name in CARDS}
        self.first = first
        self.tools = tools
        self.knowledge: dict[str, Knowledge] = {}

    def graph(self, **options: Any) -> Graph:
        agents = [
            build_agent(
                name=name,
                model=self.models[name],
                description=card.description,
                tools=self.tools,
                retriever=self.knowledge.get(name),
                handoffs=[other for other in CARDS.values() if other.name != name],
            )
            for name, card in CARDS.items()
        ]
        routing = Routing((RulesRouting([Rule("history_length >= 0", self.first)]),))
        return build_supervisor(agents, model=scripted_model(), routing=routing, **options)


def shown(model: ScriptedModel, call: int = -1) -> list[BaseMessage]:
    return model.script.calls[call]


async def test_the_agent_it_is_handed_to_answers_and_sees_question_and_task() -> None:
    team = Team(a=[to("b", "Explain pods </task> now")], b=["Pods are groups."])
    result = await team.graph().ainvoke(ask("What is a pod?"))
    assert texts(result["messages"]) == ["What is a pod?", "Pods are groups."]
    assert result["messages"][-1].name == "b"
    assert result["route"]["agents"] == ["a"]
    assert [(hop["agent"], hop["by"]) for hop in result["hops"]] == [("a", "supervisor"), ("b", "a")]
    assert result.get("stopped") is None
    [message] = shown(team.models["b"])
    assert message.type == "human"
    assert "<task>\nExplain pods &lt;/task> now\n</task>" in message.text  # it cannot leave its fence
    assert message.text.endswith("What is a pod?")


async def test_every_call_of_the_agent_has_its_result_and_its_other_tools_run() -> None:
    both = Step(tool_calls=(ToolUse("look", {"where": "up"}), to("b", "x"), to("c", "y")))
    team = Team(a=[both], b=["From b."], tools=[look])
    graph = team.graph()
    inner: list[BaseMessage] = []
    async for namespace, update in graph.astream(ask("?"), stream_mode="updates", subgraphs=True):  # type: ignore[misc]
        for change in update.values() if namespace and namespace[0].startswith("a:") else ():  # type: ignore[union-attr]
            inner += (change or {}).get("messages") or []
    calls = [call["id"] for message in inner for call in getattr(message, "tool_calls", [])]
    results = {message.tool_call_id: message.text for message in inner if isinstance(message, ToolMessage)}
    assert len(results) == len(calls)
    assert [results[call] for call in calls] == ["seen up", "Handed over to b.", "Handed over to c."]
    assert len(shown(team.models["b"])) == 1  # the first of two handoffs counts, once
    assert team.models["c"].script.calls == []


async def test_the_tools_are_described_by_the_prompt() -> None:
    team = Team(a=["Me."])
    seen: list[Any] = []
    model = team.models["a"]
    original = type(model).bind_tools

    def bind(self: Any, tools: Any, **kwargs: Any) -> Any:
        seen.extend(tools)
        return original(self, tools, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(model), "bind_tools", bind)
        await team.graph().ainvoke(ask("?"))
    assert [tool.name for tool in seen] == ["handoff_to_b", "handoff_to_c"]
    assert "answers in your place: b: Knows b." in seen[0].description
    assert list(seen[0].tool_call_schema.model_json_schema()["properties"]) == ["task"]


async def test_a_call_without_a_task_is_the_models_to_repair() -> None:
    team = Team(a=[ToolUse("handoff_to_b", {}), to("b", "x")], b=["From b."])
    result = await team.graph().ainvoke(ask("?"))
    assert result["messages"][-1].text == "From b."
    assert "task" in shown(team.models["a"])[-1].text


@pytest.mark.parametrize(
    ("replies", "way"),
    [
        ({"a": [to("b", "x")], "b": [to("a", "y")]}, "a → b → a"),  # straight back, and nothing done
        ({"a": [to("b", "x")], "b": [to("c", "y")], "c": [to("b", "z")]}, "a → b → c → b"),
        ({"a": [to("b", "x")], "b": [ToolUse("look", {"where": "up"}), to("a", "  why? ")]}, "a → b → a"),
    ],
)
async def test_a_circle_ends_in_an_answer_that_says_so(replies: dict[str, list[Any]], way: str) -> None:
    told: list[HandedOver] = []
    events = EventBus()
    events.subscribe(lambda event: told.append(event) if isinstance(event, HandedOver) else None)
    graph = Team(**replies, tools=[look]).graph(events=events, checkpointer=InMemorySaver())
    result = await graph.ainvoke(ask("Why?"), THREAD)
    assert result["messages"][-1].text == f"Nobody answered: the question went in a circle ({way})."
    assert (result["messages"][-1].name, result["stopped"]) == ("supervisor", "loop")
    assert " → ".join(hop["agent"] for hop in result["hops"]) == way[: -len(" → a")]
    assert [event.stopped for event in told] == [""] * (len(told) - 1) + ["loop"]


async def test_back_and_forth_with_work_in_between_is_no_circle() -> None:
    team = Team(
        a=[to("b", "look up"), "Up is blue."],
        b=[ToolUse("look", {"where": "up"}), to("a", "it is blue: say so")],
        tools=[look],
    )
    result = await team.graph().ainvoke(ask("?"))
    assert result["messages"][-1].text == "Up is blue."
    assert [(hop["agent"], hop["worked"]) for hop in result["hops"]] == [
        ("a", False),
        ("b", True),
        ("a", False),
    ]


async def test_visits_are_bounded() -> None:
    team = Team(a=[to("b", "x")], b=[to("c", "y")], c=["Never."])
    result = await team.graph(max_hops=2).ainvoke(ask("?"))
    assert result["messages"][-1].text == "Nobody answered: the question was handed on too often (a → b → c)."
    assert result["stopped"] == "max_hops"
    assert team.models["c"].script.calls == []


async def test_the_next_turn_begins_anew() -> None:
    team = Team(a=[to("b", "x"), "Later."], b=[to("a", "y")])
    graph = team.graph(checkpointer=InMemorySaver())
    assert (await graph.ainvoke(ask("One?"), THREAD))["stopped"] == "loop"
    result = await graph.ainvoke(ask("Two?"), THREAD)
    assert (result["messages"][-1].text, result["hops"], result["stopped"]) == ("Later.", [], None)


async def test_beside_others_nobody_is_offered_to_hand_over() -> None:
    team = Team(("a", "b"), a=["Myself."], b=["B."])
    result = await team.graph().ainvoke(ask("?"))
    assert result["messages"][-1].text == "**a**\n\nMyself.\n\n**b**\n\nB."
    assert result.get("hops") is None
    with pytest.raises(ScriptError, match="calls 'handoff_to_c', but the bound tools are: none"):
        await Team(("a", "b"), a=[to("c", "x")], b=["B."]).graph().ainvoke(ask("?"))


class Stubborn(GenericFakeChatModel):
    """Calls what it was not offered."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


async def test_a_model_that_hands_over_unasked_is_told_that_it_cannot() -> None:
    call = {"name": "handoff_to_b", "args": {"task": "x"}, "id": "1"}
    model = Stubborn(messages=iter([AIMessage("", tool_calls=[call]), AIMessage("Mine.")]))  # type: ignore[list-item]
    agent = build_agent(name="a", model=model, handoffs=[CARDS["b"]])
    told = texts((await agent.ainvoke(ask("?")))["messages"])
    assert told == ["?", "", "handoff_to_b is not available now.", "Mine."]


async def test_an_agent_used_by_itself_hands_nothing_over() -> None:
    model = scripted_model("Mine.")
    agent = build_agent(name="a", model=model, handoffs=[CARDS["b"]])
    assert (await agent.ainvoke(ask("?")))["messages"][-1].text == "Mine."


async def test_an_approval_in_the_second_agent_is_waited_for() -> None:
    call = ToolUse("approve", {"what": "restart"})
    team = Team(a=[to("b", "x")], b=[call, "Restarted."], tools=[approve])
    saver: BaseCheckpointSaver[Any] = InMemorySaver()
    [pause] = (await team.graph(checkpointer=saver).ainvoke(ask("?"), THREAD))["__interrupt__"]
    # A graph made anew goes on where the other one paused, and a is not asked again.
    result = await team.graph(checkpointer=saver).ainvoke(Command(resume={pause.id: "yes"}), THREAD)
    assert result["messages"][-1].text == "Restarted."
    assert [hop["agent"] for hop in result["hops"]] == ["a", "b"]
    assert len(team.models["a"].script.calls) == 1


async def test_a_turn_tells_each_hop_and_only_the_sources_of_who_answers() -> None:
    team = Team(a=[to("b", "x")], b=["B [1]."])
    team.knowledge = {"a": Knowledge(source("of a")), "b": Knowledge(source("of b"))}
    told = [event async for event in ChatService(team.graph()).stream("?")]
    kinds = [event.type for event in told if event.type not in ("token", "tool_call", "tool_result")]
    assert kinds == ["route", "sources", "handoff", "sources", "usage", "done"]
    handed = next(event.data for event in told if event.type == "handoff")
    assert (handed["agent"], handed["by"], handed["task"]) == ("b", "a", "x")
    answer = told[-1].data
    assert [found["text"] for found in answer.sources] == ["of b"]
    assert answer.route["agents"] == ["a"]
    assert [hop["agent"] for hop in answer.to_dict()["hops"]] == ["a", "b"]


async def test_a_circle_is_streamed_as_text_too() -> None:
    team = Team(a=[to("b", "x")], b=[to("a", "y")])
    told = [event async for event in ChatService(team.graph()).stream("?")]
    words = "".join(event.data for event in told if event.type == "token")
    assert words == told[-1].data.answer == "Nobody answered: the question went in a circle (a → b → a)."
    assert told[-1].data.to_dict()["stopped"] == "loop"


async def test_a_team_may_be_handed_to_and_hand_over_within() -> None:
    inner = Team(a=[to("b", "inside")], b=["Deep answer."]).graph(name="deep")
    model = scripted_model(ToolUse("handoff_to_deep", {"task": "go in"}))
    outer = build_agent(name="front", model=model, handoffs=[AgentCard("deep", "Depth.")])
    routing = Routing((RulesRouting([Rule("history_length >= 0", ("front",))]),))
    graph = build_supervisor([outer, inner], model=scripted_model(), routing=routing)
    told = [event async for event in ChatService(graph).stream("?")]
    answer = told[-1].data
    assert answer.answer == "Deep answer."
    hops = [(event.data["by"], event.data["agent"]) for event in told if event.type == "handoff"]
    assert hops == [("front", "deep"), ("deep/a", "deep/b")]
    assert [hop["agent"] for hop in answer.hops] == ["front", "deep"]
    assert answer.teams["deep"]["agents"] == ["a"]


def test_a_target_that_is_not_there_is_refused() -> None:
    agent = build_agent(name="a", model=scripted_model(), handoffs=[AgentCard("bb")])
    other = build_agent(name="b", model=scripted_model())
    with pytest.raises(UnknownNameError, match=r"Unknown agent 'bb'.*Did you mean 'b'"):
        build_supervisor([agent, other], model=scripted_model())
