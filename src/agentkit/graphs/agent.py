"""One agent as a compiled state graph: retrieve → model ⇄ tools."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - partly untyped
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from agentkit.context import RunContext
from agentkit.events import EventBus
from agentkit.graphs.approval import Approval, approving
from agentkit.graphs.bridge import NO_LIMITS, Graph
from agentkit.graphs.handoffs import HandoffMiddleware
from agentkit.graphs.history import History, Returns
from agentkit.graphs.limits import SpendingMiddleware, ToolRoundsMiddleware
from agentkit.graphs.nodes import KnowledgeMiddleware, Retrieve
from agentkit.graphs.output import OutputMiddleware, response_format
from agentkit.graphs.prompted import PromptsNoted
from agentkit.graphs.prompts import packaged
from agentkit.graphs.request_prompt import RequestPromptMiddleware, SystemPrompt, named
from agentkit.graphs.routing.base import HISTORY_TOKENS, AgentCard
from agentkit.graphs.tool_limits import ToolLimit
from agentkit.llm.budgets import Limits
from agentkit.prompts import labels

TOOL_ITERATIONS = 5

_UNLIMITED: Mapping[str, int] = MappingProxyType({})


def build_agent(
    *,
    name: str,
    model: BaseChatModel,
    tools: Sequence[BaseTool | Callable[..., Any]] = (),
    prompt: SystemPrompt = "",
    retriever: Retrieve | None = None,
    sources_prompt: Callable[[str], str] | None = None,
    description: str = "",
    examples: Sequence[str] = (),
    tool_iterations: int = TOOL_ITERATIONS,
    tool_limits: Mapping[str, int] = _UNLIMITED,
    middleware: Sequence[AgentMiddleware[Any, Any, Any]] = (),
    history_tokens: int = HISTORY_TOKENS,
    output: Mapping[str, Any] | None = None,
    history: History = "full",
    returns: Returns = "last_message",
    timeout: float | None = None,
    limits: Limits = NO_LIMITS,
    events: EventBus | None = None,
    home: asyncio.AbstractEventLoop | None = None,
    approvals: Mapping[str, Approval | bool] | None = None,
    handoffs: Sequence[AgentCard] = (),
    handoff_prompt: Callable[[str], str] | None = None,
) -> Graph:
    """Build an agent: a graph that answers the last user message in its `messages`.

    Args:
        name: Its name in messages, traces and routes.
        model: Any LangChain chat model.
        tools: LangChain tools or typed functions it may call.
        prompt: System prompt, or a function that makes it for each request from its `RunContext`.
            One from `PromptManager.get` is named, with its version, in traces and in its
            messages' `response_metadata["prompts"]`.
        retriever: Finds passages before the model is asked; see `graphs.knowledge` for
            adapters. None: no retrieval node.
        sources_prompt: Turns the numbered passages into the text above the question.
            None: the packaged prompt `retrieval`.
        description: What it answers, for a supervisor.
        examples: Questions it should get, for a supervisor.
        tool_iterations: Most rounds of tool calls in one turn; at the limit the model answers
            with what it has, and the answer says so.
        tool_limits: Most calls of a tool in one turn, by its name; the model is told, and goes on.
        middleware: LangChain middleware, outermost first; docs/middleware.md says where in the
            order the agent's own parts stand.
        history_tokens: Most tokens of earlier messages a supervisor passes on to it.
        output: JSON Schema (2020-12) of an object, without references, that its answers fit: the
            answer is its JSON, and the state's `structured_response` the object. One that
            does not fit is asked for again, twice; then there is a `StructuredOutputError`.
        history: What a supervisor gives it: only the question (`task`), the question and a
            summary of what was said before (`task_and_summary`), or the conversation (`full`).
        returns: What it hands back into the conversation: its answer (`last_message`), or its
            tool calls and their results too (`full`); beside other agents, its answer alone.
        timeout: Most seconds a supervisor waits for its answer; None: as long as it takes.
        limits: What the model calls of one turn may spend together; instead of the call that
            no longer fits the turn ends with an answer that says so.
        events: Receives `LimitReached`.
        home: Event loop the retriever's connections belong to; see `Graph`.
        approvals: Tools whose calls wait for a person, by name; needs a checkpointer in the graph
            that runs it.
        handoffs: Agents of the same supervisor it may hand the question to: their names and
            what they answer, or `agent.about`.
        handoff_prompt: Describes the tool for one of them, from `name: description`. None: the
            packaged prompt `handoff`.

    Raises:
        UnknownNameError: An approval names a tool the agent does not have.
        ConfigurationError: An approval's condition asks about an argument its tool does not have.

    Returns:
        A compiled graph; `invoke`, `stream`, `ainvoke` and `astream` all work.
    """
    bus = events or EventBus()
    calls_tools = bool(tools) or bool(handoffs) or any(getattr(part, "tools", ()) for part in middleware)
    approval = approving(approvals or {}, tools)
    # The first is outermost around model and tools, first before the model and last after it:
    # nobody is asked to approve what a limit keeps from running.
    stack: list[AgentMiddleware[Any, Any, Any]] = [
        *([approval] if approval else []),
        ToolRoundsMiddleware(name, bus, tool_iterations) if calls_tools else SpendingMiddleware(name, bus),
        *(part for part in middleware if not isinstance(part, ToolLimit)),
    ]
    shown: Callable[[str], str] = str
    if not isinstance(prompt, str):
        stack.append(RequestPromptMiddleware(prompt))
    if retriever is not None:
        shown = sources_prompt or packaged("retrieval", "sources")
        stack.append(KnowledgeMiddleware(retriever, shown))
    if handoffs:
        stack.append(HandoffMiddleware(handoffs, handoff_prompt or packaged("handoff", "agent")))
    if output is not None:
        stack.append(OutputMiddleware(name, output, packaged("output_retry", "error")))
    # Last, so that they are asked first after the model: nobody approves a call above its limit.
    stack += [part for part in middleware if isinstance(part, ToolLimit)]
    stack += [ToolLimit(tool, limit) for tool, limit in tool_limits.items()]
    if used := labels(named(prompt), shown("")):
        stack.append(PromptsNoted(used))
    graph = create_agent(
        model,
        list(tools),
        system_prompt=(str(prompt) or None) if isinstance(prompt, str) else None,
        middleware=stack,
        response_format=None if output is None else response_format(name, output),
        context_schema=RunContext,
        name=name,
    )
    others = tuple(card.name for card in handoffs)
    about = AgentCard(
        name, description, tuple(examples), history_tokens, timeout, history, returns, calls_tools, others
    )
    return Graph.adopt(graph, home=home, about=about, limits=limits, prompts=used)
