"""The key `handoffs`: checked, compiled, drawn, and looked at by a blueprint's tests."""

from pathlib import Path

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.blueprints import LoadedBlueprint, load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.blueprints.drawing import mermaid
from agentkit.blueprints.handoffs import targets
from agentkit.blueprints.svg import svg
from agentkit.blueprints.testing import CaseResult
from agentkit.errors import BlueprintError
from agentkit.events import EventBus
from agentkit.llm.gateway import LLMGateway
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.blueprint_tests import run_test
from agentkit.weights import WeightsStore

TEAM = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {provider: scripted}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: first}], max_hops: 3}
agents:
  - {name: first, description: One., prompt: {ref: agents/python}, handoffs: [second]}
  - {name: second, description: Two., prompt: {ref: agents/python}, handoffs: true}
  - {name: third, description: Three., prompt: {ref: agents/python}}
tests:
  - name: handed on
    input: Who?
    mock:
      first: [{tool: handoff_to_second, arguments: {task: find out}}]
      second: [{tool: handoff_to_third, arguments: {task: say it}}]
      third: [{text: Me., seen: say it}]
    expect: {route: [first], hops: [first, second, third], answer_contains: Me}
"""


def written(folder: Path, *changes: tuple[str, str]) -> Path:
    text = TEAM
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (folder / "team.yaml").write_text(text)
    return folder / "team.yaml"


def read(path: Path, prompts: PromptManager | None = None) -> LoadedBlueprint:
    return load(path, prompts=prompts or PromptManager(search_path("prompts")), providers=["scripted"])


async def outcome_of(loaded: LoadedBlueprint, folder: Path) -> CaseResult:
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(folder))

    async def made(spoken: object, retrieve: bool) -> object:
        return compile_blueprint(
            loaded, Parts(gateway, None, None, InMemorySaver(), EventBus(), None, spoken)
        )  # type: ignore[arg-type]

    return await run_test(loaded.spec.tests[0], made)  # type: ignore[arg-type]


async def test_a_question_is_handed_on_and_the_test_sees_the_way(tmp_path: Path) -> None:
    assert (await outcome_of(read(written(tmp_path)), tmp_path)).mismatches == ()


async def test_another_way_fails_the_test(tmp_path: Path) -> None:
    wrong = written(tmp_path, ("hops: [first, second, third]", "hops: [first, third]"))
    [fault] = (await outcome_of(read(wrong), tmp_path)).mismatches
    assert (fault.key, fault.expected, fault.got) == ("hops", "first, third", "first, second, third")


async def test_max_hops_is_the_blueprints(tmp_path: Path) -> None:
    short = written(tmp_path, ("max_hops: 3", "max_hops: 2"))
    result = await outcome_of(read(short), tmp_path)
    assert result.outcome.answer == (
        "Nobody answered: the question was handed on too often (first → second → third)."
    )


def test_true_is_everybody_else_in_their_order(tmp_path: Path) -> None:
    spec = read(written(tmp_path)).spec
    assert [targets(agent, spec) for agent in spec.agents] == [("second",), ("first", "third"), ()]


def test_pictures_show_it(tmp_path: Path) -> None:
    spec = read(written(tmp_path)).spec
    assert "    a0 -.->|hands over| a1" in mermaid(spec).splitlines()
    assert "hands over to: first, third" in svg(spec)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("[second]", "[secnd]"),
            "7:79: Unknown agent 'secnd'. Did you mean 'second'? Valid: second, third.",
        ),
        (("[second]", "[first]"), "7:79: The agent 'first' cannot hand over to itself."),
        (("[second]", "[second, second]"), "7:87: The agent 'second' is listed twice."),
        (("[second]", "false"), "7:78: agents.0.handoffs: must be a list, not a boolean."),
        (("max_hops: 3", "max_hops: 0"), "5:76: routing.max_hops: should be greater than or equal to 1."),
        (
            ("hops: [first, second, third]", "hops: [frist]"),
            "17:37: Unknown agent 'frist'. Did you mean 'first'? Valid: first, second, third.",
        ),
    ],
)
def test_faults(tmp_path: Path, change: tuple[str, str], problem: str) -> None:
    path = written(tmp_path, change)
    with pytest.raises(BlueprintError) as caught:
        read(path)
    assert [str(found).splitlines()[0] for found in caught.value.problems] == [f"{path}:{problem}"]


def test_a_tools_name_has_room_for_the_agents(tmp_path: Path) -> None:
    with pytest.raises(BlueprintError, match="is too long to hand over to: at most 53 characters"):
        read(
            written(
                tmp_path,
                ("name: third,", f"name: {'t' * 54},"),
                ("handoff_to_third", "x"),
                ("third", "first"),
            )
        )


def test_the_prompts_are_pinned_and_must_be_there(tmp_path: Path, prompts: PromptManager) -> None:
    loaded = read(written(tmp_path))
    assert {"handoff", "handoff_task"} <= {prompt.ref for prompt in loaded.prompts.values()}
    with pytest.raises(BlueprintError) as caught:
        read(written(tmp_path), prompts)
    said = [str(problem).splitlines()[0] for problem in caught.value.problems]
    assert any("7:78: Unknown prompt 'handoff'." in line for line in said)


def test_without_handoffs_nothing_is_pinned(tmp_path: Path) -> None:
    plain = written(tmp_path, (", handoffs: [second]", ""), (", handoffs: true", ""))
    assert not {"handoff", "handoff_task"} & {prompt.ref for prompt in read(plain).prompts.values()}
