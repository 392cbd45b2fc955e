"""Routing by asking a model, for the questions similarity leaves open."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from agentkit.context import RunContext
from agentkit.errors import ProviderError, ScriptError, StructuredOutputError
from agentkit.graphs.prompted import noting
from agentkit.graphs.prompts import packaged
from agentkit.graphs.routing.base import ANYONE, SUPERVISOR, AgentCard, Scores, listing
from agentkit.graphs.state import RouteDecision
from agentkit.llm.structured import caller
from agentkit.prompts import labels

logger = logging.getLogger(__name__)

NOBODY = "none"
"""The model's word for "no agent fits"."""

DELEGATE = "delegate"
"""The tool a model calls that cannot be held to a schema."""

_UNSEEN: RunnableConfig = {"tags": [TAG_NOSTREAM], "run_name": "route"}
"""The user must not see the tokens of a route: the tag keeps them out of `messages` streams."""

RECENT = 5
"""Messages of the conversation the model is shown: a follow-up is unintelligible alone."""

_REFUSALS = (400, 415, 422, 501)
"""Statuses with which providers answer a `response_format` they do not know."""


class LLMRouting:
    """Asks a model for agents by name, constrained to the names there are.

    The model answers in a schema. One that cannot (its provider refuses the request, or two
    replies are not even JSON) is given a tool instead, whose argument is the name. A reply
    that names no agent is asked for once more, with a remark about what was wrong, so that it
    is another request for a cache too; then the supervisor answers itself. With `parallel` 1
    the answer's schema is one name, which small models manage best.

    Args:
        model: Any chat model with structured output or tools.
        prompt: Renders the instruction from the list of agents, one `- name: description` a line.
        parallel: Most agents the model may choose.
        candidates: Most names it may choose from, the best by the scores of an earlier strategy,
            where there was one; the supervisor, as `none`, is one of them. None: all.
        again: Renders the remark about a reply that named nobody, from the names; None: the
            packaged prompt `routing_again`.
    """

    def __init__(
        self,
        model: BaseChatModel,
        prompt: Callable[[str], str],
        *,
        parallel: int = 1,
        candidates: int | None = None,
        again: Callable[[str], str] | None = None,
    ) -> None:
        self._model = model
        self._prompt = prompt
        self._parallel = parallel
        self._candidates = candidates
        self._again = again or _packaged_remark
        self._asked: dict[tuple[tuple[str, ...], bool], Any] = {}
        self._refused = False

    async def decide(
        self,
        messages: Sequence[AnyMessage],
        agents: Sequence[AgentCard],
        context: RunContext = ANYONE,
        scores: Scores | None = None,
    ) -> RouteDecision | None:
        """Return the model's choice, without agents when it says that none fits.

        Raises:
            ProviderError: The model failed.
            BudgetExceededError: The run may not ask it any more.
        """
        del context
        if not agents:
            return None
        names = self._offered([agent.name for agent in agents], scores or {})
        offered = [agent for agent in agents if agent.name in names]
        ask = _Ask(self._prompt(listing(offered)), lambda: self._again(", ".join(names)), messages[-RECENT:])
        why, attempts = "its provider refuses a response format", 2
        if not self._refused:
            try:
                chosen, unreadable = await self._choice(ask, names, 2)
            except ProviderError as error:
                if error.status not in _REFUSALS or isinstance(error, ScriptError):
                    raise
                logger.warning("the routing model is given a tool: %s", error)
            else:
                if chosen is not None or not unreadable:
                    return _decision(chosen, "")
                why, attempts = "its replies were not JSON", 1
        chosen, _ = await self._choice(ask, names, attempts, tools=True)
        # Remembered once the other way worked: the refusal may have had another reason.
        self._refused = self._refused or (chosen is not None and why.startswith("its provider"))
        return _decision(chosen, f" by the tool {DELEGATE}: {why}")

    def _offered(self, agents: Sequence[str], scores: Scores) -> list[str]:
        """The names the model may choose from, in the agents' order; `none` last."""
        names = [*agents, NOBODY]
        if self._candidates is None or not scores:
            return names
        # Who has no score was not compared, and is not ruled out by those who were.
        value = {name: scores.get(SUPERVISOR if name == NOBODY else name, 1.0) for name in names}
        best = sorted(names, key=lambda name: -value[name])[: self._candidates]
        return [name for name in names if name in best]

    async def _choice(
        self, ask: "_Ask", names: Sequence[str], attempts: int, *, tools: bool = False
    ) -> tuple[list[str] | None, bool]:
        """Return the agents, or None after so many attempts, and whether no reply could be read at all."""
        prepared = self._prepared(tuple(names), tools=tools)
        unreadable = 0
        for number in range(attempts):
            try:
                reply = cast("object", await prepared(*ask.request(again=number > 0)))
            except ScriptError:
                raise
            except (
                StructuredOutputError,
                ValueError,
            ) as error:  # ValueError: LangChain's and pydantic's parsers
                logger.warning("the routing model's reply does not fit: %s", error)
                unreadable += 1
                continue
            chosen = self._chosen(
                _called(reply) if isinstance(reply, AIMessage) else self._said(reply), names
            )
            if chosen is not None:
                return chosen, False
            logger.warning("the routing model's reply names no agent: %.200r", reply)
        return None, unreadable == attempts

    def _said(self, reply: object) -> list[object]:
        choice = cast("dict[str, object]", reply).get(self._key) if isinstance(reply, dict) else None
        return cast("list[object]", choice) if isinstance(choice, list) else [choice]

    def _chosen(self, listed: Sequence[object], names: Sequence[str]) -> list[str] | None:
        """The agents a reply names, in its order; empty for "none", None if it is no valid reply."""
        if not listed or not all(name in names for name in listed):
            return None
        chosen = dict.fromkeys(str(name) for name in listed if name != NOBODY)
        return list(chosen)[: self._parallel]

    @property
    def _key(self) -> str:
        return "agent" if self._parallel == 1 else "agents"

    def _prepared(self, names: tuple[str, ...], *, tools: bool) -> Any:
        """The model constrained to these names; made once per choice of names, not per call."""
        key = (names, tools)
        if key not in self._asked:
            choice: dict[str, Any] = {"type": "string", "enum": list(names)}
            if tools:
                tool = {"title": DELEGATE, **_schema("agent", choice)}
                self._asked[key] = self._model.bind_tools([tool], tool_choice="any").ainvoke
            else:
                if self._parallel > 1:
                    most = max(1, min(self._parallel, len(names) - (NOBODY in names)))
                    choice = {"type": "array", "items": choice, "minItems": 1, "maxItems": most}
                schema = {"title": "route", **_schema(self._key, choice)}
                self._asked[key] = caller(self._model.with_structured_output(schema))
        return self._asked[key]


class _Ask:
    """What a model is asked: the instruction and the end of the conversation."""

    def __init__(self, instruction: str, remark: Callable[[], str], recent: Sequence[AnyMessage]) -> None:
        self._instruction = instruction
        self._remark = remark
        self._recent = recent

    def request(self, *, again: bool) -> tuple[list[AnyMessage], RunnableConfig]:
        """The messages, and the config of a run that notes the prompts they were made with."""
        texts = [self._instruction, self._remark()] if again else [self._instruction]
        system = "\n".join(text.rstrip() for text in texts) if again else self._instruction
        return [SystemMessage(system), *self._recent], noting(_UNSEEN, labels(*texts))


def _packaged_remark(names: str) -> str:
    return packaged("routing_again", "names")(names)  # looked up when it is needed, which is seldom


def _called(reply: AIMessage) -> list[object]:
    """The names a model gave to the tool, in the order of its calls."""
    return [call["args"].get("agent") for call in reply.tool_calls if call["name"] == DELEGATE]


def _decision(chosen: list[str] | None, how: str) -> RouteDecision | None:
    if chosen is None:
        return None
    found = f"chose {', '.join(chosen)}" if chosen else "found that no agent fits"
    return RouteDecision(agents=chosen, method="llm", scores={}, reason=f"the routing model {found}{how}")


def _schema(key: str, choice: dict[str, Any]) -> dict[str, Any]:
    return {
        "description": "Who answers.",
        "type": "object",
        "properties": {key: choice},
        "required": [key],
        "additionalProperties": False,
    }
