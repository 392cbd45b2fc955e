"""The key `output` of an agent: read and checked without running anything."""

import json
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.blueprints import LoadedBlueprint, load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.errors import BlueprintError
from agentkit.events import EventBus
from agentkit.llm.gateway import LLMGateway
from agentkit.llm.providers.scripted import Script
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.chat import ChatService
from agentkit.weights import WeightsStore

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: solo
models: {main: {provider: scripted}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: a}]}
agents:
  - name: a
    description: All.
    prompt: {ref: agents/python}
    output: {schema: SCHEMA}
"""
CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"$ref": "#/$defs/name"}},
    "required": ["city"],
    "$defs": {"name": {"type": "string"}},
}


def loaded(folder: Path, schema: str) -> LoadedBlueprint:
    file = folder / "solo.yaml"
    file.write_text(BLUEPRINT.replace("SCHEMA", schema))
    return load(file, prompts=PromptManager(search_path("prompts")))


@pytest.mark.parametrize("inline", [True, False])
async def test_a_file_or_the_schema_itself(tmp_path: Path, inline: bool) -> None:
    (tmp_path / "city.json").write_text(json.dumps(CITY))
    blueprint = loaded(tmp_path, json.dumps(CITY) if inline else "city.json")
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(tmp_path))
    scripts = {"a": Script({"city": 3}, {"city": "Rome"})}
    parts = Parts(gateway, None, None, InMemorySaver(), EventBus(), None, scripts)
    answer = await ChatService(compile_blueprint(blueprint, parts)).ask("Where?")
    assert answer.output == {"city": "Rome"}


def test_what_the_file_says_is_part_of_the_digest(tmp_path: Path) -> None:
    file = tmp_path / "city.json"
    file.write_text(json.dumps(CITY))
    before = loaded(tmp_path, "city.json").digest
    assert loaded(tmp_path, "city.json").digest == before
    file.write_text(json.dumps({**CITY, "description": "other"}))
    assert loaded(tmp_path, "city.json").digest != before


@pytest.mark.parametrize(
    ("schema", "content", "fault"),
    [
        ("gone.json", None, "gone.json' cannot be read: No such file"),
        ("s.json", "{", "s.json' is no JSON: Expecting property name"),
        ("s.json", "[" * 100_000, "s.json' is nested too deeply."),
        ("s.json", "[]", "its type must be 'object'."),
        ("{type: string}", None, "its type must be 'object'."),
        (
            "{type: object, properties: 3}",
            None,
            "This is no JSON schema: 3 is not of type 'object'",
        ),
        ("{type: object, properties: {a: {$ref: '#/$defs/x'}}}", None, "leads nowhere inside it"),
        ("{type: object, properties: {a: {$ref: 'http://x/y'}}}", None, "leads nowhere inside it"),
        ("3", None, "output.schema"),
    ],
)
def test_faults_have_their_place(tmp_path: Path, schema: str, content: str | None, fault: str) -> None:
    if content is not None:
        (tmp_path / "s.json").write_text(content)
    with pytest.raises(BlueprintError) as caught:
        loaded(tmp_path, schema)
    assert "solo.yaml:11:" in str(caught.value)
    assert fault in str(caught.value)
