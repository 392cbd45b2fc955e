"""The key `handoffs` of an agent: to whom it may hand a question on."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from agentkit.blueprints.fields import PromptRef, Text
from agentkit.blueprints.fixed_prompts import find_prompts
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts import PromptManager, PromptVersion
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath

if TYPE_CHECKING:
    from agentkit.blueprints.agents import AgentSpec
    from agentkit.blueprints.schema import Blueprint

EVERYONE = "*"
"""All other agents, in their order; written as `true`."""

MAX_NAME = 53
"""Longest name of an agent to hand over to: OpenAI's tools have names of 64 characters at most."""

TOOL_PROMPT = PromptRef(ref="handoff")
"""Describes the tool for one agent; gets {{agent}}."""

TASK_PROMPT = PromptRef(ref="handoff_task")
"""Shows a handed-over task above the question; gets {{task}}."""

_NEEDED = ((TOOL_PROMPT, frozenset({"agent"})), (TASK_PROMPT, frozenset({"task"})))

Handoffs = Annotated[
    tuple[Text, ...],
    BeforeValidator(lambda value: [EVERYONE] if value is True else value),
    Field(min_length=0),
    WithJsonSchema(
        {"anyOf": [{"const": True}, {"type": "array", "items": {"type": "string", "minLength": 1}}]}
    ),
]


def targets(agent: "AgentSpec", spec: "Blueprint") -> tuple[str, ...]:
    """Names of the agents and teams an agent may hand to, in the order of its tools."""
    if agent.handoffs == (EVERYONE,):
        return tuple(member.name for member in spec.members if member.name != agent.name)
    return agent.handoffs


def check_handoffs(
    tree: SourceTree,
    value: dict[str, Any],
    prompts: PromptManager,
    found: dict[PromptRef, PromptVersion],
    problems: list[Problem],
) -> None:
    """Add every fault of the agents' `handoffs` to `problems`, and the prompts they need to `found`."""
    agents = [as_mapping(agent) for agent in as_list(value.get("agents"))]
    names = [name for agent in agents if isinstance(name := agent.get("name"), str)]
    handing = [index for index, agent in enumerate(agents) if agent.get("handoffs")]
    for index in handing:
        problems += _agent_faults(tree, agents[index], names, ("agents", index, "handoffs"))
    if handing:
        pinned, faults = find_prompts(tree, ("agents", handing[0], "handoffs"), _NEEDED, prompts)
        found.update(pinned)
        problems += faults


def _agent_faults(
    tree: SourceTree, agent: dict[Any, Any], names: list[str], path: KeyPath
) -> Iterator[Problem]:
    given, own = agent["handoffs"], agent.get("name")
    others = [name for name in names if name != own]
    if given is True and not others:
        yield tree.problem("There is no other agent to hand over to.", path)
    for name in others if given is True else as_list(given):
        if name in others and len(name) > MAX_NAME:
            said = f"The name {name!r} is too long to hand over to: at most {MAX_NAME} characters."
            yield tree.problem(said, path)
    for number, name in enumerate(as_list(given)):
        place = (*path, number)
        if name == own:
            yield tree.problem(f"The agent {name!r} cannot hand over to itself.", place)
        elif isinstance(name, str) and name.strip() and name not in others:
            yield tree.problem(unknown_choice("agent", name, others), place)
        elif name in as_list(given)[:number]:
            yield tree.problem(f"The agent {name!r} is listed twice.", place)
