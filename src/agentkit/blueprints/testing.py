"""Judging a blueprint's own tests: what came of a turn against what its author expected."""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agentkit.blueprints.cases import CaseSpec, ExpectSpec
from agentkit.llm.providers.scripted import Script

_EXCERPT = 300


@dataclass(slots=True)
class Outcome:
    """What happened in the last turn of a test; filled while it runs.

    Attributes:
        agents: Who was chosen; empty when the supervisor answered itself.
        method: Strategy that decided, or "" before any did.
        reason: Why, in one sentence.
        scores: Score of each agent, where the strategy computes one.
        hops: Agents that were asked: the chosen ones, then those it was handed to.
        teams: Agents that teams asked, by the team's name.
        tool_calls: Tools called in order, with their arguments.
        sources: Documents found.
        answer: The text the user got.
        limits: Limits that cut it short.
        interrupts: Calls that wait for a person in the end, as `tool_calls`.
        error: Code of the `AgentKitError` it ended with, `exception` for any other, or None.
        error_text: What that error said.
    """

    agents: list[str] = field(default_factory=list[str])
    method: str = ""
    reason: str = ""
    scores: dict[str, float] = field(default_factory=dict[str, float])
    hops: list[str] = field(default_factory=list[str])
    teams: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    tool_calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    sources: list[str] = field(default_factory=list[str])
    answer: str = ""
    limits: list[str] = field(default_factory=list[str])
    interrupts: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    error: str | None = None
    error_text: str = ""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One expectation that does not hold: its key, what was expected and what came."""

    key: str
    expected: str
    got: str


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of one test.

    Attributes:
        name: The test's name.
        mismatches: What did not hold; empty when the test passed.
        outcome: What happened.
        seconds: How long the turns took.
    """

    name: str
    mismatches: tuple[Mismatch, ...]
    outcome: Outcome
    seconds: float

    @property
    def passed(self) -> bool:
        """Whether everything expected came."""
        return not self.mismatches


def scripts(case: CaseSpec) -> dict[str, Script] | None:
    """Return fresh scripts by agent, `supervisor` or model; None when the real models are meant."""
    if case.mock is None:
        return None
    return {name: Script(*replies, name=name) for name, replies in case.mock.items()}


def retrieves(case: CaseSpec) -> bool:
    """Whether a test needs the knowledge store: with scripted models only if it looks at sources."""
    return case.mock is None or case.expect.sources is not None


def judge(case: CaseSpec, outcome: Outcome, spoken: Mapping[str, Script]) -> tuple[Mismatch, ...]:
    """Return what does not hold.

    Args:
        case: The test.
        outcome: What happened in its last turn.
        spoken: The scripts its models spoke from; replies left over are a fault.
    """
    return (*_expected(case, outcome), *_left_over(spoken, outcome))


def _expected(case: CaseSpec, outcome: Outcome) -> Iterator[Mismatch]:
    expect = case.expect
    if outcome.error != expect.error:
        got = f"{outcome.error}: {outcome.error_text}" if outcome.error else "an answer"
        yield Mismatch("error", expect.error or "an answer", got)
    if expect.route is not None and list(expect.route) != outcome.agents:
        yield Mismatch("route", _named(expect.route), _named(outcome.agents))
    if expect.via is not None and expect.via != outcome.method:
        yield Mismatch("via", expect.via, outcome.method or "no decision")
    yield from _way(expect, outcome)
    for text in expect.answer_contains or ():
        if text.casefold() not in outcome.answer.casefold():
            yield Mismatch("answer_contains", repr(text), _excerpt(outcome.answer))
    if expect.answer_matches is not None and not re.search(expect.answer_matches, outcome.answer):
        yield Mismatch("answer_matches", repr(expect.answer_matches), _excerpt(outcome.answer))
    if expect.tools is not None and not _called(expect.tools, outcome.tool_calls):
        yield Mismatch("tools", _written(expect.tools), _written(outcome.tool_calls))
    if expect.limit is not None and expect.limit not in outcome.limits:
        yield Mismatch("limit", expect.limit, ", ".join(outcome.limits) or "no limit was reached")
    waits = outcome.interrupts
    if outcome.error is None and (
        len(waits) != len(expect.interrupts) or not _called(expect.interrupts, waits)
    ):
        nobody = "nothing waits"
        yield Mismatch("interrupts", _written(expect.interrupts, nobody), _written(waits, nobody))
    yield from _found(expect.sources, outcome.sources)


def _way(expect: ExpectSpec, outcome: Outcome) -> Iterator[Mismatch]:
    """Where the question went after it was routed."""
    if expect.hops is not None and list(expect.hops) != outcome.hops:
        yield Mismatch("hops", _named(expect.hops), _named(outcome.hops))
    for team, agents in (expect.teams or {}).items():
        if list(agents) != outcome.teams.get(team):
            got = _named(outcome.teams[team]) if team in outcome.teams else "it was not asked"
            yield Mismatch(f"teams.{team}", _named(agents), got)


def _found(patterns: Sequence[str] | None, sources: Sequence[str]) -> Iterator[Mismatch]:
    found = ", ".join(dict.fromkeys(sources)) or "no documents"
    if patterns is not None and not patterns and sources:
        yield Mismatch("sources", "no documents", found)
    for pattern in patterns or ():
        if not any(fnmatch.fnmatchcase(source, pattern) for source in sources):
            yield Mismatch("sources", pattern, found)


def _left_over(spoken: Mapping[str, Script], outcome: Outcome) -> Iterator[Mismatch]:
    """Replies nobody asked for; after an error they say nothing."""
    for name, script in spoken.items() if outcome.error is None else ():
        if script.remaining:
            yield Mismatch(f"mock.{name}", "every reply used", f"{script.remaining} left over")


def _called(
    expected: Sequence[tuple[str, Mapping[str, Any]]], calls: Sequence[tuple[str, Mapping[str, Any]]]
) -> bool:
    """Whether the expected calls are among those made, in this order; expecting none means none."""
    if not expected:
        return not calls
    left = iter(calls)
    return all(any(name == called and _within(want, got) for called, got in left) for name, want in expected)


def _within(want: object, got: object) -> bool:
    """Whether `got` has everything `want` has; mappings may have more."""
    if isinstance(want, Mapping):
        wanted, given = cast("Mapping[str, object]", want), cast("Mapping[str, object]", got)
        return isinstance(got, Mapping) and all(
            key in given and _within(value, given[key]) for key, value in wanted.items()
        )
    return want == got


def _named(agents: Sequence[str]) -> str:
    return ", ".join(agents) or "supervisor"


def _written(calls: Sequence[tuple[str, Mapping[str, Any]]], none: str = "no tool calls") -> str:
    return ", ".join(f"{name}({_arguments(arguments)})" for name, arguments in calls) or none


def _arguments(arguments: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in arguments.items())


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= _EXCERPT else text[:_EXCERPT] + "…")
