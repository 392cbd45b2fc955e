"""Routing by asking a model, for the questions similarity leaves open."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from agentkit.errors import ScriptError, StructuredOutputError
from agentkit.graphs.routing.base import AgentCard, listing
from agentkit.graphs.state import RouteDecision

logger = logging.getLogger(__name__)

NOBODY = "none"
"""The model's word for "no agent fits"."""

_UNSEEN: RunnableConfig = {"tags": [TAG_NOSTREAM], "run_name": "route"}
"""The user must not see the tokens of a route: the tag keeps them out of `messages` streams."""

RECENT = 5
"""Messages of the conversation the model is shown: a follow-up is unintelligible alone."""


class LLMRouting:
    """Asks a model for one agent by name, constrained to the names there are.

    A reply that names no agent is asked for once more; then the supervisor answers itself.

    Args:
        model: Any chat model with structured output.
        prompt: Renders the instruction from the list of agents, one `- name: description` a line.
    """

    def __init__(self, model: BaseChatModel, prompt: Callable[[str], str]) -> None:
        self._model = model
        self._prompt = prompt
        self._asked: dict[tuple[AgentCard, ...], tuple[SystemMessage, Any]] = {}

    async def decide(
        self, messages: Sequence[AnyMessage], agents: Sequence[AgentCard]
    ) -> RouteDecision | None:
        """Return the model's choice; `direct` when it says that no agent fits."""
        if not agents:
            return None
        instruction, model = self._prepared(tuple(agents))
        names = {agent.name for agent in agents}
        for _ in range(2):
            try:
                reply = cast("object", await model.ainvoke([instruction, *messages[-RECENT:]], _UNSEEN))
            except ScriptError:
                raise
            except (
                StructuredOutputError,
                ValueError,
            ) as error:  # ValueError: LangChain's and pydantic's parsers
                logger.warning("the routing model's reply does not fit: %s", error)
                continue
            choice = cast("dict[str, object]", reply).get("agent") if isinstance(reply, dict) else None
            if choice in names:
                reason = f"the routing model chose {choice}"
                return RouteDecision(agents=[str(choice)], method="llm", scores={}, reason=reason)
            if choice == NOBODY:
                reason = "the routing model found that no agent fits"
                return RouteDecision(agents=[], method="llm", scores={}, reason=reason)
        return None

    def _prepared(self, agents: tuple[AgentCard, ...]) -> tuple[SystemMessage, Any]:
        """The instruction and the constrained model for these agents; both are per graph, not per call."""
        if agents not in self._asked:
            schema = {
                "title": "route",
                "description": "Who answers.",
                "type": "object",
                "properties": {
                    "agent": {"type": "string", "enum": [*(agent.name for agent in agents), NOBODY]}
                },
                "required": ["agent"],
                "additionalProperties": False,
            }
            model = self._model.with_structured_output(schema)
            self._asked[agents] = (SystemMessage(self._prompt(listing(agents))), model)
        return self._asked[agents]
