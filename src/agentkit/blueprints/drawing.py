"""A blueprint as a Mermaid flowchart: who is routed to, with which model, knowledge and tools."""

from collections.abc import Mapping
from types import MappingProxyType

from agentkit.blueprints.agents import AgentSpec
from agentkit.blueprints.handoffs import targets
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.blueprints.schema import Blueprint
from agentkit.blueprints.teams import TeamSpec

_NO_TEAMS: Mapping[str, LoadedBlueprint] = MappingProxyType({})


def mermaid(blueprint: Blueprint, teams: Mapping[str, LoadedBlueprint] = _NO_TEAMS) -> str:
    """Return the flowchart as Mermaid text (https://mermaid.js.org/syntax/flowchart.html).

    Args:
        blueprint: What is drawn.
        teams: Those of its agents that are blueprints, as in `LoadedBlueprint`.
    """
    strategies = " → ".join(blueprint.routing.strategy)
    lines = [
        "flowchart TD",
        "    start([user]) --> supervisor",
        f"    supervisor{{{_label('supervisor', strategies)}}}",
        "    finish([answer])",
        "    supervisor -->|no agent fits| finish",
    ]
    lines += _members(blueprint, teams, supervisor="supervisor", key="a")
    return "\n".join(lines)


def _members(
    blueprint: Blueprint, teams: Mapping[str, LoadedBlueprint], *, supervisor: str, key: str
) -> list[str]:
    lines: list[str] = []
    for number, member in enumerate(blueprint.members):
        own = f"{key}{number}"
        if isinstance(member, AgentSpec):
            lines += _agent(member, blueprint, own, supervisor)
        else:
            lines += _team(member, teams[member.name], own, supervisor)
    keys = {member.name: f"{key}{number}" for number, member in enumerate(blueprint.members)}
    for agent in blueprint.agents:
        to = targets(agent, blueprint)
        lines += [f"    {keys[agent.name]} -.->|hands over| {keys[name]}" for name in to]
    return lines


def _team(member: TeamSpec, team: LoadedBlueprint, key: str, supervisor: str) -> list[str]:
    """The team in a frame, with a supervisor of its own; its agents' answers are the team's."""
    own = f"{key}_supervisor"
    strategies = " → ".join(team.spec.routing.strategy)
    inner = [
        f"{own}{{{_label('supervisor', strategies)}}}",
        f"{own} -->|no agent fits| finish",
        *(line.strip() for line in _members(team.spec, team.teams, supervisor=own, key=f"{key}_")),
    ]
    arrows = [line for line in inner if line.endswith("finish")]
    framed = [f"        {line}" for line in inner if line not in arrows]
    return [
        f"    subgraph {key}[{_label(member.name)}]",
        *framed,
        "    end",
        f"    {supervisor} --> {own}",
        *(f"    {line}" for line in arrows),
    ]


def _agent(agent: AgentSpec, blueprint: Blueprint, key: str, supervisor: str) -> list[str]:
    model = blueprint.models[agent.model]
    name = f"{agent.model}: {model.provider}" + (f" {model.model}" if model.model else "")
    lines = [f"    subgraph {key}[{_label(agent.name)}]", f"        {key}_model[{_label('model', name)}]"]
    entry = f"{key}_model"
    if agent.knowledge_scope:
        entry = f"{key}_retrieve"
        lines.append(
            f"        {entry}[({_label('retrieve', ', '.join(agent.knowledge_scope))})] --> {key}_model"
        )
    if agent.tools:
        tools = ", ".join(tool.title for tool in agent.tools)
        lines.append(f"        {key}_model <--> {key}_tools[/{_label('tools', tools)}/]")
    return [*lines, "    end", f"    {supervisor} --> {entry}", f"    {key}_model --> finish"]


def _label(*lines: str) -> str:
    text = "<br/>".join(line.replace('"', "#quot;").replace("<", "#lt;") for line in lines)
    return f'"{text}"'
