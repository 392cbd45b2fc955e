"""The interface of a routing strategy, and the cascade that tries several."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from langchain_core.messages import AnyMessage

from agentkit.context import RunContext
from agentkit.errors import EmbeddingError, ProviderError, ScriptError
from agentkit.graphs.state import RouteDecision

logger = logging.getLogger(__name__)

SUPERVISOR = "supervisor"
"""The supervisor's name, as a node and among the scores of a route."""

HISTORY_TOKENS = 2000

Scores = dict[str, float]
"""Score of each agent and, as `supervisor`, of the supervisor itself; in [-1, 1]."""

ANYONE = RunContext(request_id="")
"""Who asks, where nobody said."""


@dataclass(frozen=True, slots=True)
class AgentCard:
    """What a supervisor knows of an agent.

    Attributes:
        name: Its name in the graph.
        description: What it answers.
        examples: Questions it should get.
        history_tokens: Most tokens of earlier messages it is given.
        timeout: Most seconds a supervisor waits for its answer, or None.
        history: What it is given of the conversation.
        returns: What it hands back into the conversation.
        tools: Whether it calls tools.
        handoffs: Agents it may hand the question to.
    """

    name: str
    description: str = ""
    examples: tuple[str, ...] = ()
    history_tokens: int = HISTORY_TOKENS
    timeout: float | None = None
    history: Literal["task", "task_and_summary", "full"] = "full"
    returns: Literal["last_message", "full"] = "last_message"
    tools: bool = False
    handoffs: tuple[str, ...] = ()


class RoutingStrategy(Protocol):
    """Decides who answers, or passes by returning None."""

    async def decide(
        self,
        messages: Sequence[AnyMessage],
        agents: Sequence[AgentCard],
        context: RunContext = ANYONE,
        scores: Scores | None = None,
    ) -> RouteDecision | None:
        """Return a decision for the last user message, or None to let the next strategy try.

        Args:
            messages: The conversation, oldest first; the last is the user's.
            agents: The candidates, always in the same order.
            context: Who asks.
            scores: What strategies before this one found. One that computes scores writes them
                there, also when it passes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Routing:
    """A cascade of strategies; when none decides, the supervisor answers itself.

    A strategy whose model fails passes to the next one.

    Attributes:
        strategies: Tried in order, so the cheap ones come first.
    """

    strategies: tuple[RoutingStrategy, ...] = field(default_factory=tuple)

    async def decide(
        self, messages: Sequence[AnyMessage], agents: Sequence[AgentCard], context: RunContext = ANYONE
    ) -> RouteDecision:
        """Return the first decision any strategy makes, with the scores of those before it.

        Raises:
            ProviderError: No strategy decided, and the last one could not ask its model. The
                supervisor does not answer then: it would send away who should have been helped.
            EmbeddingError: Likewise, of an embedding model.
        """
        failure: ProviderError | EmbeddingError | None = None
        scores: Scores = {}
        for strategy in self.strategies:
            try:
                decision = await strategy.decide(messages, agents, context, scores)
            except ScriptError:  # a test's own mistake
                raise
            except (ProviderError, EmbeddingError) as error:
                logger.warning("%s could not decide: %s", type(strategy).__name__, error)
                failure = error
                continue
            if decision is not None:
                return {**decision, "scores": decision["scores"] or dict(scores)}
            failure = None
        if failure is not None:
            raise failure
        return RouteDecision(agents=[], method="direct", scores=scores, reason="No strategy chose an agent.")


def listing(agents: Sequence[AgentCard]) -> str:
    """The agents as prompts show them: one `- name: description` a line."""
    return "\n".join(f"- {agent.name}: {agent.description}" for agent in agents)


def last_user_text(messages: Sequence[AnyMessage]) -> str:
    """Text of the newest message a person wrote, or an empty string."""
    for message in reversed(messages):
        if message.type == "human":
            return message.text
    return ""
