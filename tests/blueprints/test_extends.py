"""Blueprints that extend others: what is merged, whose line a problem names, what is refused."""

from pathlib import Path

import pytest

from agentkit.blueprints import LoadedBlueprint
from agentkit.errors import BlueprintError

from .conftest import MAIN, Loader

HEAD = "apiVersion: agentkit/v1\nkind: Blueprint\n"
BASE = (
    MAIN.replace("name: team", "name: base").replace("path: notes", "path: shared")
    + """\
parameters:
  k: {default: 3}
  mode: {default: "${env:MODE:-dense}"}
routing: {strategy: [llm], semantic: {threshold: 0.5, margin: 0.3}}
supervisor: {examples: [Hello, Bye]}
agents:
  - name: writer
    description: Writes texts.
    examples: [Write a poem.]
    prompt: {ref: agents/writer, version: 1}
    limits: {tool_iterations: 3, history_tokens: 500}
  - name: reader
    description: Reads texts.
    prompt: {ref: agents/writer}
"""
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """`blueprints/team` extends `../base.yaml`."""
    root = tmp_path / "blueprints"
    (root / "team" / "agents").mkdir(parents=True)
    (root / "shared").mkdir()
    (root / "base.yaml").write_text(BASE)
    (root / "team" / "blueprint.yaml").write_text(f"{HEAD}name: team\nextends: ../base.yaml\n")
    return root


def write(project: Path, text: str, file: str = "team/blueprint.yaml") -> None:
    path = project / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if text.startswith("name") and "agents" in file else HEAD + text)


@pytest.fixture
def said(check: Loader, project: Path):
    """First lines of the problems of `team`, with paths below `blueprints/`."""

    def run(**options: object) -> list[str]:
        with pytest.raises(BlueprintError) as caught:
            check(project / "team", **options)
        problems = [str(problem).splitlines()[0] for problem in caught.value.problems]
        return [line.replace(f"{project}/", "").replace(str(project), "ROOT") for line in problems]

    return run


def test_everything_is_inherited(check: Loader, project: Path) -> None:
    loaded = check(project / "team")
    assert loaded.spec.name == "team"
    assert [agent.name for agent in loaded.spec.agents] == ["writer", "reader"]
    assert loaded.spec.models["big"].model == "qwen3:8b"
    assert [file.resolve() for file in loaded.files] == [
        (project / "team" / "blueprint.yaml").resolve(), (project / "base.yaml").resolve()
    ]  # fmt: skip


def test_paths_start_at_the_file_that_writes_them(check: Loader, project: Path) -> None:
    assert [source.path for source in check(project / "team").sources] == [(project / "shared").resolve()]
    (project / "team" / "own").mkdir()
    write(project, "name: team\nextends: ../base.yaml\nknowledge: {sources: [{path: own, scope: own}]}\n")
    assert [source.path for source in check(project / "team").sources] == [
        (project / "team" / "own").resolve()
    ]


def test_mappings_merge_and_all_else_replaces(check: Loader, project: Path) -> None:
    write(
        project,
        "name: team\nextends: ../base.yaml\n"
        "models: {big: {model: llama3}, small: {provider: scripted}}\n"
        "routing: {semantic: {margin: 0.1}}\n"
        "supervisor: {examples: [Hi]}\n",
    )
    spec = check(project / "team").spec
    assert set(spec.models) == {"main", "big", "small"}
    assert (spec.models["big"].provider, spec.models["big"].model) == ("ollama", "llama3")
    assert (spec.routing.strategy, spec.routing.semantic.threshold, spec.routing.semantic.margin) == (
        ("llm",), 0.5, 0.1,
    )  # fmt: skip
    assert spec.supervisor.examples == ("Hi",)


def test_agents_merge_by_name_in_files_and_inline(check: Loader, project: Path) -> None:
    write(project, "name: writer\nmodel: big\nlimits: {tool_iterations: 7}\n", "team/agents/zz.yaml")
    write(project, "name: artist\ndescription: Draws.\nprompt: {ref: agents/writer}\n", "team/agents/a.yaml")
    in_files = check(project / "team").spec.agents
    assert [agent.name for agent in in_files] == ["writer", "reader", "artist"]
    writer = in_files[0]
    assert (writer.model, writer.description, writer.prompt.version) == ("big", "Writes texts.", 1)
    assert (writer.limits.tool_iterations, writer.limits.history_tokens) == (7, 500)
    for file in (project / "team" / "agents").iterdir():
        file.unlink()
    write(
        project,
        "name: team\nextends: ../base.yaml\nagents:\n"
        "  - {name: writer, model: big, limits: {tool_iterations: 7}}\n"
        "  - {name: artist, description: Draws., prompt: {ref: agents/writer}}\n",
    )
    assert sorted(check(project / "team").spec.agents, key=str) == sorted(in_files, key=str)


def test_of_several_the_last_wins_and_a_folder_is_one_too(check: Loader, project: Path) -> None:
    write(project, "name: a\nsupervisor: {examples: [A]}\nrouting: {semantic: {margin: 0.11}}\n", "a.yaml")
    write(project, "name: b\nextends: ../a.yaml\nsupervisor: {examples: [B]}\n", "b/blueprint.yaml")
    write(project, "name: extra\ndescription: x\nprompt: {ref: agents/writer}\n", "b/agents/extra.yaml")
    for other in ("../b", "../b/blueprint.yaml"):
        write(project, f"name: team\nextends: [../base.yaml, {other}]\n")
        spec = check(project / "team").spec
        assert spec.supervisor.examples == ("B",)
        assert spec.routing.semantic.margin == 0.11
        assert [agent.name for agent in spec.agents] == ["writer", "reader", "extra"]


def test_parameters_and_the_environment_reach_the_base(check: Loader, project: Path) -> None:
    base = BASE + "knowledge: {k: '${param:k}', mode: '${param:mode}'}\n"
    write(
        project,
        base.removeprefix(HEAD).replace("knowledge:\n  sources:\n    - {path: shared, scope: notes}\n", ""),
        "base.yaml",
    )
    knowledge = check(project / "team", parameters={"k": 9}, env={"MODE": "lexical"}).spec.knowledge
    assert (knowledge.k, knowledge.mode) == (9, "lexical")
    write(project, "name: team\nextends: ../base.yaml\nparameters: {k: {default: 5}}\n")
    assert check(project / "team").spec.knowledge.k == 5


def test_what_is_replaced_need_not_be_resolvable(check: Loader, said, project: Path) -> None:
    write(project, BASE.replace("model: qwen3:8b", "model: ${env:NOWHERE}").removeprefix(HEAD), "base.yaml")
    assert said() == [
        (
            "base.yaml:8:12: ${env:NOWHERE}: the environment variable NOWHERE is not set"
            ": set it, or write ${env:NOWHERE:-DEFAULT}."
        )
    ]
    write(project, "name: team\nextends: ../base.yaml\nmodels: {big: {model: llama3}}\n")
    assert check(project / "team").spec.models["big"].model == "llama3"


def test_a_problem_names_the_file_its_value_is_in(said, project: Path) -> None:
    base = BASE.replace("provider: ollama", "provider: olama").replace(
        "tool_iterations: 3", "tool_iterations: 99"
    )
    write(project, base.removeprefix(HEAD), "base.yaml")
    write(
        project,
        "name: team\nextends: ../base.yaml\nrouting: {semantic: {margn: 1}}\nsupervisor: {model: bigg}\n",
    )
    write(project, "name: reader\nmodel: mian\n", "team/agents/r.yaml")
    assert [line.split(" Valid")[0] for line in said()] == [
        "team/blueprint.yaml:5:22: Unknown key 'margn'. Did you mean 'margin'?",
        "team/blueprint.yaml:6:21: Unknown model 'bigg'. Did you mean 'big'?",
        "team/agents/r.yaml:2:8: Unknown model 'mian'. Did you mean 'main'?",
        "base.yaml:7:15: Unknown provider 'olama'. Did you mean 'ollama'?",
        "base.yaml:23:31: agents.0.limits.tool_iterations: should be less than or equal to 20.",
    ]


def test_two_own_agents_of_one_name_are_still_a_fault(said, project: Path) -> None:
    write(project, "name: writer\nmodel: big\n", "team/agents/a.yaml")
    write(project, "name: writer\nmodel: main\n", "team/agents/b.yaml")
    assert any("b.yaml:1:7: The agent name 'writer' is taken already" in line for line in said())


@pytest.mark.parametrize(
    ("extends", "problem"),
    [
        ("../nowhere.yaml", "4:10: extends: there is no file '../nowhere.yaml', nor a folder of that name"),
        ("[../base.yaml, ../x]", "4:25: extends: there is no file '../x'"),
        ("/etc/passwd", "4:10: extends: the path '/etc/passwd' must be relative to this file."),
        ("../../outside.yaml", "4:10: extends: '../../outside.yaml' is outside of 'ROOT'"),
        ("../link.yaml", "4:10: extends: '../link.yaml' is outside of 'ROOT'"),
        ("../loop.yaml", "4:10: extends: "),
        ('"a\\0b"', "4:10: extends: 'a\\x00b' "),
        ("${env:BASE}", "4:10: extends: an expression cannot stand here"),
        ("blueprint.yaml", "4:10: extends: a cycle: team/blueprint.yaml → team/blueprint.yaml."),
        ("3", "4:10: extends: must be a list"),
        ("''", "4:1: extends.0: "),
        ("{a: b}", "4:10: extends: must be a list"),
        ("[]", "4:10: extends: "),
    ],
)
def test_what_cannot_be_extended(said, project: Path, extends: str, problem: str) -> None:
    (project.parent / "outside.yaml").write_text(BASE)
    (project / "link.yaml").symlink_to(project.parent / "outside.yaml")
    (project / "loop.yaml").symlink_to(project / "loop.yaml")
    write(project, f"name: team\nextends: {extends}\n")
    problems = [line for line in said() if "no agents" not in line]
    assert [line.startswith(f"team/blueprint.yaml:{problem}") for line in problems] == [True], problems


def test_a_cycle_names_its_chain(said, project: Path) -> None:
    write(project, "name: a\nextends: b.yaml\n", "a.yaml")
    write(project, "name: b\nextends: a.yaml\n", "b.yaml")
    write(project, "name: team\nextends: [../base.yaml, ../a.yaml]\n")
    assert said() == ["b.yaml:4:10: extends: a cycle: a.yaml → b.yaml → a.yaml."]


def test_a_faulty_base_is_reported_once_and_in_its_place(said, project: Path) -> None:
    (project / "base.yaml").write_text("a: [1\n")
    write(project, "name: team\nextends: [../base.yaml, ../base.yaml]\nagents: []\n")
    assert [line for line in said() if line.startswith("base.yaml")] == [
        "base.yaml:1:4: Invalid YAML: the '[' opened here is not closed, or a ',' is missing."
    ]
    (project / "base.yaml").write_text("- a\n")
    assert "base.yaml:1:1: A blueprint is a mapping of keys to values; see docs/blueprints.md." in said()


def test_chains_and_crowds_have_an_end(check: Loader, said, project: Path) -> None:
    def chain(length: int) -> None:
        for number in range(1, length):
            write(project, f"name: x\nextends: c{number + 1}.yaml\n", f"c{number}.yaml")
        (project / f"c{length}.yaml").write_text(BASE)
        write(project, "name: team\nextends: ../c1.yaml\n")

    chain(8)
    assert len(check(project / "team").spec.agents) == 2
    chain(9)
    assert said() == ["c8.yaml:4:10: extends: more than 8 blueprints below one another."]
    for number in range(7):
        write(project, f"name: x\nextends: [{', '.join([f'd{number + 1}.yaml'] * 9)}]\n", f"d{number}.yaml")
    (project / "d7.yaml").write_text(BASE)
    write(project, "name: team\nextends: ../d0.yaml\n")
    assert any("more than 64 blueprints in all." in line for line in said())


def test_digest_covers_what_is_extended_but_not_where_it_is(
    check: Loader, project: Path, tmp_path: Path
) -> None:
    def digest(loaded: LoadedBlueprint) -> str:
        return loaded.digest

    before = digest(check(project / "team"))
    moved = tmp_path / "elsewhere" / "blueprints"
    moved.parent.mkdir()
    project.rename(moved)
    assert digest(check(moved / "team")) == before
    (moved / "base.yaml").write_text(BASE + "# changed\n")
    assert digest(check(moved / "team")) != before


def test_one_file_may_extend_another(check: Loader, project: Path) -> None:
    write(project, "name: solo\nextends: base.yaml\n", "solo.yaml")
    assert check(project / "solo.yaml").spec.name == "solo"


def test_outside_of_blueprints_only_the_own_surroundings_are_reached(
    check: Loader, tmp_path: Path, folder: Path
) -> None:
    (tmp_path / "base.yaml").write_text(MAIN)
    (folder / "blueprint.yaml").write_text(
        f"{HEAD}name: team\nextends: ../base.yaml\nknowledge: {{sources: []}}\n"
    )
    assert check(folder).spec.models["big"].model == "qwen3:8b"
    inner = tmp_path / "inner"
    folder.rename(inner)
    (inner / "blueprint.yaml").write_text(f"{HEAD}name: inner\nextends: ../../base.yaml\n")
    with pytest.raises(BlueprintError, match=r"extends: '../../base.yaml' is outside of"):
        check(inner)
