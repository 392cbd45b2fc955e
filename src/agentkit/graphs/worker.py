"""The node of one agent in a supervisor's graph.

Asked alone, its answer is the answer and its failure the run's. Asked beside others, what
goes wrong in it is its own: the others finish, and the join says what is missing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.errors import GraphBubbleUp
from langgraph.types import Command

from agentkit.errors import AgentTimeoutError, ScriptError
from agentkit.graphs import failures
from agentkit.graphs.bridge import Graph
from agentkit.graphs.history import given, handed_back
from agentkit.graphs.joining import failure_text
from agentkit.graphs.limits import reached, without_sentences
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.routing.base import AgentCard
from agentkit.graphs.state import AgentInput, AgentPart, Source

logger = logging.getLogger(__name__)

JOIN = "supervisor.join"
"""Node that joins the parts of several agents; no agent of a blueprint can have this name."""

Worker = Callable[[AgentInput], Awaitable[dict[str, Any] | Command[Any]]]


def worker(agent: Graph, card: AgentCard) -> Worker:
    """Return the node that runs `agent`."""

    async def run(state: AgentInput) -> dict[str, Any] | Command[Any]:
        if not state["alone"]:
            return Command(update={"parts": [await _part(agent, card, state)]}, goto=JOIN)
        messages, sources, output = await _asked(agent, card, state)
        returned = handed_back(messages, card.returns)
        limits = reached(messages[-1])
        return {"messages": returned, "sources": sources, "limits_reached": limits, "output": output}

    return run


async def _asked(
    agent: Graph, card: AgentCard, state: AgentInput
) -> tuple[list[AnyMessage], list[Source], Any]:
    """The agent's messages, the passages it found, and the object its answer is, if it is one."""
    messages = given(
        state["messages"],
        card.history,
        tokens=card.history_tokens,
        tools=card.tools,
        summary=state.get("summary", ""),
    )
    limit = asyncio.timeout(card.timeout)
    try:
        async with limit:
            result = cast("dict[str, Any]", await agent.ainvoke(cast("Any", {"messages": messages})))
    except TimeoutError as error:
        if card.timeout is None or not limit.expired():  # somebody else's
            raise
        raise AgentTimeoutError(card.name, card.timeout) from error
    messages = cast("list[AnyMessage]", result["messages"])
    return messages, result.get("sources") or [], result.get("structured_response")


async def _part(agent: Graph, card: AgentCard, state: AgentInput) -> AgentPart:
    try:
        messages, sources, output = await _asked(agent, card, state)
    except (GraphBubbleUp, ScriptError):  # a pause; a test's own mistake
        raise
    except Exception as error:
        logger.warning("the agent %s failed beside others", card.name, exc_info=True)
        failures.note(card.name, error)
        name = type(error).__name__
        return AgentPart(
            agent=card.name,
            status="timeout" if isinstance(error, AgentTimeoutError) else "failed",
            text=failure_text(card.name, name),
            error=name,
            model="",
            sources=[],
        )
    answer = cast("AIMessage", messages[-1])
    limits = reached(answer)
    part = AgentPart(
        agent=card.name,
        status="answered" if without_sentences(answer.text, limits) else "limited",
        text=answer.text,
        error="",
        model=str(answer.response_metadata.get("model_name", "")),
        sources=sources,
        prompts=prompts_of(answer),
    )
    if limits:
        part["limits_reached"] = limits
    if output is not None:
        part["output"] = output
    return part
