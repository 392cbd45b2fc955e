"""Running a blueprint's own tests, turn by turn, the way users talk to it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast
from uuid import uuid4

from langgraph.errors import GraphBubbleUp

from agentkit.blueprints.cases import CaseSpec
from agentkit.blueprints.testing import CaseResult, Mismatch, Outcome, judge, retrieves, scripts
from agentkit.context import RunContext
from agentkit.errors import AgentKitError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.state import RouteDecision, Source
from agentkit.llm.providers.scripted import Script
from agentkit.services.chat import Answer, ChatService, ToolCallRecord

Compile = Callable[[Mapping[str, Script] | None, bool], Awaitable[Graph]]
"""Makes the graph of one test: with scripts instead of models, or None; with retrieval, or not."""


async def run_test(case: CaseSpec, compile_graph: Compile) -> CaseResult:
    """Run one test on a thread of its own and judge it.

    Whatever goes wrong in a turn is part of the result; what goes wrong before the first
    one (no database, no weights, a tool that cannot be imported) is raised.

    Args:
        case: The test.
        compile_graph: Makes its graph, with a checkpointer of its own.

    Raises:
        AgentKitError: The graph cannot be made.
    """
    spoken = scripts(case)
    chat = ChatService(await compile_graph(spoken, retrieves(case)))
    thread, outcome, mismatches = uuid4().hex, Outcome(), tuple[Mismatch, ...]()
    started = time.perf_counter()
    for number, message in enumerate(case.input, start=1):
        outcome = await _turn(chat, message, thread, _context(case))
        if outcome.error is not None and number < len(case.input):
            said = f"{outcome.error}: {outcome.error_text}"
            mismatches = (Mismatch("error", f"an answer in turn {number}", said),)
            break
    seconds = time.perf_counter() - started
    return CaseResult(case.name, mismatches or judge(case, outcome, spoken or {}), outcome, seconds)


async def run_tests(
    cases: Sequence[CaseSpec], compile_graph: Compile, on_result: Callable[[CaseResult], None]
) -> list[CaseResult]:
    """Run tests one after another; `on_result` is told each result. Raises as `run_test`."""
    results: list[CaseResult] = []
    for case in cases:
        results.append(await run_test(case, compile_graph))
        on_result(results[-1])
    return results


def _context(case: CaseSpec) -> RunContext:
    scopes = None if case.scopes is None else frozenset(case.scopes)
    return RunContext(user=case.user, scopes=scopes, values=case.context)


async def _turn(chat: ChatService, message: str, thread: str, context: RunContext) -> Outcome:
    outcome = Outcome()
    try:
        async for event in chat.stream(message, thread_id=thread, context=context):
            _note(outcome, event.type, event.data)
    except AgentKitError as error:
        outcome.error, outcome.error_text = error.code, " ".join(str(error).split())
    except GraphBubbleUp:
        raise
    except Exception as error:  # noqa: BLE001 - a tool of the author's may raise anything; the test failed
        outcome.error, outcome.error_text = "exception", f"{type(error).__name__}: {error}"
    return outcome


def _note(outcome: Outcome, kind: str, data: object) -> None:
    if kind == "route":
        route = cast("RouteDecision", data)
        outcome.agents, outcome.method = list(route["agents"]), route["method"]
        outcome.reason, outcome.scores = route["reason"], dict(route["scores"])
    elif kind == "sources":
        outcome.sources += [source["uri"] for source in cast("list[Source]", data)]
    elif kind == "tool_call":
        call = cast("ToolCallRecord", data)
        outcome.tool_calls.append((call.name, call.args))
    elif kind == "done":
        answer = cast("Answer", data)
        outcome.answer = answer.answer
        outcome.limits = [limit["limit"] for limit in answer.limits_reached]
