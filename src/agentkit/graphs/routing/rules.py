"""Routing by rules: conditions on the message, in order, without a model.

Costs microseconds, and can be read: what must always go to someone belongs here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import AnyMessage

from agentkit import expressions
from agentkit.context import RunContext
from agentkit.errors import ConfigurationError, UnknownNameError
from agentkit.graphs.routing.base import ANYONE, SUPERVISOR, AgentCard, Scores, last_user_text
from agentkit.graphs.state import RouteDecision


@dataclass(frozen=True, slots=True)
class Rule:
    """Who answers when a condition holds.

    Attributes:
        when: Expression; `agentkit.expressions` has the grammar.
        to: Agents in the order of their answers, or `("supervisor",)` for the supervisor itself.
    """

    when: str
    to: tuple[str, ...]


class RulesRouting:
    """Chooses the agents of the first rule whose condition holds; passes when none does.

    Args:
        rules: Tried in order.

    Raises:
        ConfigurationError: A rule's expression is wrong.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(rule, _condition(rule)) for rule in rules]

    async def decide(
        self,
        messages: Sequence[AnyMessage],
        agents: Sequence[AgentCard],
        context: RunContext = ANYONE,
        scores: Scores | None = None,
    ) -> RouteDecision | None:
        """Return the decision of the first rule that holds.

        Raises:
            UnknownNameError: The rule names an agent there is not.
        """
        del scores
        message = last_user_text(messages)
        values: dict[str, expressions.Value] = {
            "message": message,
            "text": message.lower(),
            "user": context.user,
            "tenant": context.tenant,
            "history_length": max(len(messages) - 1, 0),
        }
        for rule, condition in self._rules:
            if condition.holds(values):
                return _decision(rule, agents)
        return None


def _condition(rule: Rule) -> expressions.Condition:
    try:
        return expressions.parse(rule.when)
    except expressions.ExpressionError as error:
        raise ConfigurationError(f"The rule {rule.when!r} is wrong: {error.message}") from error


def _decision(rule: Rule, agents: Sequence[AgentCard]) -> RouteDecision:
    names = [agent.name for agent in agents]
    chosen = [] if rule.to == (SUPERVISOR,) else list(dict.fromkeys(rule.to))
    for name in chosen:
        if name not in names:
            raise UnknownNameError("agent", name, names)
    return RouteDecision(agents=chosen, method="rules", scores={}, reason=f"the rule {rule.when} holds")
