"""Handing a question from one agent to another within a turn.

An agent that may hand over has one tool for each agent it may hand to. The call ends its
turn; a node of the supervisor's graph looks at all visits so far and sends to the next
agent, or ends the turn with an answer when the question goes in a circle.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse, hook_config
from langchain.tools import ToolRuntime
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send
from typing_extensions import TypedDict

from agentkit.context import RunContext
from agentkit.events import EventBus, HandedOver
from agentkit.graphs.around import AroundModel
from agentkit.graphs.routing.base import SUPERVISOR, AgentCard, last_user_text, listing
from agentkit.graphs.state import AgentInput, Hop, StopReason

HANDOFF = "supervisor.handoff"
"""Node that passes a question on; no agent of a blueprint can have this name."""

MAX_HOPS = 6
"""Most visits of agents in one turn."""

_TOOL = "handoff_to_"


class Handoff(TypedDict):
    """What an agent asked for.

    Attributes:
        agent: Who is to answer.
        task: What, in the agent's words.
    """

    agent: str
    task: str


class HandoffInput(TypedDict):
    """What an agent's node sends when the agent handed the question over.

    Attributes:
        messages: The conversation, without what the agent did.
        hops: The visits so far, the agent's own last.
        handoff: To whom it goes.
    """

    messages: list[AnyMessage]
    hops: list[Hop]
    handoff: Handoff


def _first(known: Handoff | None, new: Handoff | None) -> Handoff | None:
    """Of several handoffs in one breath the first counts."""
    return known or new


class HandoffState(AgentState[Any]):
    """An agent's state with the handoff it decided on, and whether it may."""

    may_hand_over: NotRequired[bool]
    handoff: NotRequired[Annotated[Handoff | None, _first]]


class HandoffMiddleware(AroundModel[HandoffState]):
    """Gives an agent the tools to hand over with, and ends its turn when it has.

    Where it may not, because it answers beside other agents or without a supervisor, the
    model is not shown the tools.

    Args:
        targets: Agents it may hand to, in the order of the tools.
        describe: Prompt that describes a tool: a function from `name: description`.
    """

    state_schema = HandoffState

    def __init__(self, targets: Sequence[AgentCard], describe: Callable[[str], str]) -> None:
        super().__init__()
        self.tools: Sequence[BaseTool] = [_tool(card, describe) for card in targets]
        self._names = frozenset(tool.name for tool in self.tools)

    @property
    def name(self) -> str:
        """Name of the node: `handoff.before_model`."""
        return "handoff"

    @hook_config(can_jump_to=["end"])
    async def abefore_model(self, state: HandoffState, runtime: Runtime[RunContext]) -> dict[str, Any] | None:
        """End the agent's turn once it has handed over; its other tools have run by then."""
        del runtime
        return {"jump_to": "end"} if state.get("handoff") else None

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Show the tools only to an agent that may hand over."""
        if not request.state.get("may_hand_over"):
            kept = [tool for tool in request.tools if getattr(tool, "name", None) not in self._names]
            request = request.override(tools=kept)
        return await handler(request)


def _tool(card: AgentCard, describe: Callable[[str], str]) -> BaseTool:
    name = f"{_TOOL}{card.name}"

    async def hand_over(task: str, runtime: ToolRuntime[Any, Any]) -> Command[Any] | str:
        if not runtime.state.get("may_hand_over"):
            return f"{name} is not available now."
        message = ToolMessage(f"Handed over to {card.name}.", tool_call_id=runtime.tool_call_id, name=name)
        return Command(update={"handoff": Handoff(agent=card.name, task=task), "messages": [message]})

    description = describe(listing([card]).removeprefix("- "))
    return StructuredTool.from_function(coroutine=hand_over, name=name, description=description)


def handed_over(card: AgentCard, state: AgentInput, result: dict[str, Any]) -> Send | None:
    """Where the graph goes on when an agent handed over; None when it answered.

    Args:
        card: The agent.
        state: What it was sent.
        result: The state in which it ended.
    """
    handoff = cast("Handoff | None", result.get("handoff"))
    if handoff is None:
        return None
    question = last_user_text(state["messages"])
    visits = state.get("hops") or [Hop(agent=card.name, by=SUPERVISOR, task=question, worked=False)]
    worked = any(_is_work(message) for message in cast("list[AnyMessage]", result["messages"]))
    hops = [*visits[:-1], cast("Hop", {**visits[-1], "worked": worked})]
    return Send(HANDOFF, HandoffInput(messages=state["messages"], hops=hops, handoff=handoff))


def _is_work(message: AnyMessage) -> bool:
    """Whether a message is the result of a tool other than a handoff, and of one that worked."""
    return (
        isinstance(message, ToolMessage)
        and message.status != "error"
        and not (message.name or "").startswith(_TOOL)
    )


def stopped(hops: Sequence[Hop], handoff: Handoff, max_hops: int) -> StopReason | None:
    """Why a question is not handed on, or None.

    It goes in a circle when an agent is asked the same again, or is asked again although
    since its last visit nobody did more than hand over.
    """
    earlier = [index for index, hop in enumerate(hops) if hop["agent"] == handoff["agent"]]
    if any(_same(hops[index]["task"], handoff["task"]) for index in earlier):
        return "loop"
    if earlier and not any(hop["worked"] for hop in hops[earlier[-1] + 1 :]):
        return "loop"
    return "max_hops" if len(hops) >= max_hops else None


def _same(a: str, b: str) -> bool:
    return a.casefold().split() == b.casefold().split()


@dataclass(frozen=True, slots=True)
class Handoffs:
    """The node that passes a question on.

    Attributes:
        max_hops: Most visits of agents in one turn.
        prompt: Shows a task above the user's question: a function from the task.
        name: Name of the supervisor's graph, for events.
        events: Receives `HandedOver`.
    """

    max_hops: int
    prompt: Callable[[str], str]
    name: str
    events: EventBus

    async def pass_on(self, state: HandoffInput, runtime: Runtime[RunContext]) -> Command[Any]:
        """Send the question to the agent it was handed to, or answer that it goes no further."""
        hops, handoff = state["hops"], state["handoff"]
        hop = Hop(agent=handoff["agent"], by=hops[-1]["agent"], task=handoff["task"], worked=False)
        reason = stopped(hops, handoff, self.max_hops)
        context = cast("RunContext | None", runtime.context) or RunContext()
        self.events.emit(
            HandedOver(
                blueprint=self.name,
                by=hop["by"],
                to=hop["agent"],
                stopped=reason or "",
                request_id=context.request_id,
            )
        )
        runtime.stream_writer({"type": "handoff", "hop": hop, "stopped": reason})
        if reason is not None:
            answer = AIMessage(_sentence(reason, [*hops, hop]), name=SUPERVISOR)
            update = {"messages": [answer], "hops": hops, "stopped": reason, "sources": Overwrite([])}
            return Command(update=update, goto=END)
        hops = [*hops, hop]
        sent = AgentInput(messages=state["messages"], alone=True, hops=hops, above=self.prompt(hop["task"]))
        return Command(update={"hops": hops}, goto=Send(hop["agent"], sent))


def _sentence(reason: StopReason, hops: Sequence[Hop]) -> str:
    """What the user reads instead of an answer."""
    way = " → ".join(hop["agent"] for hop in hops)
    if reason == "loop":
        return f"Nobody answered: the question went in a circle ({way})."
    return f"Nobody answered: the question was handed on too often ({way})."
