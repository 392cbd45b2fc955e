from collections.abc import Callable
from pathlib import Path

import pytest

from agentkit.blueprints import LoadedBlueprint, load
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptManager

MAIN = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
models:
  main: {provider: scripted}
  big:
    provider: ollama
    model: qwen3:8b
    timeout: 1.5m
knowledge:
  sources:
    - {path: notes, scope: notes}
"""

AGENT = """\
name: writer
description: Writes texts.
examples: [Write a poem.]
model: big
prompt: {ref: agents/writer, version: 2}
knowledge_scope: [notes]
"""


@pytest.fixture
def prompts(tmp_path: Path) -> PromptManager:
    """A prompt folder with one prompt for every role."""
    texts = {
        "supervisor": "versions: {1: {template: 'Team: {{agents}}', variables: {agents: All.}}}",
        "routing": "versions: {1: {template: 'Choose: {{agents}}', variables: {agents: All.}}}",
        "retrieval": "versions: {1: {template: 'S: {{sources}}', variables: {sources: Text.}}}",
        "agents/writer": "versions: {1: {template: Write.}, 2: {template: Write well.}}",
    }
    for ref, text in texts.items():
        path = tmp_path / "prompts" / f"{ref}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"name: {ref}\n{text}\n")
    return PromptManager([tmp_path / "prompts"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A valid blueprint in the folder form."""
    root = tmp_path / "team"
    (root / "agents").mkdir(parents=True)
    (root / "notes").mkdir()
    (root / "blueprint.yaml").write_text(MAIN)
    (root / "agents" / "writer.yaml").write_text(AGENT)
    return root


Loader = Callable[..., LoadedBlueprint]


@pytest.fixture
def check(prompts: PromptManager, tmp_path: Path) -> Loader:
    """Load with these prompts, as a process of its own would, and two providers."""
    del prompts  # its files are what is needed

    def run(path: Path, **options: object) -> LoadedBlueprint:
        return load(
            path, prompts=PromptManager(tmp_path / "prompts"), providers=["scripted", "ollama"], **options
        )

    return run


@pytest.fixture
def faults(check: Loader) -> Callable[..., list[str]]:
    """Load and return the first line of every problem, with paths below the blueprint's folder."""

    def run(path: Path, **options: object) -> list[str]:
        with pytest.raises(BlueprintError) as caught:
            check(path, **options)
        root = path if path.is_dir() else path.parent
        return [str(problem).splitlines()[0].replace(f"{root}/", "") for problem in caught.value.problems]

    return run
