"""A call that waits for a person, on the command line: at the terminal, and from one process to another."""

import json

import pexpect
import pytest

from agentkit.cli.approvals import plain

from .conftest import Project, command

TOOLS = '''
import json
from pathlib import Path

from agentkit import tool
from agentkit.testing import scripted_model


def model(**options):
    return scripted_model(*json.loads(Path("replies.json").read_text()))


@tool(name="restart")
def restart(pod: str) -> str:
    """Restart a pod."""
    with Path("restarted").open("a") as file:
        file.write(f"{pod}\\n")
    return f"{pod} runs"


@tool(name="ask")
def ask() -> str:
    """Ask a person."""
    from langgraph.types import interrupt

    return str(interrupt("Which pod?"))
'''

# What the model says is no part of the blueprint: a thread that waits would go on with what it was.
BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: ops
models:
  main: {use: "ops_tools:model"}
security: {allowed_modules: [ops_tools]}
routing: {rules: [{when: "1 == 1", to: pods}], strategy: [rules]}
agents:
  - name: pods
    description: Pods.
    prompt: {ref: agents/python}
    tools:
      - {use: "ops_tools:restart", approval: {description: "Restarting takes it down."}}
      - {use: "ops_tools:ask"}
"""

RESTART = {"tool": "restart", "arguments": {"pod": "web"}}


class Ops:
    def __init__(self, project: Project) -> None:
        self.project = project
        (project.root / "ops_tools.py").write_text(TOOLS)
        project.env["PYTHONPATH"] = f"{project.root}:{project.env.get('PYTHONPATH', '')}"

    def script(self, *replies: object) -> None:
        (self.project.root / "blueprints" / "ops.yaml").write_text(BLUEPRINT)
        (self.project.root / "replies.json").write_text(json.dumps(replies))

    @property
    def restarted(self) -> list[str]:
        file = self.project.root / "restarted"
        return file.read_text().split() if file.exists() else []

    def terminal(self, *arguments: str) -> "pexpect.spawn[str]":
        words = command(arguments)
        return pexpect.spawn(
            words[0],
            words[1:],
            cwd=str(self.project.root),
            env=self.project.env,
            timeout=60,
            encoding="utf-8",
        )


@pytest.fixture
def ops(project: Project) -> Ops:
    return Ops(project)


def test_a_pause_ends_the_command_with_its_own_status_and_another_process_goes_on(ops: Ops) -> None:
    ops.script(RESTART)
    paused = ops.project.run("chat", "ops", "restart web", "--thread", "t1")
    assert paused.returncode == 3, paused.stderr
    assert 'pods waits to call restart {"pod": "web"}\nRestarting takes it down.\n' in paused.stdout
    (line,) = [line for line in paused.stderr.splitlines() if line.startswith("agentkit ")]
    assert line.startswith("agentkit resume ops t1 --interrupt ")
    assert line.endswith(" --approve | --edit JSON | --reject TEXT")
    refused = ops.project.run("chat", "ops", "hello?", "--thread", "t1")
    assert refused.returncode == 1
    assert "waits for a decision on" in refused.stderr
    ops.script("It runs again.")
    words = line.split(" | ", maxsplit=1)[0].split()[1:]
    done = ops.project.run(*words)
    assert done.returncode == 0, done.stderr
    assert "It runs again." in done.stdout
    assert ops.restarted == ["web"]
    again = ops.project.run(*words)
    assert again.returncode == 1
    assert "answered already" in again.stderr
    shown = ops.project.run("threads", "show", "ops", "t1")
    assert shown.stdout.split() == ["you", "restart", "web", "pods", "It", "runs", "again."]
    assert ops.project.run("threads", "pending", "ops", "t1").stdout == "Nothing waits.\n"


def test_json_has_what_waits_and_the_command_is_on_standard_error(ops: Ops) -> None:
    ops.script(RESTART)
    paused = ops.project.run("chat", "ops", "restart web", "--thread", "t1", "--json")
    assert paused.returncode == 3
    answer = json.loads(paused.stdout)
    (pause,) = answer["interrupts"]
    assert answer["answer"] == ""
    assert (pause["agent"], pause["calls"][0]["name"], pause["calls"][0]["args"]) == (
        "pods",
        "restart",
        {"pod": "web"},
    )
    assert f"--interrupt {pause['id']}" in paused.stderr
    listed = json.loads(ops.project.run("threads", "pending", "ops", "t1", "--json").stdout)
    assert listed == answer["interrupts"]
    shown = json.loads(ops.project.run("threads", "show", "ops", "t1", "--json").stdout)
    assert shown == {
        "thread_id": "t1",
        "messages": [{"role": "human", "name": "", "text": "restart web"}],
        "interrupts": listed,
    }
    ops.script("Done.")
    bad = ops.project.run("resume", "ops", "t1", "--edit", '{"prod": "db"}', "--json")
    assert (bad.returncode, bad.stdout) == (1, "")
    assert "Did you mean 'pod'?" in bad.stderr
    done = ops.project.run(
        "resume", "ops", "t1", "--edit", '{"pod": "db"}', "--interrupt", pause["id"][:8], "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["answer"], answer["interrupts"], ops.restarted) == ("Done.", [], ["db"])
    assert answer["tool_calls"][0]["args"] == {"pod": "db"}


def test_nothing_in_the_arguments_is_hidden() -> None:
    assert plain({"pod": "w\u202eb\x1b[2J", "größe": 1}) == '{"pod": "w\\u202eb\\u001b[2J", "größe": 1}'


def test_several_that_wait_are_answered_by_name(ops: Ops) -> None:
    ops.script([RESTART, {"tool": "restart", "arguments": {"pod": "db"}}])
    first, second = json.loads(ops.project.run("chat", "ops", "both", "--thread", "t1", "--json").stdout)[
        "interrupts"
    ]
    unclear = ops.project.run("resume", "ops", "t1", "--approve")
    assert unclear.returncode == 2
    assert first["id"] in unclear.stderr
    half = ops.project.run("resume", "ops", "t1", "--approve", "--interrupt", second["id"], "--json")
    assert half.returncode == 3, half.stderr
    assert [pause["id"] for pause in json.loads(half.stdout)["interrupts"]] == [first["id"]]
    ops.script("Done.")
    done = ops.project.run("resume", "ops", "t1", "--reject", "Not that one.")
    assert done.returncode == 0, done.stderr
    assert ops.restarted == ["db"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--approve", "--reject", "no"), 2, "exclude each other"),
        (("--edit", "pod: x"), 2, "This is not JSON"),
        (("--edit", "[1]"), 2, "Arguments are a JSON object"),
        (("--json",), 2, "--json needs a decision"),
        ((), 1, "Nothing waits in the thread 't1'"),
        (("--approve",), 1, "Nothing waits there"),
    ],
)
def test_wrong_use_says_so(ops: Ops, arguments: tuple[str, ...], status: int, said: str) -> None:
    ops.script()
    done = ops.project.run("resume", "ops", "t1", *arguments)
    assert done.returncode == status
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_thread_that_is_not_there_is_said_to_be_so(ops: Ops) -> None:
    ops.script()
    done = ops.project.run("threads", "show", "ops", "nobody")
    assert done.returncode == 1
    assert "There is no conversation 'nobody' of ops." in done.stderr


def test_a_terminal_is_asked_and_the_conversation_goes_on(ops: Ops) -> None:
    restart_db = {"tool": "restart", "arguments": {"pod": "db"}}
    ops.script(RESTART, restart_db, RESTART, "All done.", "You are welcome.")
    terminal = ops.terminal("chat", "ops")
    terminal.expect("you")
    terminal.sendline("restart them")
    terminal.expect_exact('waits to call restart {"pod": "web"}')
    terminal.expect_exact("[a]pprove, [e]dit, [r]eject, [l]ater?")
    terminal.sendline("what?")
    terminal.expect_exact("[a]pprove, [e]dit, [r]eject, [l]ater?")
    terminal.sendline("a")
    terminal.expect_exact('waits to call restart {"pod": "db"}')
    terminal.sendline("edit")
    terminal.expect("arguments, now")
    terminal.sendline("pod: cache")
    terminal.expect("This is not JSON")
    terminal.sendline('{"pood": "cache"}')
    terminal.expect("Did you mean 'pod'")
    terminal.expect_exact('waits to call restart {"pod": "db"}')
    terminal.sendline("e")
    terminal.sendline('{"pod": "cache"}')
    terminal.expect_exact('waits to call restart {"pod": "web"}')
    terminal.sendline("r")
    terminal.expect("why")
    terminal.sendline("It is fine.")
    terminal.expect("All done.")
    terminal.expect("you")
    terminal.sendline("thanks")
    terminal.expect("You are welcome")
    terminal.expect("you")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
    assert ops.restarted == ["web", "cache"]


def test_what_is_left_for_later_is_asked_when_the_conversation_is_taken_up(ops: Ops) -> None:
    ops.script(RESTART)
    terminal = ops.terminal("chat", "ops", "restart web", "--thread", "t1")
    terminal.expect_exact("[l]ater")
    terminal.sendline("l")
    terminal.expect("agentkit resume ops t1 --interrupt")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 3
    ops.script({"tool": "ask"}, "Done.")
    terminal = ops.terminal("chat", "ops", "--thread", "t1")
    terminal.expect("waits to call restart")
    terminal.sendline("approve")
    terminal.expect('asks "Which pod')
    terminal.sendline("web")
    terminal.expect("Done.")
    terminal.expect("you")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_question_of_a_tools_own_is_answered_by_option(ops: Ops) -> None:
    ops.script({"tool": "ask"})
    paused = ops.project.run("chat", "ops", "which?", "--thread", "t1")
    assert paused.returncode == 3
    assert 'pods asks "Which pod?"' in paused.stdout
    assert paused.stderr.rstrip().endswith("--respond TEXT")
    wrong = ops.project.run("resume", "ops", "t1", "--approve")
    assert wrong.returncode == 2
    ops.script("Done.")
    done = ops.project.run("resume", "ops", "t1", "--respond", "web", "--json")
    assert json.loads(done.stdout)["tool_calls"][0]["result"] == "web"
