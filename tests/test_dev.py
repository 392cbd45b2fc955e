"""The graph LangGraph's own server is given: without our checkpointer, copied with its own."""

import asyncio
import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit import build_agent
from agentkit.testing import scripted_model
from agentkit.wiring import dev

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {provider: scripted, options: {replies: [WORD, again]}}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: clerk}]}
agents: [{name: clerk, description: Answers., prompt: {ref: agents/python}}]
"""
THREAD: Any = {"configurable": {"thread_id": "t"}}
ASKED: Any = {"messages": [("user", "hello")]}


async def test_a_graph_for_a_server_with_a_checkpointer_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENTKIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setattr(dev, "_FRESH", 0.0)
    file = tmp_path / "team.yaml"
    file.write_text(BLUEPRINT.replace("WORD", "first"))
    make = dev.served(file)
    graphs = await asyncio.gather(*(make() for _ in range(5)))
    assert all(graph is graphs[0] for graph in graphs)
    assert graphs[0].checkpointer is None  # no database was opened: postgres is the default
    served = graphs[0].copy(update={"checkpointer": InMemorySaver(), "store": None})
    result = await served.ainvoke(ASKED, THREAD)
    assert result["messages"][-1].text == "first"
    result = await served.ainvoke(ASKED, THREAD)
    assert [message.text for message in result["messages"]] == ["hello", "first", "hello", "again"]
    file.write_text(BLUEPRINT.replace("WORD", "second"))
    assert (await (await make()).ainvoke(ASKED))["messages"][-1].text == "second"
    await (await dev._kit()).aclose()


async def test_a_graph_can_be_copied_with_a_configuration() -> None:
    agent = build_agent(name="clerk", model=scripted_model("fine"), description="Answers.")
    tagged = agent.with_config({"tags": ["x"]})
    assert tagged.about == agent.about
    assert tagged.config is not None
    assert tagged.config["tags"] == ["x"]
    assert (await tagged.ainvoke(ASKED))["messages"][-1].text == "fine"


def test_langgraph_json_names_a_factory() -> None:
    config = json.loads((Path(__file__).parents[1] / "langgraph.json").read_text())
    for place in config["graphs"].values():
        module, _, name = place.partition(":")
        factory = vars(importlib.import_module(module))[name]
        assert inspect.iscoroutinefunction(factory)
        assert not inspect.signature(factory).parameters
