"""What is told of teams within the team, while a turn runs."""

from dataclasses import dataclass
from typing import Any, cast

from langgraph.types import Overwrite

from agentkit.graphs.state import Hop, RouteDecision, Source
from agentkit.graphs.worker import JOIN

Namespace = tuple[str, ...]
"""The nodes that lead to a graph within the graph, each as `name:task`."""


@dataclass(frozen=True, slots=True)
class TeamRoute:
    """Who answers within a team.

    Attributes:
        team: The team's name; of a team in a team, `outer/inner`.
        route: Its supervisor's decision.
    """

    team: str
    route: RouteDecision


class Nested:
    """Follows the teams within one turn.

    Where a team asks several of its agents, their words would mingle, and each numbers its
    sources from 1: they are not told, but the answer made of them is, as one piece.

    Attributes:
        routes: Decisions so far, by team.
    """

    def __init__(self) -> None:
        self.routes: dict[str, RouteDecision] = {}
        self._several: set[Namespace] = set()

    def routed(self, namespace: Namespace, route: RouteDecision) -> TeamRoute:
        """Note a decision of the team at `namespace`."""
        team = _path(namespace)
        self.routes[team] = route
        if len(route["agents"]) > 1:
            self._several.add(namespace)
        return TeamRoute(team, route)

    def hop(self, namespace: Namespace, hop: Hop) -> Hop:
        """A handoff in the team at `namespace`, its agents named by their paths."""
        above = "".join(f"{part}/" for part in [_path(namespace)] if part)
        return cast("Hop", {**hop, "agent": above + hop["agent"], "by": above + hop["by"]})

    def heard(self, namespace: Namespace) -> bool:
        """Whether what is said at `namespace` is told as it comes."""
        return not any(namespace[:depth] in self._several for depth in range(len(namespace)))

    def joined(self, namespace: Namespace, update: dict[str, Any]) -> list[Source]:
        """The sources of an answer that the team at `namespace` made of several.

        Args:
            namespace: Where the update comes from.
            update: Updates by node.
        """
        changed = update.get(JOIN) if namespace in self._several else None
        sources = cast("dict[str, Any]", changed).get("sources") if isinstance(changed, dict) else None
        return cast("list[Source]", sources.value) if isinstance(sources, Overwrite) else []


def _path(namespace: Namespace) -> str:
    return "/".join(node.partition(":")[0] for node in namespace)
