"""The key `handoffs` of an agent: to whom it may hand a question on."""

from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import BeforeValidator, Field, WithJsonSchema

from agentkit.blueprints.fields import PromptRef, Text
from agentkit.blueprints.fixed_prompts import find_prompts
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts import Prompt, PromptManager
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
    found: dict[PromptRef, Prompt],
    problems: list[Problem],
) -> None:
    """Add every fault of the agents' `handoffs` to `problems`, and the prompts they need to `found`."""
    agents = [_mapping(agent) for agent in _list(value.get("agents"))]
    names = [name for agent in agents if isinstance(name := agent.get("name"), str)]
    first: KeyPath | None = None
    for index, agent in enumerate(agents):
        path = ("agents", index, "handoffs")
        given = agent.get("handoffs")
        if given:
            first = first or path
        others = [name for name in names if name != agent.get("name")]
        if given is True and not others:
            problems.append(tree.problem("There is no other agent to hand over to.", path))
        wanted = others if given is True else _list(given)
        for name in wanted:
            if name in others and len(name) > MAX_NAME:
                said = f"The name {name!r} is too long to hand over to: at most {MAX_NAME} characters."
                problems.append(tree.problem(said, path))
        for number, name in enumerate(_list(given)):
            place = (*path, number)
            if name == agent.get("name"):
                problems.append(tree.problem(f"The agent {name!r} cannot hand over to itself.", place))
            elif isinstance(name, str) and name.strip() and name not in others:
                problems.append(tree.problem(unknown_choice("agent", name, others), place))
            elif name in _list(given)[:number]:
                problems.append(tree.problem(f"The agent {name!r} is listed twice.", place))
    if first is not None:
        pinned, faults = find_prompts(tree, first, _NEEDED, prompts)
        found.update(pinned)
        problems += faults


def _mapping(value: object) -> dict[Any, Any]:
    return cast("dict[Any, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []
