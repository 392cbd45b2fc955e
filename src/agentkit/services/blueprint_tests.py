"""Running a blueprint's own tests, turn by turn, the way users talk to it."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast
from uuid import uuid4

from langgraph.errors import GraphBubbleUp

from agentkit.blueprints.cases import CaseSpec
from agentkit.blueprints.testing import CaseResult, Mismatch, Outcome, judge, retrieves, scripts
from agentkit.context import RunContext
from agentkit.errors import AgentKitError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.state import Hop, RouteDecision, Source
from agentkit.llm.providers.scripted import Script
from agentkit.services.chat import Answer, ChatService, Decision, Pause, ToolCallRecord
from agentkit.services.nested import TeamRoute

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
    steps = list(case.decisions)
    started = time.perf_counter()
    for number, message in enumerate(case.input, start=1):
        try:
            outcome = await _turn(chat, message, thread, _context(case), steps)
        except _UnmetError as unmet:
            mismatches = (unmet.mismatch,)
            break
        if outcome.error is not None and number < len(case.input):
            said = f"{outcome.error}: {outcome.error_text}"
            mismatches = (Mismatch("error", f"an answer in turn {number}", said),)
            break
    if steps and not mismatches and outcome.error is None:
        mismatches = (Mismatch("decisions", "every decision used", f"{len(steps)} left over"),)
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


class _UnmetError(Exception):
    """A decision is for a call that does not wait."""

    def __init__(self, mismatch: Mismatch) -> None:
        super().__init__(mismatch.key)
        self.mismatch = mismatch


async def _turn(
    chat: ChatService, message: str, thread: str, context: RunContext, steps: list[dict[str, Decision]]
) -> Outcome:
    """Run one turn to its end, taking a step of the decisions whenever it waits."""
    outcome = Outcome()
    try:
        async for event in chat.stream(message, thread_id=thread, context=context):
            _note(outcome, event.type, event.data)
        while outcome.interrupts and steps:
            answers = _answers(await chat.pending(thread), steps.pop(0))
            async for event in chat.resume(thread, answers, context=context):
                _note(outcome, event.type, event.data)
    except AgentKitError as error:
        outcome.error, outcome.error_text = error.code, " ".join(str(error).split())
    except (GraphBubbleUp, _UnmetError):
        raise
    except Exception as error:  # noqa: BLE001 - a tool of the author's may raise anything; the test failed
        outcome.error, outcome.error_text = "exception", f"{type(error).__name__}: {error}"
    return outcome


def _answers(pauses: Sequence[Pause], step: Mapping[str, Decision]) -> dict[str, list[Decision]]:
    """The decisions of a step, by interrupt; each is for every call of its tool that waits."""
    answers = {
        pause.id: [step[call.name] for call in pause.calls]
        for pause in pauses
        if pause.calls and all(call.name in step for call in pause.calls)
    }
    met = {call.name for pause in pauses if pause.id in answers for call in pause.calls}
    if unmet := [tool for tool in step if tool not in met]:
        waits = ", ".join(name for name, _ in _waiting(pauses))
        raise _UnmetError(Mismatch("decisions", f"{', '.join(unmet)} waits", f"{waits} waits"))
    return answers


def _waiting(pauses: Sequence[Pause]) -> list[tuple[str, dict[str, Any]]]:
    """The calls that wait; a question of a tool's own is a call of `interrupt`."""
    calls = [(call.name, call.args) for pause in pauses for call in pause.calls]
    return calls + [("interrupt", {"question": pause.question}) for pause in pauses if not pause.calls]


def _note(outcome: Outcome, kind: str, data: object) -> None:
    if kind == "route":
        route = cast("RouteDecision", data)
        outcome.agents, outcome.method = list(route["agents"]), route["method"]
        outcome.hops = list(route["agents"])
        outcome.reason, outcome.scores = route["reason"], dict(route["scores"])
    elif kind == "team_route":
        asked = cast("TeamRoute", data)
        outcome.teams[asked.team] = list(asked.route["agents"])
    elif kind == "handoff":
        agent = cast("Hop", data)["agent"]
        outcome.hops += [] if "/" in agent else [agent]  # within a team it is the team's affair
        outcome.sources = []
    elif kind == "sources":
        found = [source["uri"] for source in cast("list[Source]", data)]
        outcome.sources += [uri for uri in found if uri not in outcome.sources]
    elif kind == "tool_call":
        call = cast("ToolCallRecord", data)
        outcome.tool_calls.append((call.name, call.args))
    elif kind == "done":
        answer = cast("Answer", data)
        outcome.answer = answer.answer
        outcome.limits = [limit["limit"] for limit in answer.limits_reached]
        outcome.interrupts = _waiting(answer.interrupts)
