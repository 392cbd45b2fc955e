"""`agentkit eval routing`: the report, JSON, exit statuses."""

import json

import pytest

from .conftest import Project

SET = """utterances:
  - {text: How do I write a Python generator, agents: [python]}
  - {text: Which wine goes with fish, agents: []}
  - {text: Is there a better way, agents: [python]}
"""


@pytest.fixture
def team(project: Project) -> Project:
    project.script({"agent": "none"}, {"agent": "none"})
    folder = project.root / "blueprints" / "team" / "routing"
    folder.mkdir()
    (folder / "set.yaml").write_text(SET)
    # Nothing here needs a database.
    project.env["AGENTKIT_DATABASE_URL"] = "postgresql://nobody@127.0.0.1:1/none"
    return project


FILE = "blueprints/team/routing/set.yaml"


def test_shows_what_is_right_what_is_wrong_and_why(team: Project) -> None:
    done = team.run("eval", "routing", FILE)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{FILE}:4: Is there a better way" in done.stdout
    assert "expected python, got supervisor by llm" in done.stdout
    assert "the routing model found that no agent fits; scores: python " in done.stdout
    assert "team: 2 of 3 (66.7%) right" in done.stdout
    assert "without a model  1 of 3 (33.3%), right of these 1 of 1 (100.0%)" in done.stdout
    assert "threshold 0.4, margin 0.05\nsuggested: threshold 0." in done.stdout
    assert "chosen on four fifths and counted on the rest" in done.stdout


def test_json_without_the_llm_strategy(team: Project) -> None:
    done = team.run("eval", "routing", FILE, "--no-llm", "--json", "--min-decided", "0.5")
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["blueprint"], said["llm"], said["total"]) == ("team", False, 3)
    assert said["methods"] == {"direct": {"count": 2, "right": 1}, "semantic": {"count": 1, "right": 1}}
    assert (said["decided"], said["decided_accuracy"]) == (pytest.approx(1 / 3), 1.0)
    assert said["confusion"] == {"python": {"python": 1, "supervisor": 1}, "supervisor": {"supervisor": 1}}
    assert [result["right"] for result in said["results"]] == [True, True, False]
    assert set(said["results"][1]["scores"]) == {"python"}
    assert said["suggestion"]["decided"] > 0
    assert said["missed"] == ["decided"]


def test_shares_below_their_least_are_status_1(team: Project) -> None:
    least = ["--min-accuracy", "0.9", "--min-decided", "0.3", "--min-decided-accuracy", "0.97"]
    done = team.run("eval", "routing", FILE, "--no-llm", *least)
    assert done.returncode == 1
    assert done.stderr.strip() == "accuracy is 66.7%, less than 90.0%."


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["set.yaml"], 2, "'set.yaml' is in no blueprint's folder: say whose it is with --blueprint NAME."),
        (
            ["set.yaml", "--blueprint", "team"],
            1,
            "set.yaml:1:33: Unknown agent 'pyton'. Did you mean 'python'?",
        ),
    ],
)
def test_what_is_wrong_is_said(team: Project, arguments: list[str], status: int, said: str) -> None:
    (team.root / "set.yaml").write_text("utterances: [{text: a, agents: [pyton]}]")
    done = team.run("eval", "routing", *arguments)
    assert (done.returncode, "Traceback" in done.stderr) == (status, False)
    assert said in done.stderr
