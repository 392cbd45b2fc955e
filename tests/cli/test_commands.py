"""The commands that show and check things."""

import json
import shlex
import subprocess
from typing import Any

import pytest

from .conftest import Project, command


def test_a_valid_blueprint(project: Project) -> None:
    done = project.run("blueprint", "validate", "team")
    assert (done.returncode, done.stdout[:30]) == (0, "team: valid, 1 agents, digest ")


def test_all_faults_of_a_blueprint_as_json(project: Project) -> None:
    file = project.root / "blueprints" / "team" / "blueprint.yaml"
    file.write_text(file.read_text().replace("description", "descripton").replace("scripted", "scriptd"))
    done = project.run("blueprint", "validate", "team", "--json")
    assert done.returncode == 1
    problems = json.loads(done.stdout)["problems"]
    assert len(problems) >= 2
    assert all(problem["line"] and problem["column"] and problem["file"] for problem in problems)
    text = " ".join(problem["message"] for problem in problems)
    assert "'description'" in text
    assert "scripted" in text


def test_show_graph_list_and_schema(project: Project) -> None:
    shown = json.loads(project.run("blueprint", "show", "team", "--json").stdout)
    assert shown["agents"][0]["limits"]["tool_iterations"] == 5
    assert "knowledge notes, tools none" in project.run("blueprint", "show", "team").stdout
    graph = project.run("blueprint", "graph", "team").stdout
    assert graph.startswith("flowchart TD\n")
    assert 'a0_retrieve[("retrieve<br/>notes")] --> a0_model' in graph
    listed = project.run("blueprint", "list").stdout
    assert "team" in listed
    assert "devassist" in listed
    assert json.loads(project.run("schema").stdout)["$defs"]["Blueprint"]


def test_prompts_are_published_once(project: Project) -> None:
    (project.root / "prompts").mkdir()
    file = project.root / "prompts" / "greeting.yaml"
    file.write_text("name: G\nversions:\n  1: {template: Hello!}\n")
    done = project.run("prompts", "check", "--locked")
    assert (done.returncode, done.stderr) == (1, "Not locked: greeting@1. Run 'agentkit prompts lock'.\n")
    assert "greeting@1" in project.run("prompts", "lock").stdout
    assert project.run("prompts", "check", "--locked").returncode == 0
    file.write_text(file.read_text().replace("Hello", "Hi"))
    done = project.run("prompts", "check")
    assert done.returncode == 1
    assert "greeting.yaml:3:17: Version 1 is published (prompts.lock) with another text" in done.stderr
    assert project.run("prompts", "lock").returncode == 1


def test_prompts(project: Project) -> None:
    refs = [prompt["ref"] for prompt in json.loads(project.run("prompts", "list", "--json").stdout)]
    assert {"routing", "supervisor", "retrieval", "agents/python"} <= set(refs)
    assert "{{agents}}" in project.run("prompts", "show", "routing").stdout
    assert project.run("prompts", "check").returncode == 0
    done = project.run("prompts", "show", "routng")
    assert done.returncode == 2
    assert "Did you mean 'routing'" in done.stderr


def test_a_faulty_prompt_file_is_placed(project: Project) -> None:
    folder = project.root / "prompts"
    folder.mkdir()
    (folder / "mine.yaml").write_text("name: Mine\nversions:\n  1: {template: 'Hi {{who}}'}\n")
    done = project.run("prompts", "check")
    assert done.returncode == 1
    assert "mine.yaml:3:" in done.stderr
    assert "who" in done.stderr


def test_models(project: Project) -> None:
    rows = {row["name"]: row for row in json.loads(project.run("models", "list", "--json").stdout)["weights"]}
    assert rows["all-minilm-l6-v2"]["kind"] == "embedding"
    done = project.run("models", "pull", "qwen")
    assert done.returncode == 2
    assert "qwen2.5-coder-0.5b-instruct" in done.stderr


def test_database_status_before_and_after(project: Project) -> None:
    before = json.loads(project.run("db", "status", "--json").stdout)
    assert [row["applied_at"] for row in before] == [None] * len(before)
    assert "applied 001_vector_tables.sql" in project.run("db", "migrate").stdout
    after = json.loads(project.run("db", "status", "--json").stdout)
    assert all(row["applied_at"] for row in after)
    assert project.run("db", "migrate").stdout == "The database is up to date.\n"


def test_doctor_says_what_is_there(project: Project) -> None:
    done = project.run("doctor", "--json", AGENTKIT_MODELS__MAIN__PROVIDER="scripted")
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert "pgvector 0." in findings["database"]["detail"]
    assert findings["model main"]["ok"]
    assert findings["sandbox"]["ok"]  # no blueprint of the project runs code


def test_doctor_says_what_is_wrong_and_what_to_do(project: Project) -> None:
    (project.root / "blueprints" / "team" / "blueprint.yaml").write_text("kind: Blueprnt\n")
    wrong = {"AGENTKIT_DATABASE_URL": "postgresql://u:s3cret@127.0.0.1:1/x"}
    wrong |= {"AGENTKIT_DATA_DIR": str(project.root / "empty"), "AGENTKIT_MODELS__MAIN__PROVIDER": "local"}
    done = project.run("doctor", "--json", **wrong)
    findings = [finding for finding in json.loads(done.stdout) if not finding["ok"]]
    assert done.returncode == 1
    fixes = {finding["name"]: finding["fix"] for finding in findings}
    assert fixes.keys() == {"database", "blueprint", "model main"}
    assert fixes["model main"] == "agentkit models pull qwen2.5-coder-0.5b-instruct"
    assert fixes["blueprint"] == "agentkit blueprint validate team"
    assert "Check AGENTKIT_DATABASE_URL" in fixes["database"]
    assert "s3cret" not in done.stdout


def test_doctor_asks_redis_when_there_is_one(project: Project, redis: Any) -> None:
    def finding(url: str) -> Any:
        settings = {"AGENTKIT_REDIS_URL": url, "AGENTKIT_MODELS__MAIN__PROVIDER": "scripted"}
        done = project.run("doctor", "--json", **settings)
        assert "s3cret" not in done.stdout + done.stderr
        (found,) = [each for each in json.loads(done.stdout) if each["name"] == "redis"]
        assert (done.returncode == 0) == found["ok"]
        return found

    assert finding(redis.url)["ok"]
    redis.stop()
    gone = finding(redis.url.replace("redis://", "redis://:s3cret@"))
    assert not gone["ok"]
    assert f"Redis at {redis.url} does not answer" in gone["detail"]
    assert "Check AGENTKIT_REDIS_URL" in gone["fix"]
    assert "own circuit breakers" in gone["fix"]


@pytest.mark.parametrize("reader", ["head -c 1", "true"])
def test_a_reader_that_goes_away_is_no_error(project: Project, reader: str) -> None:
    program = shlex.join(command(["schema"]))
    done = subprocess.run(
        ["bash", "-c", f"{program} | {reader}"],
        cwd=project.root,
        env=project.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
