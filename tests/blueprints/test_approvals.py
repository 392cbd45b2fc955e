"""`approval` of a tool, `runtime.durability` and a test's `decisions`, as written in YAML."""

from pathlib import Path

import pytest

from agentkit.blueprints.agents import ToolSpec
from agentkit.blueprints.cases import CaseSpec
from agentkit.blueprints.testing import Mismatch, Outcome, judge
from agentkit.graphs.decision import Decision

ONE = """\
apiVersion: agentkit/v1
kind: Blueprint
name: one
models:
  main: {provider: scripted}
security: {allowed_modules: [shop]}
agents:
  - name: writer
    description: Writes.
    prompt: {ref: agents/writer}
    tools:
"""


@pytest.fixture
def one(tmp_path: Path, prompts: object) -> Path:
    return tmp_path / "one.yaml"


def test_an_approval_is_true_or_says_more(check, one):
    tools = [
        "{use: 'shop:refund', approval: true}",
        "{use: 'shop:look', approval: false}",
        "{use: 'shop:pay', approval: {decisions: [approve, respond], when: args.amount > 100}}",
    ]
    one.write_text(ONE + "".join(f"      - {tool}\n" for tool in tools))
    refund, look, pay = check(one).spec.agents[0].tools
    assert refund.approval is not None
    assert refund.approval.decisions == ("approve", "edit", "reject")
    assert look.approval is None
    assert pay.approval is not None
    assert (pay.approval.decisions, pay.approval.when) == (("approve", "respond"), "args.amount > 100")


@pytest.mark.parametrize(
    ("approval", "said"),
    [
        ("{when: amount > 100}", "12:47: Unknown name 'amount'."),
        ("{when: args > 100}", "12:47: Which argument? Write args.NAME."),
        ("{when: args.amount + 1 > 2}", "12:47: Arithmetic is not allowed in an approval."),
        ("{when: args.pay() == 2}", "12:47: Calls are not allowed in an approval."),
        ("{when: args.amount}", "12:47: Compare it with something"),
        ("{when: args.amount = 2}", "12:59: This is not an expression: write == to compare."),
        ("{decisions: []}", "tools.0.approval.decisions: "),
        ("{decisions: [approve, approve]}", "a decision is listed twice."),
        ("{decisions: [aprove]}", "should be 'approve', 'edit'"),
        ("{descripton: x}", "Did you mean 'description'?"),
        ("sometimes", "tools.0.approval: "),
    ],
)
def test_faults_have_their_place(faults, one, approval, said):
    one.write_text(f"{ONE}      - {{use: 'shop:refund', approval: {approval}}}\n")
    problems = faults(one)
    assert [said in problem for problem in problems] == [True], problems


@pytest.mark.parametrize(("approval", "count"), [("true", 1), ("{when: args.x == 1}", 1), ("false", 0)])
def test_what_waits_must_be_kept(faults, check, one, approval, count):
    one.write_text(
        f"{ONE}      - {{use: 'shop:refund', approval: {approval}}}\nruntime: {{checkpointer: none}}\n"
    )
    if not count:
        check(one)
        return
    (problem,) = faults(one)
    assert (
        "12:30: A call that waits for approval must be kept: runtime.checkpointer cannot be none." in problem
    )


def test_a_tool_is_listed_once_whatever_is_said_of_it(faults, one):
    one.write_text(f"{ONE}      - {{use: 'shop:refund', approval: true}}\n      - {{use: 'shop:refund'}}\n")
    (problem,) = faults(one)
    assert "The tool 'shop:refund' is listed twice." in problem


@pytest.mark.parametrize(("written", "durability"), [("", "sync"), ("runtime: {durability: exit}", "exit")])
def test_durability(check, one, written, durability):
    one.write_text(f"{ONE}      - {{use: 'shop:refund'}}\n{written}\n")
    assert check(one).spec.runtime.durability == durability


def test_a_durability_there_is_not(faults, one):
    one.write_text(f"{ONE}      - {{use: 'shop:refund'}}\nruntime: {{durability: synch}}\n")
    assert "should be 'sync', 'async' or 'exit', not 'synch'" in faults(one)[0]


def test_an_approval_belongs_to_the_entry_whatever_it_yields():
    assert ToolSpec.model_validate({"name": "x", "approval": True}).approval is not None


def case(**keys: object) -> CaseSpec:
    return CaseSpec.model_validate({"name": "t", "input": "x", **keys})


def test_decisions_are_steps():
    edit = {"type": "edit", "args": {"pod": "db"}}
    steps = case(decisions=[{"restart": "approve", "stop": edit}, {"restart": "reject"}]).decisions
    assert steps == (
        {"restart": Decision("approve"), "stop": Decision("edit", {"pod": "db"})},
        {"restart": Decision("reject")},
    )
    assert case(decisions={"restart": "approve"}).decisions == ({"restart": Decision("approve")},)


@pytest.mark.parametrize(
    ("decisions", "said"),
    [
        ("approve", "must be names of tools with a decision each"),
        ({}, "must be names of tools with a decision each"),
        ({"restart": "aprove"}, "Did you mean 'approve'"),
        ({"restart": {"type": "edit"}}, "'edit' has 'args'"),
        ([{"restart": {"reject": "no"}}], "Unknown decision None"),
    ],
)
def test_decisions_that_are_none(decisions, said):
    with pytest.raises(ValueError, match=said):
        case(decisions=decisions)


@pytest.mark.parametrize(
    ("expected", "waits", "got"),
    [
        (None, [], None),
        (None, [("restart", {"pod": "x"})], "restart(pod='x')"),
        ("restart", [("restart", {"pod": "x"})], None),
        (["restart"], [], "nothing waits"),
        (["restart"], [("restart", {}), ("stop", {})], "restart(), stop()"),
        ({"restart": {"pod": "x"}}, [("restart", {"pod": "x", "force": True})], None),
        (
            [{"restart": {"pod": "x"}}, "stop"],
            [("restart", {"pod": "y"}), ("stop", {})],
            "restart(pod='y'), stop()",
        ),
        ([], [], None),
    ],
)
def test_what_waits_in_the_end_is_judged(expected, waits, got):
    expect = {} if expected is None else {"interrupts": expected}
    mismatches = judge(case(expect=expect), Outcome(interrupts=waits), {})
    assert [fault.got for fault in mismatches] == ([] if got is None else [got])
    assert all(isinstance(fault, Mismatch) and fault.key == "interrupts" for fault in mismatches)
