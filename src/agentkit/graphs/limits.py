"""Limits of a turn that end in an answer: what was found so far, and which limit was reached.

The answer carries the limit in its `response_metadata` too, as a record, so that programs
need not read the sentence. The history stays valid: no call of a tool is left without result.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import ExtendedModelResponse, PrivateStateAttr, ToolCallRequest
from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, ToolMessage
from langgraph.runtime import Runtime
from langgraph.types import Command

from agentkit.context import RunContext
from agentkit.errors import BudgetExceededError
from agentkit.events import EventBus, LimitReached
from agentkit.graphs.around import AroundModel
from agentkit.graphs.state import ReachedLimit

REACHED = "limits_reached"
"""Key of the limits in an answer's `response_metadata`."""

_UNITS = {"tool_iterations": "round{s} of tool calls", "model_calls": "model call{s}", "tokens": "token{s}"}


def sentence(limit: ReachedLimit) -> str:
    """What a user reads of a limit."""
    whose = "its" if limit["of"] == "agent" else "the team's"
    amount = f"${limit['allowed']:,.4f}"
    if unit := _UNITS.get(limit["limit"]):
        amount = f"{limit['allowed']:,.0f} {unit.format(s='' if limit['allowed'] == 1 else 's')}"
    if limit["spent"] is None:
        return (
            f"{limit['agent']} stopped here: what was spent is unknown, so {whose} limit of {amount} ends it."
        )
    return f"{limit['agent']} stopped here: {whose} limit of {amount} is reached."


def of_budget(error: BudgetExceededError, agent: str) -> ReachedLimit:
    """The limit behind an exhausted budget, for the one who had to stop.

    Raises:
        BudgetExceededError: `error` itself, when the budget is none of a graph's `limits`:
            who wrote the `budget()` block waits for it.
    """
    if error.of is None:
        raise error
    return ReachedLimit(
        agent=agent,
        limit=error.limit,
        of=error.of,
        allowed=error.allowed,
        spent=error.spent,
    )


def limit_answer(limit: ReachedLimit, found: str = "", like: AIMessage | None = None) -> AIMessage:
    """The answer that a limit ends a turn with.

    Args:
        limit: What was reached.
        found: What there is to say so far.
        like: The message `found` was said in; its id, model and usage are kept.
    """
    text = f"{found.strip()}\n\n{sentence(limit)}".strip()
    if like is None:
        return AIMessage(text, name=limit["agent"], response_metadata={REACHED: [limit]})
    metadata = cast("dict[str, Any]", like.response_metadata)
    return AIMessage(
        text,
        id=like.id,
        name=limit["agent"],
        response_metadata={**metadata, REACHED: [limit]},
        usage_metadata=like.usage_metadata,
    )


def reached(message: BaseMessage) -> list[ReachedLimit]:
    """The limits that cut an answer short."""
    return cast("dict[str, Any]", message.response_metadata).get(REACHED) or []


def without_sentences(text: str, limits: Sequence[ReachedLimit]) -> str:
    """What was found, without the sentences about the limits at its end."""
    for limit in reversed(limits):
        text = text.removesuffix(sentence(limit)).rstrip()
    return text


def announce(
    limit: ReachedLimit, runtime: Runtime[RunContext], events: EventBus, *, said: bool = True
) -> None:
    """Tell the `custom` stream and the sinks of a limit; `said` is whether the answer's text does too."""
    runtime.stream_writer({"type": "limit", "limit": limit, "said": said})
    context = cast("RunContext | None", runtime.context)
    events.emit(
        LimitReached(
            agent=limit["agent"],
            limit=limit["limit"],
            of=limit["of"],
            request_id=context.request_id if context else "",
        )
    )


class LimitState(AgentState[Any]):
    """An agent's state with the rounds of tool calls of the current turn."""

    rounds: NotRequired[Annotated[int, PrivateStateAttr]]


class SpendingMiddleware(AroundModel[LimitState]):
    """Ends an agent's turn with an answer when a budget no longer admits its model.

    Args:
        agent: Its name.
        events: Receives `LimitReached`.
    """

    state_schema = LimitState

    def __init__(self, agent: str, events: EventBus) -> None:
        super().__init__()
        self._agent = agent
        self._events = events

    @property
    def name(self) -> str:
        """Name in traces."""
        return "limits"

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Ask the model, or answer that it may not be asked."""
        try:
            return await handler(request)
        except BudgetExceededError as error:
            limit = of_budget(error, self._agent)
        return self._ended(limit, request, _said(request.messages))

    def _ended(
        self,
        limit: ReachedLimit,
        request: ModelRequest[RunContext],
        found: str,
        like: AIMessage | None = None,
    ) -> ModelResponse[Any]:
        announce(limit, request.runtime, self._events)
        return ModelResponse(result=[limit_answer(limit, found, like)])


class ToolRoundsMiddleware(SpendingMiddleware):
    """Bounds the rounds of tool calls of one turn as well.

    A model that asks for tools once more does not get them: it is asked to answer with what
    it has, which takes one model call. What was asked for in vain leaves no trace in the history.

    Args:
        agent: Its name.
        events: Receives `LimitReached`.
        most: Most rounds.
    """

    def __init__(self, agent: str, events: EventBus, most: int) -> None:
        super().__init__(agent, events)
        self._most = most

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any] | ExtendedModelResponse[Any]:
        """Ask the model; count the rounds, and end them."""
        # Counted in the state: messages may be summarised away, and a pause must not start anew.
        first = bool(request.messages) and request.messages[-1].type == "human"
        rounds = 0 if first else cast("int", request.state.get("rounds") or 0)
        try:
            response = await handler(request)
        except BudgetExceededError as error:
            limit = of_budget(error, self._agent)
            return self._ended(limit, request, _said(request.messages))
        last = _last(response)
        if last is None or not last.tool_calls or response.structured_response is not None:
            return response
        if rounds < self._most:
            return ExtendedModelResponse(response, Command(update={"rounds": rounds + 1}))
        limit = ReachedLimit(
            agent=self._agent,
            limit="tool_iterations",
            of="agent",
            allowed=self._most,
            spent=rounds,
        )
        try:
            response = await handler(request.override(tool_choice="none"))
            last = _last(response) or last
            if response.structured_response is not None:  # an object has no room for a sentence
                last.response_metadata[REACHED] = [limit]
                announce(limit, request.runtime, self._events, said=False)
                return response
        except BudgetExceededError as error:
            of_budget(error, self._agent)
        said = last.text.strip()
        return self._ended(limit, request, said or _said(request.messages), last if said else None)

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        """Run a tool; one that asks a model itself may find the budget spent."""
        try:
            return await handler(request)
        except BudgetExceededError as error:
            limit = of_budget(error, self._agent)
        call = request.tool_call
        return ToolMessage(sentence(limit), tool_call_id=call["id"] or "", name=call["name"], status="error")


def _last(response: ModelResponse[Any]) -> AIMessage | None:
    return next((message for message in reversed(response.result) if isinstance(message, AIMessage)), None)


def _said(messages: Sequence[AnyMessage]) -> str:
    """What the agent said since the question, between its tool calls."""
    said: list[str] = []
    for message in reversed(messages):
        if message.type == "human":
            break
        if isinstance(message, AIMessage) and message.text.strip():
            said.append(message.text.strip())
    return "\n\n".join(reversed(said))
