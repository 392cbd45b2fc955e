"""A blueprint as a Mermaid flowchart: who is routed to, with which model, knowledge and tools."""

from agentkit.blueprints.agents import AgentSpec
from agentkit.blueprints.schema import Blueprint


def mermaid(blueprint: Blueprint) -> str:
    """Return the flowchart as Mermaid text (https://mermaid.js.org/syntax/flowchart.html)."""
    strategies = " → ".join(blueprint.routing.strategy)
    lines = [
        "flowchart TD",
        "    start([user]) --> supervisor",
        f"    supervisor{{{_label('supervisor', strategies)}}}",
        "    finish([answer])",
        "    supervisor -->|no agent fits| finish",
    ]
    for number, agent in enumerate(blueprint.agents):
        lines += _agent(agent, blueprint, f"a{number}")
    return "\n".join(lines)


def _agent(agent: AgentSpec, blueprint: Blueprint, key: str) -> list[str]:
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
    return [*lines, "    end", f"    supervisor --> {entry}", f"    {key}_model --> finish"]


def _label(*lines: str) -> str:
    text = "<br/>".join(line.replace('"', "#quot;").replace("<", "#lt;") for line in lines)
    return f'"{text}"'
