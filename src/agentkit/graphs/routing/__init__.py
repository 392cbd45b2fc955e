"""How a supervisor chooses who answers: strategies tried in order until one decides, one file each."""

from agentkit.graphs.routing.base import AgentCard, Routing, RoutingStrategy
from agentkit.graphs.routing.llm import LLMRouting
from agentkit.graphs.routing.rules import Rule, RulesRouting
from agentkit.graphs.routing.semantic import SemanticRouting

__all__ = [
    "AgentCard",
    "LLMRouting",
    "Routing",
    "RoutingStrategy",
    "Rule",
    "RulesRouting",
    "SemanticRouting",
]
