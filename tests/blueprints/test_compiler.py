"""A blueprint's keys reach the graph: compiled and run on scripted models."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.blueprints import load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.context import RunContext
from agentkit.errors import AgentTimeoutError, ConfigurationError
from agentkit.events import EventBus
from agentkit.graphs.bridge import Graph
from agentkit.llm.gateway import LLMGateway
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.weights import WeightsStore

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: pair
models:
  main: {{provider: scripted, options: {{replies: {main}}}}}
  one: {{provider: scripted, options: {{replies: [One.]}}}}
  two: {{provider: scripted, options: {{replies: [Two.]}}}}
routing: {routing}
supervisor: {supervisor}
agents:
  - {{name: first, description: One., model: one, prompt: {{ref: agents/python}}, limits: {limits}}}
  - {{name: second, description: Two., model: two, prompt: {{ref: agents/python}}}}
"""


def compiled(
    folder: Path, *, main: str = "[]", routing: str, supervisor: str = "{}", limits: str = "{}"
) -> Graph:
    file = folder / "pair.yaml"
    file.write_text(BLUEPRINT.format(main=main, routing=routing, supervisor=supervisor, limits=limits))
    blueprint = load(file, prompts=PromptManager(search_path("prompts")))
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(folder))
    parts = Parts(gateway, None, None, InMemorySaver(), EventBus(), None)
    return compile_blueprint(blueprint, parts)


async def run(graph: Graph, text: str = "Both?", **context: Any) -> dict[str, Any]:
    thread: Any = {"configurable": {"thread_id": "t"}}
    return await graph.ainvoke({"messages": [("user", text)]}, thread, context=RunContext(**context))


RULE = "{strategy: [rules, llm], parallel: 2, rules: [{when: \"user == 'ana'\", to: [second, first]}]}"


async def test_a_rule_sends_to_several_and_another_user_to_the_model(tmp_path: Path) -> None:
    result = await run(compiled(tmp_path, routing=RULE), user="ana")
    assert result["messages"][-1].text == "**second**\n\nTwo.\n\n**first**\n\nOne."
    assert result["route"]["method"] == "rules"
    result = await run(compiled(tmp_path, routing=RULE, main="[{agents: [first]}]"), user="bob")
    assert (result["messages"][-1].text, result["route"]["method"]) == ("One.", "llm")


async def test_the_model_is_told_how_many_it_may_choose(tmp_path: Path) -> None:
    asked = '[{text: \'{"agents": ["second", "first"]}\', expect: "Both?"}]'
    graph = compiled(tmp_path, routing="{strategy: [llm], parallel: 2}", main=asked)
    result = await run(graph)
    assert result["route"]["agents"] == ["second", "first"]
    packaged = PromptManager(search_path("prompts"))
    assert "at most 2" in packaged.get("routing_several", agents="", limit="2")


async def test_the_supervisor_combines_with_the_packaged_prompt(tmp_path: Path) -> None:
    asked = '[{text: One and two., expect: "<answers>"}]'
    graph = compiled(tmp_path, routing=RULE, supervisor="{combine: {ref: combine}}", main=asked)
    assert (await run(graph, user="ana"))["messages"][-1].text == "One and two."


async def test_an_agents_time_is_limited(tmp_path: Path) -> None:
    routing = "{rules: [{when: 1 == 1, to: first}], strategy: [rules]}"
    graph = compiled(tmp_path, routing=routing, limits="{timeout: 0.001ms}")
    with pytest.raises(AgentTimeoutError, match="The agent 'first' did not answer within"):
        await run(graph)


async def test_approval_and_durability_reach_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "till.py").write_text(
        'def refund(amount: int) -> str:\n    """Pay back."""\n    return "paid"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    routing = '{strategy: [rules], rules: [{when: "1 == 1", to: first}]}'
    file = tmp_path / "pair.yaml"
    compiled(tmp_path, routing=routing)
    approval = "{when: args.amount > 100, decisions: [reject], description: Pay it.}"
    calls = "[{tool: refund, arguments: {amount: 5}}, {tool: refund, arguments: {amount: 500}}]"
    text = (
        file.read_text()
        .replace("replies: [One.]", f"replies: {calls}")
        .replace(
            "limits: {}",
            f'tools: [{{use: "till:refund", approval: {approval}}}]',
        )
        .replace("models:", "security: {allowed_modules: [till]}\nruntime: {durability: exit}\nmodels:")
    )
    file.write_text(text)
    blueprint = load(file, prompts=PromptManager(search_path("prompts")))
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(tmp_path))
    graph = compile_blueprint(blueprint, Parts(gateway, None, None, InMemorySaver(), EventBus(), None))
    assert graph.durability == "exit"
    (pause,) = (await run(graph))["__interrupt__"]
    assert (pause.value["args"], pause.value["description"]) == ({"amount": 500}, "Pay it.")
    assert pause.response_schema["properties"]["type"]["const"] == "reject"
    file.write_text(text.replace("args.amount", "args.amout"))
    blueprint = load(file, prompts=PromptManager(search_path("prompts")))
    with pytest.raises(ConfigurationError, match=r"Did you mean 'args\.amount'\?"):
        compile_blueprint(blueprint, Parts(gateway, None, None, InMemorySaver(), EventBus(), None))
