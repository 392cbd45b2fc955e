import asyncio

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit import build_agent, build_supervisor
from agentkit.context import RunContext
from agentkit.errors import ConfigurationError, DuplicateNameError, ProviderError
from agentkit.events import Event, EventBus, RouteDecided
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, SemanticRouting
from agentkit.testing import scripted_model

from .helpers import Knowledge, TopicEmbeddings, ask, source, texts


def team(*, kubernetes: object = "Check the logs.", direct: object = "Hello!", **options: object) -> Graph:
    agents = [
        build_agent(
            name="kubernetes",
            model=scripted_model(kubernetes),
            retriever=Knowledge(source("kubectl logs")),
            description="pods",
            examples=["pod restarts"],
        ),
        build_agent(name="python", model=scripted_model("Use yield."), description="python code"),
    ]
    routing = Routing((SemanticRouting(TopicEmbeddings(), threshold=0.5, margin=0.1),))
    return build_supervisor(agents, model=scripted_model(direct), routing=routing, name="team", **options)


async def test_a_question_goes_to_the_agent_it_is_about() -> None:
    result = await team().ainvoke(ask("my pod crashes"))
    assert texts(result["messages"]) == ["my pod crashes", "Check the logs."]
    assert result["messages"][-1].name == "kubernetes"
    assert result["route"]["agents"] == ["kubernetes"]
    assert result["route"]["method"] == "semantic"
    assert result["route"]["reason"].startswith("similarity 1.00 to kubernetes, next python")
    assert [found["text"] for found in result["sources"]] == ["kubectl logs"]


async def test_the_supervisor_answers_itself_when_nobody_fits() -> None:
    result = await team().ainvoke(ask("hello"))
    assert texts(result["messages"]) == ["hello", "Hello!"]
    assert result["messages"][-1].name == "supervisor"
    assert result["route"]["agents"] == []
    assert result["route"]["method"] == "direct"


def test_synchronous_callers_get_the_same() -> None:
    assert team().invoke(ask("my pod"))["messages"][-1].text == "Check the logs."
    updates = list(team().stream(ask("my pod"), stream_mode="updates"))
    assert [next(iter(update)) for update in updates] == ["supervisor", "kubernetes"]


async def test_route_and_sources_are_announced_before_the_answer() -> None:
    stream = team().astream(ask("my pod"), stream_mode=["custom", "messages"], subgraphs=True)
    kinds = [part["type"] if mode == "custom" else "token" async for _, mode, part in stream]
    assert kinds[:2] == ["route", "sources"]
    assert kinds.count("token") > 1


async def test_a_turn_starts_with_no_sources_of_the_last_one() -> None:
    graph = team(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    first = await graph.ainvoke(ask("my pod"), config)
    second = await graph.ainvoke(ask("hello"), config)
    assert len(first["sources"]) == 1
    assert second["sources"] == []
    assert texts(second["messages"]) == ["my pod", "Check the logs.", "hello", "Hello!"]


async def test_the_decision_is_an_event_with_the_run_it_belongs_to() -> None:
    events: list[Event] = []
    bus = EventBus()
    bus.subscribe(events.append)
    await team(events=bus).ainvoke(ask("my pod"), context=RunContext(request_id="r1"))
    (decided,) = [event for event in events if isinstance(event, RouteDecided)]
    assert (decided.blueprint, decided.agents, decided.method, decided.request_id) == (
        "team",
        ("kubernetes",),
        "semantic",
        "r1",
    )
    assert decided.scores["kubernetes"] == max(decided.scores.values()) > 0.9
    assert decided.reason.startswith("similarity 1.00 to kubernetes")


async def test_an_agent_that_fails_fails_the_turn_and_the_thread_goes_on() -> None:
    graph = team(kubernetes=ProviderError("down", provider="x"), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    with pytest.raises(ProviderError, match="down"):
        await graph.ainvoke(ask("my pod"), config)
    result = await graph.ainvoke(ask("hello"), config)
    assert texts(result["messages"]) == ["my pod", "hello", "Hello!"]


async def test_concurrent_runs_do_not_mix() -> None:
    agents = [
        build_agent(name=name, model=scripted_model(*[name] * 20), description=name)
        for name in ("pod", "python")
    ]
    routing = Routing((SemanticRouting(TopicEmbeddings()),))
    graph = build_supervisor(agents, model=scripted_model(), routing=routing)
    results = await asyncio.gather(*(graph.ainvoke(ask(name)) for name in ("pod", "python") * 20))
    assert [result["messages"][-1].text for result in results] == ["pod", "python"] * 20


def test_names_must_be_distinct_and_not_the_supervisors() -> None:
    agent = build_agent(name="a", model=scripted_model())
    with pytest.raises(DuplicateNameError, match="The agent 'a' is registered already"):
        build_supervisor([agent, agent], model=scripted_model())
    with pytest.raises(ConfigurationError, match="cannot be called 'supervisor'"):
        build_supervisor([build_agent(name="supervisor", model=scripted_model())], model=scripted_model())
    with pytest.raises(ConfigurationError, match="needs at least one agent"):
        build_supervisor([], model=scripted_model())


async def test_without_a_routing_the_model_is_asked_with_the_packaged_prompt() -> None:
    model = scripted_model({"agent": "python"})
    agent = build_agent(name="python", model=scripted_model("Use yield."), description="Python code.")
    result = await build_supervisor([agent], model=model).ainvoke(ask("generators?"))
    assert result["messages"][-1].text == "Use yield."
    assert "- python: Python code." in model.calls[0][0].text


async def test_old_turns_are_left_out_whole_but_the_question_is_not() -> None:
    model = scripted_model("ok")
    agent = build_agent(name="python", model=model, description="python", history_tokens=50)
    routing = Routing((SemanticRouting(TopicEmbeddings()),))
    graph = build_supervisor([agent], model=scripted_model(), routing=routing)
    history = [("user", "old " * 200), ("assistant", "old answer"), ("user", "recent"), ("assistant", "sure")]
    question = "python " * 500
    result = await graph.ainvoke({"messages": [*history, ("user", question)]})
    assert texts(model.calls[0]) == ["recent", "sure", question]
    assert len(result["messages"]) == 6
