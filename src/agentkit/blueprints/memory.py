"""The key `memory` of an agent, and `runtime.store` that it needs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.fixed_prompts import find_prompts
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts import PromptManager, PromptVersion

if TYPE_CHECKING:
    from agentkit.blueprints.loader import LoadedBlueprint

REMEMBER = PromptRef(ref="memory_remember")
RECALL = PromptRef(ref="memory_recall")
"""They describe the tools, and get no variables."""


def check_memory(
    tree: SourceTree,
    value: dict[str, Any],
    prompts: PromptManager,
    found: dict[PromptRef, PromptVersion],
    problems: list[Problem],
) -> None:
    """Add the prompts of agents with `memory` to `found`, and what is wrong with them to `problems`."""
    for index, agent in enumerate(as_list(value.get("agents"))):
        if as_mapping(agent).get("memory") is True:
            path = ("agents", index, "memory")
            needed = ((REMEMBER, frozenset[str]()), (RECALL, frozenset[str]()))
            pinned, faults = find_prompts(tree, path, needed, prompts)
            found.update(pinned)
            problems += faults
            return


def check_store(
    tree: SourceTree, value: dict[str, Any], teams: "Mapping[str, LoadedBlueprint]"
) -> list[Problem]:
    """Faults of a blueprint, itself no team, whose agents or teams remember, and which has no store."""
    if as_mapping(value.get("runtime")).get("store", "none") != "none":
        return []
    problems: list[Problem] = []
    for index, agent in enumerate(as_list(value.get("agents"))):
        name = as_mapping(agent).get("name")
        team = teams.get(name) if isinstance(name, str) else None
        if as_mapping(agent).get("memory") is True:
            text = "The agent has nowhere to remember: set runtime.store to postgres or memory."
            problems.append(tree.problem(text, ("agents", index, "memory")))
        elif team and any(inner.memory for part in team.everything() for inner in part.spec.agents):
            text = "An agent of this team remembers, and has nowhere to: set runtime.store here."
            problems.append(tree.problem(text, ("agents", index, "blueprint")))
    return problems
