"""The keys `history`, `returns` and `supervisor.summary` reach the graph, and are checked."""

from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.blueprints import load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.context import RunContext
from agentkit.errors import BlueprintError
from agentkit.events import EventBus
from agentkit.llm.gateway import LLMGateway
from agentkit.llm.providers.scripted import Script
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.weights import WeightsStore

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: solo
models: {main: {provider: scripted}, small: {provider: scripted}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: a}]}
supervisor: {summary: SUMMARY}
agents:
  - {name: a, description: All., prompt: {ref: agents/python}, history: task_and_summary, returns: full}
"""


def written(folder: Path, summary: str) -> Path:
    file = folder / "solo.yaml"
    file.write_text(BLUEPRINT.replace("SUMMARY", summary))
    return file


@pytest.mark.parametrize(("summary", "writer"), [("{model: small}", "small"), ("{}", "supervisor")])
async def test_the_named_model_writes_the_summary(tmp_path: Path, summary: str, writer: str) -> None:
    blueprint = load(written(tmp_path, summary), prompts=PromptManager(search_path("prompts")))
    assert {prompt.ref for prompt in blueprint.prompts.values()} >= {"summary", "summary_shown"}
    says, writes = Script("One.", "Two."), Script("In short.")
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(tmp_path))
    scripts = {"a": says, writer: writes}
    parts = Parts(gateway, None, None, InMemorySaver(), EventBus(), None, scripts)
    graph = compile_blueprint(blueprint, parts)
    thread: Any = {"configurable": {"thread_id": "t"}}
    for question in ("first", "second"):
        await graph.ainvoke({"messages": [("user", question)]}, thread, context=RunContext())
    assert len(writes.calls) == 1
    assert "In short." in says.calls[1][1].text
    assert says.calls[1][-1].text == "second"


@pytest.mark.parametrize(
    ("summary", "fault"),
    [
        ("{model: smal}", "7:31: Unknown model 'smal'. Did you mean 'small'? Valid: main, small."),
        ("{prompt: {ref: sumary}}", "Unknown prompt 'sumary'. Did you mean 'summary'?"),
        ("{shown: {ref: combine}}", "needs answers, but as shown summary prompt it gets: summary."),
        ("{promt: x}", "7:24: Unknown key 'promt'. Did you mean 'prompt'? Valid: model, prompt, shown."),
    ],
)
def test_faults_have_their_place(tmp_path: Path, summary: str, fault: str) -> None:
    with pytest.raises(BlueprintError) as caught:
        load(written(tmp_path, summary), prompts=PromptManager(search_path("prompts")))
    assert fault in str(caught.value)
