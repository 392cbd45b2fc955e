import json
import signal
import time

import pexpect
import psycopg
import pytest

from .conftest import Project, command

KEYS = {
    "answer", "thread_id", "request_id", "route", "sources", "tool_calls", "usage", "model", "prompts",
    "interrupts", "limits_reached", "output",
}  # fmt: skip
PYTHON = "How do I write a generator in Python?"


def test_one_answer_shows_route_answer_sources_and_tokens(project: Project) -> None:
    done = project.run("chat", "team", PYTHON)
    assert done.returncode == 0, done.stderr
    assert "route  python semantic: similarity" in done.stdout
    assert "Use yield [1]." in done.stdout
    assert "[1] notes/generators.md:1-3" in done.stdout
    assert "tokens in" in done.stdout
    assert " · thread " in done.stdout


def test_json_is_the_contract_and_alone_on_standard_output(project: Project) -> None:
    done = project.run("chat", "team", PYTHON, "--json", "--thread", "t1", "--user", "ana")
    answer = json.loads(done.stdout)
    assert set(answer) == KEYS
    assert answer["answer"] == "Use yield [1]."
    assert answer["thread_id"] == "t1"
    assert set(answer["route"]) == {"agents", "method", "reason"}
    assert answer["route"]["agents"] == ["python"]
    assert answer["sources"][0]["uri"] == "notes/generators.md"
    assert set(answer["usage"]) == {"input_tokens", "output_tokens", "cost_usd"}
    assert answer["usage"]["cost_usd"] is None
    assert answer["model"] == "scripted"


SEVERAL = """
apiVersion: agentkit/v1
kind: Blueprint
name: pair
models:
  one: {provider: scripted, options: {replies: [A short answer.]}}
  two: {provider: scripted, options: {replies: ["Another, not a list[str]."]}}
  main: {provider: scripted}
routing:
  parallel: 2
  rules: [{when: "'both' in text and user in ['ana']", to: [second, first]}]
agents:
  - {name: first, description: One., model: one, prompt: {ref: agents/python}}
  - {name: second, description: Two., model: two, prompt: {ref: agents/python}}
"""


def test_several_agents_are_asked_by_a_rule_and_shown_in_its_order(project: Project) -> None:
    (project.root / "blueprints" / "pair.yaml").write_text(SEVERAL)
    done = project.run("chat", "pair", "Ask BOTH", "--user", "ana")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "route  second, first rules: the rule 'both' in text and user in ['ana'] holds"
    assert lines[1:6] == ["**second**", "", "Another, not a list[str].", "", "**first**"]
    assert "A short answer." in lines
    answer = json.loads(project.run("chat", "pair", "Ask BOTH", "--user", "ana", "--json").stdout)
    assert answer["answer"] == "**second**\n\nAnother, not a list[str].\n\n**first**\n\nA short answer."
    assert answer["route"] == {
        "agents": ["second", "first"],
        "method": "rules",
        "reason": "the rule 'both' in text and user in ['ana'] holds",
    }


def test_a_thread_is_remembered_by_another_process(project: Project) -> None:
    project.run("chat", "team", PYTHON, "--thread", "t1")
    remembered = {"text": "You asked about generators.", "expect": "what did I ask before?"}
    project.script({"agent": "none"}, remembered)
    done = project.run("chat", "team", "what did I ask before?", "--thread", "t1", "--json")
    assert json.loads(done.stdout)["answer"] == "You asked about generators."
    with psycopg.connect(project.env["AGENTKIT_DATABASE_URL"]) as connection:
        count = connection.execute("SELECT count(DISTINCT thread_id) FROM checkpoints").fetchone()
    assert count == (1,)


def test_the_second_run_embeds_nothing(project: Project) -> None:
    first = project.run("ingest", "--blueprint", "team", "--json")
    second = project.run("ingest", "--blueprint", "team", "--json")
    assert [file["outcome"] for file in json.loads(first.stdout)] == ["added"]
    assert [(file["outcome"], file["embedded"]) for file in json.loads(second.stdout)] == [("unchanged", 0)]


def test_a_greeting_is_answered_by_the_supervisor(project: Project) -> None:
    project.script({"agent": "none"}, "Hello!")
    answer = json.loads(project.run("chat", "team", "hello", "--json").stdout)
    assert answer["answer"] == "Hello!"
    assert answer["route"]["agents"] == []
    assert answer["sources"] == []


def test_an_unknown_blueprint_is_wrong_use_with_a_suggestion(project: Project) -> None:
    done = project.run("chat", "taem", "hi")
    assert done.returncode == 2
    assert "Unknown blueprint 'taem'. Did you mean 'team'?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_typo_in_the_blueprint_is_placed(project: Project) -> None:
    file = project.root / "blueprints" / "team" / "blueprint.yaml"
    file.write_text(file.read_text().replace("knowledge_scope", "knowlege_scope"))
    done = project.run("chat", "team", "hi")
    assert done.returncode == 1
    assert "blueprint.yaml:" in done.stderr
    assert "knowledge_scope" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_refuses_is_named_without_its_password(project: Project) -> None:
    done = project.run("chat", "team", "hi", AGENTKIT_DATABASE_URL="postgresql://u:s3cret@127.0.0.1:1/x")
    assert done.returncode == 1
    assert "postgresql://u:***@127.0.0.1:1/x refuses" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_stops_before_anything_starts(project: Project) -> None:
    done = project.run("chat", "team", "hi", AGENTKIT_LOG_LEVEL="loud", AGENTKIT_DATABSE_URL="x")
    assert done.returncode == 2
    assert "The settings have 2 problems" in done.stderr


@pytest.mark.parametrize("arguments", [("chat", "team", " "), ("chat", "team", "--json"), ("chat",)])
def test_wrong_use_is_status_2(project: Project, arguments: tuple[str, ...]) -> None:
    assert project.run(*arguments).returncode == 2


def test_a_failing_model_is_a_message(project: Project) -> None:
    project.script()
    done = project.run("chat", "team", PYTHON)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_in_mid_answer_ends_cleanly_and_the_thread_goes_on(
    project: Project, number: signal.Signals, status: int
) -> None:
    file = project.root / "blueprints" / "team" / "blueprint.yaml"
    local = "{provider: local, model: smollm2-135m-instruct}"
    script = file.read_text()
    file.write_text(script.replace(script[script.index("{provider") : script.index("\nknowledge")], local))
    running = project.start("chat", "team", PYTHON, "--thread", "t1")
    assert running.stdout is not None
    assert running.stdout.readline().startswith("route")
    time.sleep(0.5)
    running.send_signal(number)
    _, stderr = running.communicate(timeout=60)
    assert running.returncode == status, stderr
    assert "Traceback" not in stderr
    project.script("Use yield [1].")
    done = project.run("chat", "team", PYTHON, "--thread", "t1", "--json")
    assert json.loads(done.stdout)["answer"] == "Use yield [1]."


def test_two_at_once_share_the_database(project: Project) -> None:
    running = [project.start("chat", "team", PYTHON, "--json") for _ in range(3)]
    for process in running:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        assert len(json.loads(stdout)["sources"]) == 1
    listed = json.loads(project.run("documents", "list", "--json").stdout)
    assert [(document["source_uri"], document["chunks"]) for document in listed] == [
        ("notes/generators.md", 1)
    ]


def test_a_conversation_on_a_terminal(project: Project) -> None:
    project.script("Use yield [1].", {"agent": "none"}, "You are welcome.")
    arguments = command(["chat", "team"])
    terminal = pexpect.spawn(
        arguments[0], arguments[1:], cwd=str(project.root), env=project.env, timeout=120, encoding="utf-8"
    )
    terminal.expect("you")
    terminal.sendline(PYTHON)
    terminal.expect("Use yield")
    terminal.expect("you")
    terminal.sendline("thanks!")
    terminal.expect("You are welcome")
    terminal.expect("you")
    terminal.sendeof()
    terminal.expect("Go on with --thread [0-9a-f]{32}")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_conversation_follows_its_blueprint(project: Project) -> None:
    project.script("Use yield [1].")
    file = project.root / "blueprints" / "team" / "blueprint.yaml"
    arguments = command(["chat", "team", "--reload"])
    terminal = pexpect.spawn(
        arguments[0], arguments[1:], cwd=str(project.root), env=project.env, timeout=120, encoding="utf-8"
    )
    terminal.expect("you")
    good = file.read_text()
    file.write_text(good.replace("knowledge_scope", "knowlege_scope"))
    terminal.sendline(PYTHON)
    terminal.expect(r"blueprint\.yaml:\d+:\d+: Unknown key 'knowlege_scope'")
    terminal.expect("team stays as it was")
    terminal.expect("Use yield")
    terminal.expect("you")
    project.script("Use a list.")
    terminal.sendline(PYTHON)
    terminal.expect("team reloaded")
    terminal.expect("Use a list")
    terminal.expect("you")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    assert "agentkit.services.live" not in (terminal.before or "")
    terminal.close()
    assert terminal.exitstatus == 0


def test_reload_is_for_conversations(project: Project) -> None:
    done = project.run("chat", "team", "hi", "--reload")
    assert done.returncode == 2
    assert "--reload is for conversations" in done.stderr


VALUES = """
apiVersion: agentkit/v1
kind: Blueprint
name: values
context: {locale: {default: en}}
models: {main: {provider: scripted, options: {replies: [{text: Gut., seen: Answer in de.}]}}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: clerk}]}
agents:
  - name: clerk
    description: Answers.
    prompt: {ref: in_locale, variables: {locale: "${context:locale}"}}
tests:
  - name: in German
    input: hello
    context: {locale: de}
    mock: {clerk: [{text: Gut., seen: Answer in de.}]}
    expect: {answer_contains: Gut}
"""


def test_values_of_the_request_reach_the_prompt(project: Project) -> None:
    (project.root / "blueprints" / "values.yaml").write_text(VALUES)
    (project.root / "prompts").mkdir(exist_ok=True)
    (project.root / "prompts" / "in_locale.yaml").write_text(
        "name: L\nversions: {1: {template: 'Answer in {{locale}}.', variables: {locale: Language.}}}\n"
    )
    done = project.run("chat", "values", "hi", "--context", "locale=de", "--json")
    assert json.loads(done.stdout)["answer"] == "Gut.", done.stderr
    assert project.run("chat", "values", "hi").returncode == 1  # the script wants de
    typo = project.run("chat", "values", "hi", "--context", "local=de")
    assert typo.returncode == 2
    assert "Unknown value of the request 'local'. Did you mean 'locale'?" in typo.stderr
    assert project.run("chat", "values", "hi", "--context", "locale").returncode == 2
    tested = project.run("blueprint", "test", "values")
    assert tested.returncode == 0, tested.stdout + tested.stderr
