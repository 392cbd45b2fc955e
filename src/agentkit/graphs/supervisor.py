"""A supervisor and its agents as one state graph.

One async node decides and sends (LangGraph `Send`), so that several agents could run at
once; each agent is a node that runs its own graph and returns its answer. When no agent
fits, the supervisor answers in the same node, without another step.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from agentkit.context import RunContext
from agentkit.errors import ConfigurationError, DuplicateNameError
from agentkit.events import EventBus, RouteDecided
from agentkit.graphs.bridge import NO_LIMITS, Graph
from agentkit.graphs.nodes import recent
from agentkit.graphs.prompts import packaged
from agentkit.graphs.routing.base import HISTORY_TOKENS, SUPERVISOR, AgentCard, Routing, listing
from agentkit.graphs.routing.llm import LLMRouting
from agentkit.graphs.state import AgentInput, SupervisorState
from agentkit.llm.budgets import Limits


def build_supervisor(
    agents: Sequence[Graph],
    *,
    model: BaseChatModel,
    routing: Routing | None = None,
    prompt: str | None = None,
    name: str = SUPERVISOR,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    events: EventBus | None = None,
    limits: Limits = NO_LIMITS,
    home: asyncio.AbstractEventLoop | None = None,
) -> Graph:
    """Build a graph in which a supervisor routes each user message to one of `agents`.

    Args:
        agents: From `build_agent`, with names and descriptions.
        model: Answers when no agent fits.
        routing: Strategies, tried in order; None: `model` is asked, with the packaged prompt.
        prompt: System prompt of the supervisor's own answers; None: the packaged one.
        name: Name of the graph, in traces and metrics.
        checkpointer: Keeps conversations by `thread_id`; None: none are kept.
        events: Receives `RouteDecided`.
        limits: What all model calls of one turn may spend together, routing and agents
            included; the call that no longer fits raises `BudgetExceededError`.
        home: Event loop the checkpointer's connections belong to; see `Graph`.

    Raises:
        DuplicateNameError: Two agents share a name.
        ConfigurationError: There is no agent, or one has the supervisor's name.
    """
    cards = _cards(agents)
    node = _Supervisor(
        cards=cards,
        model=model,
        routing=routing or Routing((LLMRouting(model, packaged("routing", "agents")),)),
        system=(
            SystemMessage(packaged("supervisor", "agents")(listing(cards)) if prompt is None else prompt),
        ),
        name=name,
        events=events or EventBus(),
    )
    builder = StateGraph(SupervisorState, context_schema=RunContext)
    destinations = tuple(card.name for card in cards)
    builder.add_node(SUPERVISOR, node.decide, destinations=(*destinations, END))
    builder.add_edge(START, SUPERVISOR)
    for agent, card in zip(agents, cards, strict=True):
        builder.add_node(agent.name, cast("Any", _worker(agent, card)))
        builder.add_edge(agent.name, END)
    return Graph.adopt(builder.compile(checkpointer=checkpointer, name=name), home=home, limits=limits)


@dataclass(frozen=True, slots=True)
class _Supervisor:
    """The deciding node."""

    cards: tuple[AgentCard, ...]
    model: BaseChatModel
    routing: Routing
    system: tuple[SystemMessage, ...]
    name: str
    events: EventBus

    async def decide(self, state: SupervisorState, runtime: Runtime[RunContext]) -> Command[Any]:
        """Route the last message, or answer it when no agent fits."""
        messages = state["messages"]
        started = time.perf_counter()
        route = await self.routing.decide(messages, self.cards)
        context = cast("RunContext | None", runtime.context) or RunContext()
        self.events.emit(
            RouteDecided(
                blueprint=self.name,
                agents=tuple(route["agents"]),
                method=route["method"],
                duration=time.perf_counter() - started,
                request_id=context.request_id,
            )
        )
        runtime.stream_writer({"type": "route", "route": route})
        update: dict[str, Any] = {"route": route, "sources": Overwrite([])}
        if route["agents"]:
            return Command(
                update=update, goto=[Send(agent, AgentInput(messages=messages)) for agent in route["agents"]]
            )
        answer = await self.model.ainvoke([*self.system, *recent(messages, HISTORY_TOKENS)])
        answer.name = SUPERVISOR
        return Command(update={**update, "messages": [answer]}, goto=END)


def _worker(agent: Graph, card: AgentCard) -> Callable[[AgentInput], Awaitable[dict[str, Any]]]:
    """A node that runs one agent and returns its final answer and its sources."""

    async def run(state: AgentInput) -> dict[str, Any]:
        messages = recent(state["messages"], card.history_tokens)
        result = cast("dict[str, Any]", await agent.ainvoke(cast("Any", {"messages": messages})))
        answer = cast("AnyMessage", result["messages"][-1])
        return {"messages": [answer], "sources": result.get("sources") or []}

    return run


def _cards(agents: Sequence[Graph]) -> tuple[AgentCard, ...]:
    cards: list[AgentCard] = []
    for agent in agents:
        if any(card.name == agent.name for card in cards):
            raise DuplicateNameError("agent", agent.name)
        if agent.name == SUPERVISOR:
            raise ConfigurationError("An agent cannot be called 'supervisor'.", hint="Choose another name.")
        cards.append(agent.about or AgentCard(agent.name))
    if not cards:
        raise ConfigurationError("A supervisor needs at least one agent.")
    return tuple(cards)
