"""The node of one agent in a supervisor's graph.

Asked alone, its answer is the answer and its failure the run's. Asked beside others, what
goes wrong in it is its own: the others finish, and the join says what is missing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from langgraph.types import Command

from agentkit.errors import AgentTimeoutError, ScriptError
from agentkit.graphs import failures
from agentkit.graphs.bridge import Graph
from agentkit.graphs.handoffs import handed_over
from agentkit.graphs.history import given, handed_back
from agentkit.graphs.joining import failure_text
from agentkit.graphs.limits import reached, without_sentences
from agentkit.graphs.nodes import above_question
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.routing.base import AgentCard
from agentkit.graphs.state import AgentInput, AgentPart, RouteDecision, Source

logger = logging.getLogger(__name__)

JOIN = "supervisor.join"
"""Node that joins the parts of several agents; no agent of a blueprint can have this name."""

Worker = Callable[[AgentInput], Awaitable[dict[str, Any] | Command[Any]]]


def worker(agent: Graph, card: AgentCard) -> Worker:
    """Return the node that runs `agent`."""

    async def run(state: AgentInput) -> dict[str, Any] | Command[Any]:
        if not state["alone"]:
            part, below = await _part(agent, card, state)
            return Command(update={"parts": [part], **below}, goto=JOIN)
        result = await _asked(agent, card, state)
        if passed_on := handed_over(card, state, result):
            return Command(goto=passed_on)
        messages = cast("list[AnyMessage]", result["messages"])
        return {
            "messages": handed_back(messages, card.returns),
            "sources": _sources(result),
            "limits_reached": reached(messages[-1]),
            "output": _output(result),
            **_below(card, result),
        }

    return run


async def _asked(agent: Graph, card: AgentCard, state: AgentInput) -> dict[str, Any]:
    """The state in which the agent ended."""
    messages = given(
        state["messages"],
        card.history,
        tokens=card.history_tokens,
        tools=card.tools,
        summary=state.get("summary", ""),
    )
    if above := state.get("above"):
        messages = above_question(messages, above)
    asked: dict[str, Any] = {"messages": messages}
    if card.handoffs:
        asked["may_hand_over"] = state["alone"]
    limit = asyncio.timeout(card.timeout)
    try:
        async with limit:
            return cast("dict[str, Any]", await agent.ainvoke(cast("Any", asked)))
    except TimeoutError as error:
        if card.timeout is None or not limit.expired():  # somebody else's
            raise
        raise AgentTimeoutError(card.name, card.timeout) from error


def _sources(result: dict[str, Any]) -> list[Source]:
    return result.get("sources") or []


def _output(result: dict[str, Any]) -> Any:
    """The object that the answer is, of an agent or of a team; None where it is text."""
    return result.get("structured_response", result.get("output"))


def _below(card: AgentCard, result: dict[str, Any]) -> dict[str, Any]:
    """What the supervisor's state keeps of an agent that is a team: who in it was asked."""
    route = cast("RouteDecision | None", result.get("route"))
    if route is None:
        return {}
    inner = cast("dict[str, RouteDecision]", result.get("teams") or {})
    return {"teams": {card.name: route, **{f"{card.name}/{team}": inner[team] for team in inner}}}


async def _part(agent: Graph, card: AgentCard, state: AgentInput) -> tuple[AgentPart, dict[str, Any]]:
    """One of several answers, and what else the supervisor's state keeps of it."""
    try:
        result = await _asked(agent, card, state)
    except (GraphBubbleUp, ScriptError):  # a pause; a test's own mistake
        raise
    except Exception as error:
        if is_invalid_resume(error):  # the answer to a pause does not fit: it can be given again
            raise
        logger.warning("the agent %s failed beside others", card.name, exc_info=True)
        failures.note(card.name, error)
        name = type(error).__name__
        part = AgentPart(
            agent=card.name,
            status="timeout" if isinstance(error, AgentTimeoutError) else "failed",
            text=failure_text(card.name, name),
            error=name,
            model="",
            sources=[],
        )
        return part, {}
    answer = cast("AIMessage", result["messages"][-1])
    limits = reached(answer)
    part = AgentPart(
        agent=card.name,
        status="answered" if without_sentences(answer.text, limits) else "limited",
        text=answer.text,
        error="",
        model=str(answer.response_metadata.get("model_name", "")),
        sources=_sources(result),
        prompts=prompts_of(answer),
    )
    if limits:
        part["limits_reached"] = limits
    if (output := _output(result)) is not None:
        part["output"] = output
    return part, _below(card, result)
