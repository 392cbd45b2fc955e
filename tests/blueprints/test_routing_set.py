"""Files of labelled utterances: what they may say, and where a fault is."""

from pathlib import Path

import pytest

from agentkit.blueprints.routing_set import blueprint_around, load_routing_set
from agentkit.errors import BlueprintError

AGENTS = ("kubernetes", "python")


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "set.yaml"
    file.write_text(text)
    return file


def faults(tmp_path: Path, text: str) -> list[str]:
    file = write(tmp_path, text)
    with pytest.raises(BlueprintError) as raised:
        load_routing_set(file, AGENTS)
    return [str(problem).splitlines()[0].removeprefix(f"{file}:") for problem in raised.value.problems]


def test_labels_are_a_route_or_several_right_ones(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        """
utterances:
  - {text: pods, agents: [kubernetes]}
  - {text: lists, agents: python}
  - {text: hello, agents: []}
  - text: a script in a pod
    accept: [kubernetes, [kubernetes, python], []]
""",
    )
    read = load_routing_set(file, AGENTS)
    assert [utterance.routes for utterance in read] == [
        (("kubernetes",),),
        (("python",),),
        ((),),
        (("kubernetes",), ("kubernetes", "python"), ()),
    ]
    assert [utterance.line for utterance in read] == [3, 4, 5, 6]


def test_all_faults_at_once_each_with_its_place(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        """utterances:
  - {text: pods, agents: [kubernets]}
  - {text: lists, agent: python}
  - {text: Pods, accept: [[python, supervisor]]}
  - {text: both, agents: [], accept: [[python]]}
  - {text: "", agents: []}
""",
    )
    assert found == [
        "2:27: Unknown agent 'kubernets'. Did you mean 'kubernetes'? Valid: kubernetes, python.",
        "3:19: Unknown key 'agent'. Did you mean 'agents'? Valid: accept, agents, text.",
        "4:12: The text 'Pods' is here twice, first as utterance 1.",
        (
            "4:36: Unknown agent 'supervisor'. Valid: kubernetes, python. "
            "The supervisor itself is an empty list."
        ),
        "5:5: utterances.3: needs either agents or accept.",
        "6:12: utterances.4.text: must not be empty.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("utterances: []", "1:13: utterances: "),
        ("- {text: a, agents: []}", "1:1: the file: must be a mapping"),
        ("", "1:1: the file: must be a mapping of keys to values, not empty."),
        ("utterances:\n\t- a", "2:1: Invalid YAML"),
    ],
)
def test_files_that_are_no_labelled_set(tmp_path: Path, text: str, said: str) -> None:
    assert faults(tmp_path, text)[0].startswith(said)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BlueprintError, match=r"missing\.yaml: The file cannot be read: No such file"):
        load_routing_set(tmp_path / "missing.yaml", AGENTS)


def test_the_blueprint_is_the_folder_around(tmp_path: Path) -> None:
    (tmp_path / "team" / "routing").mkdir(parents=True)
    (tmp_path / "team" / "blueprint.yaml").touch()
    assert blueprint_around(tmp_path / "team" / "routing" / "set.yaml") == (tmp_path / "team").resolve()
    assert blueprint_around(tmp_path / "set.yaml") is None
