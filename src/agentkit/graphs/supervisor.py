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
from langchain_core.messages import AIMessage, AnyMessage, SystemMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore
from langgraph.types import Command, Durability, Overwrite, Send

from agentkit.context import RunContext
from agentkit.errors import (
    AgentError,
    BudgetExceededError,
    ConfigurationError,
    DuplicateNameError,
    ProviderError,
    ScriptError,
    UnknownNameError,
)
from agentkit.events import EventBus, RouteDecided
from agentkit.graphs import failures
from agentkit.graphs.bridge import NO_LIMITS, Graph
from agentkit.graphs.handoffs import HANDOFF, MAX_HOPS, Handoffs
from agentkit.graphs.history import RunningSummary, plain
from agentkit.graphs.joining import Joining, joined, ordered
from agentkit.graphs.limits import announce, limit_answer, of_budget, sentence, without_sentences
from agentkit.graphs.nodes import above_question, fenced, recent
from agentkit.graphs.prompted import noting, with_prompts
from agentkit.graphs.prompts import packaged, packaged_summary
from agentkit.graphs.request_prompt import SystemPrompt, named
from agentkit.graphs.routing.base import ANYONE, HISTORY_TOKENS, SUPERVISOR, AgentCard, Routing, listing
from agentkit.graphs.routing.llm import LLMRouting
from agentkit.graphs.state import (
    AgentInput,
    AgentPart,
    ReachedLimit,
    RouteDecision,
    SupervisorState,
)
from agentkit.graphs.worker import JOIN, worker
from agentkit.llm.budgets import Limits
from agentkit.prompts import labels

logger = logging.getLogger(__name__)


def build_supervisor(
    agents: Sequence[Graph],
    *,
    model: BaseChatModel,
    routing: Routing | None = None,
    prompt: SystemPrompt | None = None,
    combine: Callable[[str], str] | None = None,
    summary: RunningSummary | None = None,
    name: str = SUPERVISOR,
    checkpointer: BaseCheckpointSaver[Any] | None = None,
    events: EventBus | None = None,
    limits: Limits = NO_LIMITS,
    home: asyncio.AbstractEventLoop | None = None,
    durability: Durability | None = None,
    max_hops: int = MAX_HOPS,
    handoff_task: Callable[[str], str] | None = None,
    store: BaseStore | None = None,
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
        summary: Keeps the summary for agents with `history="task_and_summary"`; None: `model`
            writes it, with the packaged prompt.
        name: Name of the graph, in traces and metrics.
        checkpointer: Keeps conversations by `thread_id`; None: none are kept.
        events: Receives `RouteDecided`.
        limits: What all model calls of one turn may spend together, routing and agents
            included; instead of the call that no longer fits there is an answer that says so.
        home: Event loop the checkpointer's connections belong to; see `Graph`.
        durability: When checkpoints are written: `sync` before the next step, `async` during it,
            `exit` when the run ends or pauses; None: as LangGraph does.
        max_hops: Most visits of agents in one turn, where agents hand questions over.
        handoff_task: Prompt that shows a handed-over task above the user's question: a
            function from the task. None: the packaged prompt `handoff_task`.
        store: Where tools and middleware keep what outlasts a conversation, as `runtime.store`;
            None: nowhere.

    Raises:
        DuplicateNameError: Two agents share a name.
        UnknownNameError: An agent may hand over to one that is not here.
        ConfigurationError: There is no agent, or one has a name the graph uses itself.
    """
    cards = _cards(agents)
    system = packaged("supervisor", "agents")(listing(cards)) if prompt is None else prompt
    node = _Supervisor(
        cards=cards,
        model=model,
        routing=routing or Routing((LLMRouting(model, packaged("routing", "agents")),)),
        system=system,
        combine=None if combine is None else fenced(combine),
        summary=summary or _packaged_summary(model, cards),
        name=name,
        events=events or EventBus(),
    )
    builder = StateGraph(SupervisorState, context_schema=RunContext)
    destinations = tuple(card.name for card in cards)
    builder.add_node(SUPERVISOR, node.decide, destinations=(*destinations, END))
    builder.add_edge(START, SUPERVISOR)
    for agent, card in zip(agents, cards, strict=True):
        ends = (JOIN, HANDOFF, END) if card.handoffs else (JOIN, END)
        builder.add_node(agent.name, cast("Any", worker(agent, card)), destinations=ends)
    if any(card.handoffs for card in cards):
        shown = fenced(handoff_task or packaged("handoff_task", "task"))
        handing = Handoffs(max_hops=max_hops, prompt=shown, name=name, events=node.events)
        builder.add_node(HANDOFF, cast("Any", handing.pass_on), destinations=(*destinations, END))
    builder.add_node(JOIN, node.join)
    builder.add_edge(JOIN, END)
    graph = builder.compile(checkpointer=checkpointer, store=store, name=name)
    used = dict.fromkeys([*labels(named(system)), *(label for agent in agents for label in agent.prompts)])
    return Graph.adopt(
        graph,
        home=home,
        limits=limits,
        team=True,
        prompts=tuple(used),
        combines=combine is not None,
        durability=durability,
        agents={agent.name: agent for agent in agents},
    )


@dataclass(frozen=True, slots=True)
class _Supervisor:
    """The nodes that decide who answers, and make one answer of several."""

    cards: tuple[AgentCard, ...]
    model: BaseChatModel
    routing: Routing
    system: SystemPrompt
    combine: Callable[[str], str] | None
    summary: RunningSummary | None
    name: str
    events: EventBus

    async def decide(self, state: SupervisorState, runtime: Runtime[RunContext]) -> Command[Any]:
        """Route the last message, or answer it when no agent fits."""
        messages = plain(state["messages"])
        started = time.perf_counter()
        context = cast("RunContext | None", runtime.context) or ANYONE
        limit: ReachedLimit | None = None
        try:
            route = await self.routing.decide(messages, self.cards, context)
        except BudgetExceededError as error:
            limit = of_budget(error, SUPERVISOR)
            reason = "a limit was reached before anybody was chosen"
            route = RouteDecision(agents=[], method="direct", scores={}, reason=reason)
        self.events.emit(
            RouteDecided(
                blueprint=self.name,
                agents=tuple(route["agents"]),
                method=route["method"],
                duration=time.perf_counter() - started,
                request_id=context.request_id,
                scores=dict(route["scores"]),
                reason=route["reason"],
            )
        )
        runtime.stream_writer({"type": "route", "route": route, "combined": self.combine is not None})
        update: dict[str, Any] = {
            "route": route,
            "output": None,
            **{key: Overwrite([]) for key in ("sources", "parts", "limits_reached")},
        }
        if state.get("teams"):
            update["teams"] = Overwrite({})
        if state.get("hops"):
            update |= {"hops": [], "stopped": None}
        if agents := route["agents"]:
            sent = AgentInput(messages=state["messages"], alone=len(agents) == 1)
            if self.summary is not None and self._summarised(agents):
                update["summary"] = await self.summary.updated(state["messages"], state.get("summary"))
                sent["summary"] = self.summary.shown(update["summary"])
            return Command(update=update, goto=[Send(agent, sent) for agent in agents])
        try:
            answer = None if limit else await self._own(messages, context)
        except BudgetExceededError as error:
            answer, limit = None, of_budget(error, SUPERVISOR)
        if limit:
            announce(limit, runtime, self.events)
            answer, update["limits_reached"] = limit_answer(limit), Overwrite([limit])
        return Command(update={**update, "messages": [answer]}, goto=END)

    def _summarised(self, agents: Sequence[str]) -> bool:
        """Whether one of `agents` is given a summary."""
        return any(card.history == "task_and_summary" for card in self.cards if card.name in agents)

    async def _own(self, messages: Sequence[AnyMessage], context: RunContext) -> AIMessage:
        system = self.system if isinstance(self.system, str) else self.system(context)
        shown = [SystemMessage(str(system)), *recent(messages, HISTORY_TOKENS)]
        answer = await self._said(shown, labels(system))
        answer.name = SUPERVISOR
        return answer

    async def join(self, state: SupervisorState, runtime: Runtime[RunContext]) -> dict[str, Any]:
        """Make one answer of the parts; raise the first one's error when all agents failed."""
        agents = cast("dict[str, Any]", state)["route"]["agents"]
        joining = Joining()
        for part in ordered(state.get("parts") or [], agents):
            joining.add(part)
        parts = joining.parts
        answered = [part for part in parts if part["status"] == "answered"]
        if not any(part["status"] in ("answered", "limited") for part in parts):
            raise _failure(parts[0])
        limits = [limit for part in parts for limit in part.get("limits_reached", [])]
        answer = None
        try:
            answer = await self._combined(state["messages"], parts) if len(answered) > 1 else None
        except BudgetExceededError as error:
            logger.warning("the answers of several agents stand side by side: %s", error)
            if error.of is not None:
                limits.append(limit := of_budget(error, SUPERVISOR))
                announce(limit, runtime, self.events)
                answer = AIMessage(f"{joined(parts)}\n\n{sentence(limit)}")
        answer = answer or AIMessage(joined(parts))
        answer = with_prompts(answer, (label for part in answered for label in part.get("prompts", [])))
        answer.name = SUPERVISOR
        if limits:
            answer.response_metadata["limits_reached"] = limits
        return {
            "messages": [answer],
            "sources": Overwrite(joining.sources),
            "parts": Overwrite(parts),
            "limits_reached": Overwrite(limits),
        }

    async def _said(self, messages: Sequence[AnyMessage], used: list[str]) -> AIMessage:
        """What the supervisor's model says, with the prompts it was asked with noted."""
        return with_prompts(await self.model.ainvoke(messages, noting(None, used)), used)

    async def _combined(self, messages: Sequence[AnyMessage], parts: Sequence[AgentPart]) -> AIMessage | None:
        """One answer in the model's words; None when that is not wanted, or fails."""
        if self.combine is None:
            return None
        found = [_found(part) for part in parts if part["status"] == "answered"]
        text = self.combine(joined(found))
        try:
            answer = await self._said(
                above_question(recent(plain(messages), HISTORY_TOKENS), text), labels(text)
            )
        except ScriptError:  # a test's own mistake
            raise
        except ProviderError as error:
            logger.warning("the answers of several agents stand side by side: %s", error)
            return None
        if not answer.text.strip():
            return None
        missing = [text for part in parts if (text := _missing(part))]
        answer.content = "\n\n".join([answer.text, *missing])
        return answer


def _found(part: AgentPart) -> AgentPart:
    """A part without the sentences about limits, which a model might leave out."""
    return {**part, "text": without_sentences(part["text"], part.get("limits_reached", []))}


def _missing(part: AgentPart) -> str:
    """What a combined answer must say of a part in any case."""
    if part["status"] != "answered":
        return part["text"]
    return "\n\n".join(sentence(limit) for limit in part.get("limits_reached", []))


def _failure(part: AgentPart) -> Exception:
    known = failures.noted(part["agent"])
    return known or AgentError(f"{part['text']} ({part['error']})", agent=part["agent"])


def _packaged_summary(model: BaseChatModel, cards: Sequence[AgentCard]) -> RunningSummary | None:
    if all(card.history != "task_and_summary" for card in cards):
        return None
    return RunningSummary(model, packaged_summary(), packaged("summary_shown", "summary"))


def _cards(agents: Sequence[Graph]) -> tuple[AgentCard, ...]:
    cards: list[AgentCard] = []
    for agent in agents:
        if any(card.name == agent.name for card in cards):
            raise DuplicateNameError("agent", agent.name)
        if agent.name in (SUPERVISOR, JOIN, HANDOFF):
            raise ConfigurationError(
                f"An agent cannot be called {agent.name!r}.", hint="Choose another name."
            )
        cards.append(agent.about or AgentCard(agent.name))
    names = [card.name for card in cards]
    for strange in (name for card in cards for name in card.handoffs if name not in names):
        raise UnknownNameError("agent", strange, names)
    if not cards:
        raise ConfigurationError("A supervisor needs at least one agent.")
    return tuple(cards)
