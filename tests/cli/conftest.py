"""A project of its own for every test: blueprint, knowledge, database; scripted models."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: team
models:
  main: {{provider: scripted, options: {{replies: {replies}}}}}
knowledge:
  sources: [{{path: ../../notes, scope: notes}}]
routing: {{semantic: {{threshold: 0.4, margin: 0.05}}}}
agents:
  - name: python
    description: Python programming questions
    examples: ["How do I write a generator in Python?"]
    prompt: {{ref: agents/python}}
    knowledge_scope: [notes]
"""


@dataclass
class Project:
    """A working directory and the environment commands run in."""

    root: Path
    env: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list[subprocess.Popen[str]])

    def script(self, *replies: Any) -> None:
        """Write the blueprint `team` whose model gives these replies."""
        folder = self.root / "blueprints" / "team"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "blueprint.yaml").write_text(BLUEPRINT.format(replies=json.dumps(replies)))

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run `agentkit` to its end, not on a terminal."""
        return self._run(command(arguments), env)

    def python(self, script: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run a Python script to its end, in the same place and environment."""
        return self._run([sys.executable, "-c", script], env)

    def _run(self, words: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            words,
            cwd=self.root,
            env={**self.env, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `agentkit` and return at once; the fixture kills what is still there in the end."""
        process = subprocess.Popen(
            command(arguments),
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.started.append(process)
        return process


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-c", "from agentkit.cli import main; main()", *arguments]


@pytest.fixture
def project(tmp_path: Path, database_url: str, models_dir: Path) -> Iterator[Project]:
    """A project on a fresh database, with one note, and the machine's model weights."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "models").symlink_to(models_dir)
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "generators.md").write_text(
        "# Generators\n\nA generator function contains a yield expression.\n"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("AGENTKIT_")}
    env |= {"AGENTKIT_DATABASE_URL": database_url, "AGENTKIT_DATA_DIR": str(data), "COLUMNS": "200"}
    made = Project(tmp_path, env)
    made.script("Use yield [1].")
    yield made
    for process in made.started:
        with process:  # waits, and closes its pipes
            process.kill()
