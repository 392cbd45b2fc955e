"""Routing by asking a model, for the questions similarity leaves open."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from agentkit.context import RunContext
from agentkit.errors import ScriptError, StructuredOutputError
from agentkit.graphs.prompted import noting
from agentkit.graphs.routing.base import ANYONE, AgentCard, listing
from agentkit.graphs.state import RouteDecision
from agentkit.prompts import labels

logger = logging.getLogger(__name__)

NOBODY = "none"
"""The model's word for "no agent fits"."""

_UNSEEN: RunnableConfig = {"tags": [TAG_NOSTREAM], "run_name": "route"}
"""The user must not see the tokens of a route: the tag keeps them out of `messages` streams."""

RECENT = 5
"""Messages of the conversation the model is shown: a follow-up is unintelligible alone."""


class LLMRouting:
    """Asks a model for agents by name, constrained to the names there are.

    A reply that names no agent is asked for once more; then the supervisor answers itself.
    With `parallel` 1 the answer's schema is one name, which small models manage best.

    Args:
        model: Any chat model with structured output.
        prompt: Renders the instruction from the list of agents, one `- name: description` a line.
        parallel: Most agents the model may choose.
    """

    def __init__(self, model: BaseChatModel, prompt: Callable[[str], str], *, parallel: int = 1) -> None:
        self._model = model
        self._prompt = prompt
        self._parallel = parallel
        self._asked: dict[tuple[AgentCard, ...], tuple[SystemMessage, Any, RunnableConfig]] = {}

    async def decide(
        self, messages: Sequence[AnyMessage], agents: Sequence[AgentCard], context: RunContext = ANYONE
    ) -> RouteDecision | None:
        """Return the model's choice, without agents when it says that none fits.

        Raises:
            ProviderError: The model failed.
            BudgetExceededError: The run may not ask it any more.
        """
        del context
        if not agents:
            return None
        instruction, model, config = self._prepared(tuple(agents))
        names = [agent.name for agent in agents]
        for _ in range(2):
            try:
                reply = cast("object", await model.ainvoke([instruction, *messages[-RECENT:]], config))
            except ScriptError:
                raise
            except (
                StructuredOutputError,
                ValueError,
            ) as error:  # ValueError: LangChain's and pydantic's parsers
                logger.warning("the routing model's reply does not fit: %s", error)
                continue
            chosen = self._chosen(reply, names)
            if chosen is not None:
                found = f"chose {', '.join(chosen)}" if chosen else "found that no agent fits"
                return RouteDecision(
                    agents=chosen, method="llm", scores={}, reason=f"the routing model {found}"
                )
            logger.warning("the routing model's reply names no agent: %.200r", reply)
        return None

    def _chosen(self, reply: object, names: Sequence[str]) -> list[str] | None:
        """The agents a reply names, in its order; empty for "none", None if it is no valid reply."""
        choice = cast("dict[str, object]", reply).get(self._key) if isinstance(reply, dict) else None
        listed = cast("list[object]", choice) if isinstance(choice, list) else [choice]
        if not listed or not all(name == NOBODY or name in names for name in listed):
            return None
        chosen = dict.fromkeys(str(name) for name in listed if name != NOBODY)
        return list(chosen)[: self._parallel]

    @property
    def _key(self) -> str:
        return "agent" if self._parallel == 1 else "agents"

    def _prepared(self, agents: tuple[AgentCard, ...]) -> tuple[SystemMessage, Any, RunnableConfig]:
        """The instruction, the constrained model and its config; all are per graph, not per call."""
        if agents not in self._asked:
            choice: dict[str, Any] = {"type": "string", "enum": [*(agent.name for agent in agents), NOBODY]}
            if self._parallel > 1:
                most = min(self._parallel, len(agents))
                choice = {"type": "array", "items": choice, "minItems": 1, "maxItems": most}
            schema = {
                "title": "route",
                "description": "Who answers.",
                "type": "object",
                "properties": {self._key: choice},
                "required": [self._key],
                "additionalProperties": False,
            }
            model = self._model.with_structured_output(schema)
            text = self._prompt(listing(agents))
            self._asked[agents] = (SystemMessage(str(text)), model, noting(_UNSEEN, labels(text)))
        return self._asked[agents]
