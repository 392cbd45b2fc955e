"""How long it takes to read and check a large blueprint: 100 agents, each in a file, each with a prompt.

Prints milliseconds: the first load of a process, and the median of the next ones. Nothing
is started: no database, no model.

    python benchmarks/blueprint_load.py [--agents 100] [--loads 10]
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

MAIN = """\
apiVersion: agentkit/v1
kind: Blueprint
name: crowd
models:
  main: {provider: ollama, model: qwen3:8b, timeout: 60s, fallbacks: [backup]}
  backup: {provider: local}
knowledge:
  sources: [{path: notes, scope: notes}]
routing:
  rules: [{when: "'agent7' in text", to: agent7}]
"""
AGENT = """\
name: agent{number}
description: Answers what is about subject number {number}, and about nothing else.
examples:
{examples}
model: main
prompt: {{ref: agents/agent{number}, version: "^1"}}
knowledge_scope: [notes]
limits: {{tool_iterations: 4, timeout: 60s}}
"""
PROMPT = """\
name: Agent {number}
versions:
  1: {{template: Answer about subject {number}.}}
  2: {{template: Answer about subject {number} in one sentence.}}
"""


def write(folder: Path, agents: int) -> Path:
    """Write the blueprint and its prompts; returns its folder."""
    root = folder / "blueprints" / "crowd"
    for place in (root / "agents", root / "notes", folder / "prompts" / "agents"):
        place.mkdir(parents=True)
    (root / "blueprint.yaml").write_text(MAIN)
    for number in range(agents):
        examples = "\n".join(f"  - What is question {n} about subject {number}?" for n in range(8))
        text = AGENT.format(number=number, examples=examples)
        (root / "agents" / f"agent{number}.yaml").write_text(text)
        (folder / "prompts" / "agents" / f"agent{number}.yaml").write_text(PROMPT.format(number=number))
    return root


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--loads", type=int, default=10)
    asked = parser.parse_args()

    from agentkit.blueprints import load
    from agentkit.prompts import PromptManager
    from agentkit.resources import packaged

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root = write(folder, asked.agents)
        times: list[float] = []
        for _ in range(asked.loads + 1):
            # A new manager each time: prompts are read anew, as in a new process.
            prompts = PromptManager([folder / "prompts", packaged("prompts")])
            began = time.perf_counter()
            loaded = load(root, prompts=prompts)
            times.append((time.perf_counter() - began) * 1000)
        assert len(loaded.spec.agents) == asked.agents
    shown = {"agents": asked.agents, "first_ms": times[0], "median_ms": statistics.median(times[1:])}
    print(json.dumps({key: round(value, 1) for key, value in shown.items()}))


if __name__ == "__main__":
    main()
