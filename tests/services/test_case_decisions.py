"""`decisions` and `expect.interrupts` of a blueprint's own tests, run the way users talk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentkit import build_agent
from agentkit.blueprints.cases import CaseSpec
from agentkit.blueprints.testing import CaseResult
from agentkit.events import EventBus
from agentkit.graphs.bridge import Graph
from agentkit.llm.base import LLMConfig, ProviderContext
from agentkit.llm.providers.scripted import Script, ScriptedProvider
from agentkit.services.blueprint_tests import run_test
from agentkit.testing.models import ScriptedModel
from agentkit.weights import WeightsStore

from .test_approvals import Pods, team

RESTART = {"tool": "restart", "arguments": {"pod": "web"}}
RESTART_DB = {"tool": "restart", "arguments": {"pod": "db"}}


def speaking(script: Script) -> ScriptedModel:
    provider = ScriptedProvider(
        LLMConfig(provider="scripted", options={"script": script}),
        ProviderContext(WeightsStore(Path("unused"))),
    )
    return ScriptedModel(provider=provider, events=EventBus())


async def run(pods: Pods, **keys: Any) -> CaseResult:
    case = CaseSpec.model_validate({"name": "t", "input": "x", **keys})

    async def compile_graph(scripts: Mapping[str, Script] | None, retrieve: bool) -> Graph:
        assert scripts is not None
        agents = [
            build_agent(
                name=name,
                model=speaking(scripts[name]),
                tools=pods.tools,
                approvals={"restart": True},
            )
            for name in scripts
        ]
        return team(*agents)._graphs.graph

    return await run_test(case, compile_graph)


async def test_a_turn_that_waits_goes_on_with_what_is_decided() -> None:
    pods = Pods()
    result = await run(
        pods,
        mock={"a": [RESTART, RESTART_DB, {"text": "Done.", "seen": "Not the database."}]},
        decisions=[{"restart": "approve"}, {"restart": {"type": "reject", "message": "Not the database."}}],
        expect={
            "answer_contains": "done",
            "tools": [{"restart": {"pod": "web"}}, {"restart": {"pod": "db"}}],
        },
    )
    assert result.mismatches == ()
    assert pods.restarted == ["web"]


async def test_one_step_decides_every_call_of_its_tool_whoever_waits() -> None:
    pods = Pods()
    result = await run(
        pods,
        mock={"a": [RESTART, "A."], "b": [RESTART_DB, "B."]},
        decisions={"restart": "approve"},
        expect={"answer_contains": ["A.", "B."], "route": ["a", "b"]},
    )
    assert result.mismatches == ()
    assert sorted(pods.restarted) == ["db", "web"]


@pytest.mark.parametrize("expected", ["restart", {"restart": {"pod": "web"}}])
async def test_what_waits_in_the_end_is_expected(expected: object) -> None:
    result = await run(Pods(), mock={"a": [RESTART]}, expect={"interrupts": expected, "route": ["a"]})
    assert result.mismatches == ()


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"mock": {"a": [RESTART]}}, ("interrupts", "nothing waits", "restart(pod='web')")),
        (
            {"mock": {"a": ["Done."]}, "expect": {"interrupts": "restart"}},
            ("interrupts", "restart()", "nothing waits"),
        ),
        (
            {"mock": {"a": ["Done."]}, "decisions": {"restart": "approve"}},
            ("decisions", "every decision used", "1 left over"),
        ),
        (
            {"mock": {"a": [RESTART]}, "decisions": {"stop": "approve"}},
            ("decisions", "stop waits", "restart waits"),
        ),
        (
            {"input": ["x", "y"], "mock": {"a": [RESTART]}},
            ("error", "an answer", "thread_paused: The thread"),
        ),
        (
            {"mock": {"a": [RESTART]}, "decisions": {"restart": {"type": "respond", "message": "x"}}},
            ("error", "an answer", "decision_error: A call of 'restart' cannot be answered with"),
        ),
    ],
)
async def test_what_does_not_hold_is_said(keys: dict[str, Any], said: tuple[str, str, str]) -> None:
    result = await run(Pods(), **keys)
    fault = result.mismatches[0]
    assert (fault.key, fault.expected) == said[:2]
    assert fault.got.startswith(said[2])


async def test_a_decision_that_is_not_allowed_may_be_what_is_expected() -> None:
    result = await run(
        Pods(),
        mock={"a": [RESTART]},
        decisions={"restart": {"type": "respond", "message": "x"}},
        expect={"error": "decision_error"},
    )
    assert result.mismatches == ()
