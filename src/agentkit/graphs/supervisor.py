"""A supervisor and its agents as one state graph.

One async node decides and sends (LangGraph `Send`), so that several agents run at once;
each agent is a node that runs its own graph. The answer of one is the answer; those of
several are joined in a last node, in the order of the route. When no agent fits, the
supervisor answers in the first node, without another step.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Command, Overwrite, Send

from agentkit.context import RunContext
from agentkit.errors import (
    AgentError,
    BudgetExceededError,
    ConfigurationError,
    DuplicateNameError,
    ProviderError,
    ScriptError,
)
from agentkit.events import EventBus, RouteDecided
from agentkit.graphs import failures
from agentkit.graphs.bridge import NO_LIMITS, Graph
from agentkit.graphs.joining import Joining, joined, ordered
from agentkit.graphs.nodes import above_question, fenced, recent
from agentkit.graphs.prompts import packaged
from agentkit.graphs.request_prompt import SystemPrompt, system_message
from agentkit.graphs.routing.base import HISTORY_TOKENS, SUPERVISOR, AgentCard, Routing, listing
from agentkit.graphs.routing.llm import LLMRouting
from agentkit.graphs.state import AgentInput, AgentPart, SupervisorState
from agentkit.graphs.worker import JOIN, worker
from agentkit.llm.budgets import Limits

logger = logging.getLogger(__name__)


def build_supervisor(
    agents: Sequence[Graph],
    *,
    model: BaseChatModel,
    routing: Routing | None = None,
    prompt: SystemPrompt | None = None,
    combine: Callable[[str], str] | None = None,
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
        prompt: System prompt of the supervisor's own answers, or a function that makes it for each
            request; None: the packaged one.
        combine: Prompt with which `model` makes one answer of several agents' answers: a
            function from these to the text shown above the question. None: they stand one
            after another under the agents' names.
        name: Name of the graph, in traces and metrics.
        checkpointer: Keeps conversations by `thread_id`; None: none are kept.
        events: Receives `RouteDecided`.
        limits: What all model calls of one turn may spend together, routing and agents
            included; the call that no longer fits raises `BudgetExceededError`.
        home: Event loop the checkpointer's connections belong to; see `Graph`.

    Raises:
        DuplicateNameError: Two agents share a name.
        ConfigurationError: There is no agent, or one has a name the graph uses itself.
    """
    cards = _cards(agents)
    node = _Supervisor(
        cards=cards,
        model=model,
        routing=routing or Routing((LLMRouting(model, packaged("routing", "agents")),)),
        system=packaged("supervisor", "agents")(listing(cards)) if prompt is None else prompt,
        combine=None if combine is None else fenced(combine),
        name=name,
        events=events or EventBus(),
    )
    builder = StateGraph(SupervisorState, context_schema=RunContext)
    destinations = tuple(card.name for card in cards)
    builder.add_node(SUPERVISOR, node.decide, destinations=(*destinations, END))
    builder.add_edge(START, SUPERVISOR)
    for agent, card in zip(agents, cards, strict=True):
        builder.add_node(agent.name, cast("Any", worker(agent, card)), destinations=(JOIN, END))
    builder.add_node(JOIN, node.join)
    builder.add_edge(JOIN, END)
    graph = builder.compile(checkpointer=checkpointer, name=name)
    return Graph.adopt(graph, home=home, limits=limits, team=True)


@dataclass(frozen=True, slots=True)
class _Supervisor:
    """The nodes that decide who answers, and make one answer of several."""

    cards: tuple[AgentCard, ...]
    model: BaseChatModel
    routing: Routing
    system: SystemPrompt
    combine: Callable[[str], str] | None
    name: str
    events: EventBus

    async def decide(self, state: SupervisorState, runtime: Runtime[RunContext]) -> Command[Any]:
        """Route the last message, or answer it when no agent fits."""
        messages = state["messages"]
        started = time.perf_counter()
        context = cast("RunContext | None", runtime.context) or RunContext()
        route = await self.routing.decide(messages, self.cards, context)
        self.events.emit(
            RouteDecided(
                blueprint=self.name,
                agents=tuple(route["agents"]),
                method=route["method"],
                duration=time.perf_counter() - started,
                request_id=context.request_id,
            )
        )
        runtime.stream_writer({"type": "route", "route": route, "combined": self.combine is not None})
        update: dict[str, Any] = {"route": route, "sources": Overwrite([]), "parts": Overwrite([])}
        if agents := route["agents"]:
            sent = AgentInput(messages=messages, alone=len(agents) == 1)
            return Command(update=update, goto=[Send(agent, sent) for agent in agents])
        answer = await self.model.ainvoke(
            [system_message(self.system, context), *recent(messages, HISTORY_TOKENS)]
        )
        answer.name = SUPERVISOR
        return Command(update={**update, "messages": [answer]}, goto=END)

    async def join(self, state: SupervisorState) -> dict[str, Any]:
        """Make one answer of the parts; raise the first one's error when all agents failed."""
        agents = cast("dict[str, Any]", state)["route"]["agents"]
        joining = Joining()
        for part in ordered(state.get("parts") or [], agents):
            joining.add(part)
        parts = joining.parts
        answered = [part for part in parts if part["status"] == "answered"]
        if not answered:
            raise _failure(parts[0])
        answer = await self._combined(state["messages"], parts) if len(answered) > 1 else None
        answer = answer or AIMessage(joined(parts))
        answer.name = SUPERVISOR
        return {"messages": [answer], "sources": Overwrite(joining.sources), "parts": Overwrite(parts)}

    async def _combined(self, messages: Sequence[AnyMessage], parts: Sequence[AgentPart]) -> AIMessage | None:
        """One answer in the model's words; None when that is not wanted, or fails."""
        if self.combine is None:
            return None
        answered = [part for part in parts if part["status"] == "answered"]
        asked = above_question(recent(messages, HISTORY_TOKENS), self.combine(joined(answered)))
        try:
            answer = await self.model.ainvoke(asked)
        except ScriptError:  # a test's own mistake
            raise
        except (ProviderError, BudgetExceededError) as error:
            logger.warning("the answers of several agents stand side by side: %s", error)
            return None
        if not answer.text.strip():
            return None
        missing = [part["text"] for part in parts if part["status"] != "answered"]
        answer.content = "\n\n".join([answer.text, *missing])
        return answer


def _failure(part: AgentPart) -> Exception:
    known = failures.noted(part["agent"])
    return known or AgentError(f"{part['text']} ({part['error']})", agent=part["agent"])


def _cards(agents: Sequence[Graph]) -> tuple[AgentCard, ...]:
    cards: list[AgentCard] = []
    for agent in agents:
        if any(card.name == agent.name for card in cards):
            raise DuplicateNameError("agent", agent.name)
        if agent.name in (SUPERVISOR, JOIN):
            raise ConfigurationError(
                f"An agent cannot be called {agent.name!r}.", hint="Choose another name."
            )
        cards.append(agent.about or AgentCard(agent.name))
    if not cards:
        raise ConfigurationError("A supervisor needs at least one agent.")
    return tuple(cards)
