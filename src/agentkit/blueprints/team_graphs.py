"""A team's compiled graph as one agent of the graph above it."""

from dataclasses import replace
from typing import TYPE_CHECKING

from agentkit.blueprints.agent_tools import Offered
from agentkit.blueprints.agents import SpendingSpec
from agentkit.blueprints.teams import PATH_SEPARATOR, TeamSpec
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing.base import AgentCard
from agentkit.llm.budgets import Limits

if TYPE_CHECKING:
    from agentkit.blueprints.compiler import Parts


def within(parts: "Parts", team: str) -> "Parts":
    """The parts of a team: conversations and memory are kept by the outermost graph alone."""
    return replace(parts, checkpointer=None, memory=None, path=f"{parts.path}{team}{PATH_SEPARATOR}")


def offered_here(parts: "Parts") -> Offered:
    """What the MCP servers of the blueprint itself offer, by the names it gave them."""
    below = {
        name.removeprefix(parts.path): tools
        for name, tools in parts.mcp_tools.items()
        if name.startswith(parts.path)
    }
    return {name: tools for name, tools in below.items() if PATH_SEPARATOR not in name}


def as_agent(member: TeamSpec, team: Graph) -> Graph:
    """Return the team's graph under the name, and within the limits, it has as an agent."""
    about = AgentCard(
        member.name,
        member.description,
        member.examples,
        member.limits.history_tokens,
        member.limits.timeout,
    )
    limits = _tighter(team.limits, member.limits)
    agent = Graph.adopt(
        team,
        home=team.home,
        about=about,
        limits=limits,
        team=True,
        prompts=team.prompts,
        combines=team.combines,
        agents=team.agents,
    )
    agent.name = member.name
    return agent


def _tighter(own: Limits, given: SpendingSpec) -> Limits:
    """Both limits hold, and both count the same calls: the smaller of each."""

    def least(a: float | None, b: float | None) -> float | None:
        known = [limit for limit in (a, b) if limit is not None]
        return min(known) if known else None

    tokens, calls = least(own.tokens, given.tokens), least(own.model_calls, given.model_calls)
    return Limits(
        tokens=None if tokens is None else int(tokens),
        cost_usd=least(own.cost_usd, given.cost_usd),
        model_calls=None if calls is None else int(calls),
    )
