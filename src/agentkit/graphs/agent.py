"""One agent as a compiled state graph: retrieve → model ⇄ tools."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from langchain.agents import create_agent  # pyright: ignore[reportUnknownVariableType] - partly untyped
from langchain.agents.middleware import AgentMiddleware, ModelCallLimitMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from agentkit.context import RunContext
from agentkit.graphs.bridge import NO_LIMITS, Graph
from agentkit.graphs.nodes import KnowledgeMiddleware, Retrieve
from agentkit.graphs.prompts import packaged
from agentkit.graphs.request_prompt import RequestPromptMiddleware, SystemPrompt
from agentkit.graphs.routing.base import HISTORY_TOKENS, AgentCard
from agentkit.llm.budgets import Limits

TOOL_ITERATIONS = 5


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
    history_tokens: int = HISTORY_TOKENS,
    timeout: float | None = None,
    limits: Limits = NO_LIMITS,
    home: asyncio.AbstractEventLoop | None = None,
) -> Graph:
    """Build an agent: a graph that answers the last user message in its `messages`.

    Args:
        name: Its name in messages, traces and routes.
        model: Any LangChain chat model.
        tools: LangChain tools or typed functions it may call.
        prompt: System prompt, or a function that makes it for each request from its `RunContext`.
        retriever: Finds passages before the model is asked; see `graphs.knowledge` for
            adapters. None: no retrieval node.
        sources_prompt: Turns the numbered passages into the text above the question.
            None: the packaged prompt `retrieval`.
        description: What it answers, for a supervisor.
        examples: Questions it should get, for a supervisor.
        tool_iterations: Most rounds of tool calls in one turn; at the limit the turn ends
            with a message that says so.
        history_tokens: Most tokens of earlier messages a supervisor passes on to it.
        timeout: Most seconds a supervisor waits for its answer; None: as long as it takes.
        limits: What the model calls of one turn may spend together; the call that no longer
            fits raises `BudgetExceededError` instead of being made.
        home: Event loop the retriever's connections belong to; see `Graph`.

    Returns:
        A compiled graph; `invoke`, `stream`, `ainvoke` and `astream` all work.
    """
    middleware: list[AgentMiddleware[Any, Any, Any]] = []
    if not isinstance(prompt, str):
        middleware.append(RequestPromptMiddleware(prompt))
    if retriever is not None:
        shown = sources_prompt or packaged("retrieval", "sources")
        middleware.append(KnowledgeMiddleware(retriever, shown))
    if tools:
        # The model is asked once more than tools are run: to answer with the last results.
        middleware.append(ModelCallLimitMiddleware(run_limit=tool_iterations + 1))
    graph = create_agent(
        model,
        list(tools),
        system_prompt=(prompt or None) if isinstance(prompt, str) else None,
        middleware=middleware,
        context_schema=RunContext,
        name=name,
    )
    about = AgentCard(name, description, tuple(examples), history_tokens, timeout)
    return Graph.adopt(graph, home=home, about=about, limits=limits)
