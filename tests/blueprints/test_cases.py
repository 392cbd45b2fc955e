"""Tests in the YAML: what is checked when the blueprint is read, and how an outcome is judged."""

import re
from pathlib import Path
from typing import get_args
from xml.etree.ElementTree import fromstring

import pytest

from agentkit.blueprints.cases import CaseSpec, ExpectSpec
from agentkit.blueprints.junit import junit_xml
from agentkit.blueprints.testing import CaseResult, Mismatch, Outcome, judge, scripts
from agentkit.graphs.state import RouteMethod
from agentkit.testing import ToolUse

from .conftest import MAIN


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ("{name: t}", "14:5: tests.0: the key 'input' is missing."),
        ("{name: t, input: x, inputs: x}", "14:25: Unknown key 'inputs'. Did you mean 'input'?"),
        ("{name: t, input: []}", "14:22: tests.0.input: "),
        ("{name: t, input: x, expect: {rout: []}}", "14:34: Unknown key 'rout'. Did you mean 'route'?"),
        ("{name: t, input: x, expect: {route: [writr]}}", "Unknown agent 'writr'. Did you mean 'writer'?"),
        ("{name: t, input: x, expect: {via: semantics}}", "14:39: tests.0.expect.via: "),
        (
            "{name: t, input: x, mock: {writr: [x]}}",
            "14:32: Unknown agent or model 'writr'. Did you mean 'writer'",
        ),
        ("{name: t, input: x, mock: {writer: x}}", "tests.0.mock.writer: must be a list, not text."),
        ("{name: t, input: x, mock: {writer: [3]}}", "14:41: tests.0.mock.writer.0: a reply is text, {tool"),
        (
            "{name: t, input: x, mock: {writer: [{tool: f, argument: {}}]}}",
            "Unknown key 'argument'. Did you mean 'arguments'?",
        ),
        ("{name: t, input: x, mock: {writer: [{tool: f, arguments: 3}]}}", "arguments must be a mapping."),
        ("{name: t, input: x, mock: {writer: [[a, b]]}}", "a reply that is a list holds tool calls"),
        (
            "{name: t, input: x, expect: {answer_matches: '['}}",
            "14:50: tests.0.expect.answer_matches: is not a reg",
        ),
        ("{name: t, input: x, expect: {error: budget_exceded}}", "Did you mean 'budget_exceeded'?"),
        (
            "{name: t, input: x, expect: {tools: web}}",
            "must be names of tools with the arguments to look for",
        ),
        ("{name: t, input: x, expect: {tools: {1: 2}}}", "the arguments of 1 must be a mapping."),
        ("{name: t, input: x, user: ''}", "14:31: tests.0.user"),
    ],
)
def test_faults_have_their_place(faults, folder, test, said):
    (folder / "blueprint.yaml").write_text(MAIN + f"tests:\n  - {test}\n")
    problems = faults(folder)
    assert [said in problem for problem in problems] == [True], problems


def test_names_of_tests_differ(faults, folder):
    (folder / "blueprint.yaml").write_text(
        MAIN + "tests:\n  - {name: t, input: x}\n  - {name: t, input: y}\n"
    )
    assert faults(folder) == ["blueprint.yaml:15:12: The test name 't' is taken already, by test 1."]


def test_models_and_supervisor_can_be_mocked(check, folder):
    text = "tests:\n  - {name: t, input: [a, b], mock: {big: [x], supervisor: [{agent: none}], writer: []}}\n"
    (folder / "blueprint.yaml").write_text(MAIN + text)
    [case] = check(folder).spec.tests
    assert case.input == ("a", "b")
    assert set(scripts(case) or {}) == {"big", "supervisor", "writer"}


def test_every_routing_method_can_be_expected():
    via = get_args(ExpectSpec.model_fields["via"].annotation)[0]
    assert set(get_args(via)) == set(get_args(RouteMethod))


def test_several_calls_at_once_are_one_reply():
    replies = [[{"tool": "a", "arguments": {"x": 1}}, {"tool": "b"}]]
    case = CaseSpec.model_validate({"name": "t", "input": "x", "mock": {"writer": replies}})
    step = (scripts(case) or {})["writer"].take([])
    assert step.tool_calls == (ToolUse("a", {"x": 1}), ToolUse("b", {}))


OUTCOME = Outcome(
    agents=["writer"],
    method="semantic",
    tool_calls=[("find", {"q": {"text": "x", "k": 3}}), ("find", {"q": "y"}), ("save", {})],
    sources=["docs/a.md", "docs/b.md"],
    answer="The Answer is 42.",
    limits=["tokens"],
)


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [
        ({}, []),
        ({"route": ["writer"], "via": "semantic"}, []),
        ({"route": []}, [Mismatch("route", "supervisor", "writer")]),
        ({"via": "llm"}, [Mismatch("via", "llm", "semantic")]),
        ({"answer_contains": ["the ANSWER", "42"]}, []),
        ({"answer_contains": ["42", "43"]}, [Mismatch("answer_contains", "'43'", "'The Answer is 42.'")]),
        ({"answer_matches": r"\d+\.$"}, []),
        ({"answer_matches": "^answer"}, [Mismatch("answer_matches", "'^answer'", "'The Answer is 42.'")]),
        ({"tools": {"find": {"q": {"k": 3}}, "save": None}}, []),
        ({"tools": [{"find": {}}, {"find": {"q": "y"}}]}, []),
        ({"sources": ["docs/*", "*b.md"]}, []),
        ({"sources": ["src/*"]}, [Mismatch("sources", "src/*", "docs/a.md, docs/b.md")]),
        ({"sources": []}, [Mismatch("sources", "no documents", "docs/a.md, docs/b.md")]),
        ({"limit": "tokens"}, []),
        ({"limit": "cost_usd"}, [Mismatch("limit", "cost_usd", "tokens")]),
        ({"error": "budget_exceeded"}, [Mismatch("error", "budget_exceeded", "an answer")]),
    ],
)
def test_judging(expect, wrong):
    case = CaseSpec.model_validate({"name": "t", "input": "x", "expect": expect})
    assert list(judge(case, OUTCOME, {})) == wrong


@pytest.mark.parametrize(
    "tools",
    [{}, {"save": {}, "find": {}}, {"find": {"q": "z"}}, {"find": {"p": 1}}, [{"save": {}}, {"save": {}}]],
)
def test_other_tool_calls_than_expected(tools):
    case = CaseSpec.model_validate({"name": "t", "input": "x", "expect": {"tools": tools}})
    [fault] = judge(case, OUTCOME, {})
    assert fault.key == "tools"
    assert fault.got == "find(q={'text': 'x', 'k': 3}), find(q='y'), save()"


def test_replies_left_over_are_a_fault():
    case = CaseSpec.model_validate({"name": "t", "input": "x", "mock": {"writer": ["a", "b"]}})
    spoken = scripts(case) or {}
    spoken["writer"].take([])
    assert list(judge(case, OUTCOME, spoken)) == [Mismatch("mock.writer", "every reply used", "1 left over")]


def test_junit_is_xml_whatever_the_texts():
    nasty = "<b>&\"'\x00\x1b[31m\ud800 ]]> ü"
    results = [
        CaseResult("fine", (), Outcome(), 0.25),
        CaseResult(nasty, (Mismatch("answer_contains", nasty, nasty),), Outcome(scores={"writer": 0.5}), 1),
        CaseResult("broken", (Mismatch("error", "an answer", nasty),), Outcome(error="x"), 0),
    ]
    root = fromstring(junit_xml("team", results))
    suite = root[0]
    assert suite.attrib == {
        "name": "team", "tests": "3", "failures": "1", "errors": "1", "skipped": "0", "time": "1.250",
    }  # fmt: skip
    fine, failed, broken = suite
    assert (fine.attrib, len(fine)) == ({"name": "fine", "classname": "team", "time": "0.250"}, 0)
    assert failed.attrib["name"] == "<b>&\"'\ufffd\ufffd[31m\ufffd ]]> ü"
    assert [child.tag for case in suite for child in case] == ["failure", "error"]
    assert "writer: 0.5000" in (failed[0].text or "")
    assert broken[0].attrib["type"] == "error"


def test_every_key_of_a_test_is_documented_and_no_other():
    text = (Path(__file__).parents[2] / "docs" / "blueprints.md").read_text()
    section = text.split("\n## Tests\n")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([a-z_.]+)` \|", section, re.MULTILINE))
    keys = set(CaseSpec.model_fields) - {"expect"}
    assert documented == keys | {f"expect.{key}" for key in ExpectSpec.model_fields}
