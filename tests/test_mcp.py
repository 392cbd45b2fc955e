"""A blueprint whose agent calls a real MCP server: from Python, in its own tests, on the command line."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentkit
from agentkit.errors import ConfigurationError, McpServerError
from agentkit.services.chat import ChatService
from agentkit.settings import Settings

SERVER = Path(__file__).parent / "tools" / "mcp_server.py"
BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: desk
models: {{main: {{provider: scripted, options: {{replies: {replies}}}}}}}
security: {{allowed_commands: ["{python}"], allowed_modules: [desk_tools]}}
mcp_servers:
  tickets: {{command: "{command}", args: ["{server}", "{folder}"], env: {{KEY: "${{secret:DESK_KEY}}"}}}}
routing: {{strategy: [rules], rules: [{{when: "'spare' in text", to: spare}}, {{when: 1 == 1, to: clerk}}]}}
runtime: {{checkpointer: memory}}
agents:
  - name: clerk
    description: Tickets.
    prompt: {{ref: agents/python}}
    tools: [{{mcp: tickets, include: ["get_*", who, slow, die], exclude: ["*_admin"]}}{more}]
  - {{name: spare, description: Nothing., prompt: {{ref: agents/python}}}}
tests:
  - name: the tool is called
    input: What is ticket 7?
    mock:
      clerk: [{{tool: get_ticket, arguments: {{number: 7}}}}, {{text: A fire., expect: printer is on fire}}]
    expect: {{route: [clerk], tools: {{get_ticket: {{number: 7}}}}, answer_contains: fire}}
  - name: no tool is called
    input: Hello
    mock: {{clerk: [Hello.]}}
    expect: {{tools: {{}}}}
  - name: another agent
    input: spare
    mock: {{spare: [Hello.]}}
"""
TURN: list[object] = [{"tool": "get_ticket", "arguments": {"number": 7}}, "The printer burns."]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DESK_KEY", "t0p-secret-value")
    (tmp_path / "blueprints").mkdir()
    write(tmp_path)
    return Settings.load(data_dir=tmp_path / "data")


def write(folder: Path, replies: object = TURN, *, command: str = sys.executable, more: str = "") -> None:
    text = BLUEPRINT.format(
        replies=json.dumps(replies), python=command, command=command, server=SERVER, folder=folder, more=more
    )
    (folder / "blueprints" / "desk.yaml").write_text(text)


async def test_an_answer_with_a_tools_result_through_the_chat_service(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        events = [event async for event in ChatService(await kit.graph("desk")).stream("What is ticket 7?")]
    answer = events[-1].data
    assert answer.answer == "The printer burns."
    [call] = answer.tool_calls
    assert (call.name, call.args, call.result) == (
        "get_ticket",
        {"number": 7},
        "Ticket 7: the printer is on fire.",
    )
    assert "t0p-secret" not in repr(events)


async def test_a_failing_tool_does_not_end_the_turn(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, [{"tool": "die"}, {"text": "It broke.", "expect": "broke off during 'die'"}])
    async with agentkit.open(settings) as kit:
        answer = await ChatService(await kit.graph("desk")).ask("What is ticket 7?")
        assert answer.answer == "It broke."


async def test_hanging_up_cancels_the_call_and_the_thread_goes_on(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, [{"tool": "slow"}, *TURN])
    async with agentkit.open(settings) as kit:
        chat = ChatService(await kit.graph("desk"))
        turn = asyncio.create_task(chat.ask("What is ticket 7?", thread_id="t"))
        async with asyncio.timeout(30):
            while not (tmp_path / "slow-started").exists():  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.01)
        turn.cancel()
        with pytest.raises(asyncio.CancelledError):
            await turn
        async with asyncio.timeout(30):
            while not (tmp_path / "slow-cancelled").exists():  # noqa: ASYNC110 - another process does it
                await asyncio.sleep(0.01)
        assert (await chat.ask("And now?", thread_id="t")).answer == "The printer burns."


async def test_two_blueprints_share_a_connection_and_the_kit_ends_it(
    settings: Settings, tmp_path: Path
) -> None:
    who = [{"tool": "who"}, "Done."]
    write(tmp_path, who)
    pids: set[int] = set()
    async with agentkit.open(settings) as kit:
        for number in range(2):
            write(tmp_path, [*who, f"unused {number}"])
            answer = await ChatService(await kit.graph("desk")).ask("Who?")
            pids.add(int(json.loads(str(answer.tool_calls[0].result))["pid"]))
        [pid] = pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_that_cannot_be_used_is_an_error_of_the_graph(
    settings: Settings, tmp_path: Path
) -> None:
    write(tmp_path, command="no-such-command")
    async with agentkit.open(settings) as kit:
        with pytest.raises(McpServerError, match="there is no command 'no-such-command'") as caught:
            await kit.graph("desk")
        assert caught.value.server == "tickets"
        write(tmp_path)
        assert (await ChatService(await kit.graph("desk")).ask("Ticket?")).answer == "The printer burns."


async def test_a_clash_with_another_tool_is_an_error_of_the_graph(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "desk_tools.py").write_text('def get_owner() -> str:\n    """Own."""\n    return ""\n')
    write(tmp_path, more=', {use: "desk_tools:get_owner"}')
    sys.path.insert(0, str(tmp_path))
    try:
        async with agentkit.open(settings) as kit:
            with pytest.raises(ConfigurationError) as caught:
                await kit.graph("desk")
    finally:
        sys.path.remove(str(tmp_path))
    assert "two tools called 'get_owner': of mcp tickets and of desk_tools:get_owner" in str(caught.value)


def test_a_script_without_a_loop(settings: Settings) -> None:
    code = (
        "import agentkit, os\n"
        "graph = agentkit.load_blueprint('desk')\n"
        "config = {'configurable': {'thread_id': 't'}}\n"
        "print(graph.invoke({'messages': [('user', 'Ticket?')]}, config)['messages'][-1].text)\n"
    )
    done = run([sys.executable, "-W", "error", "-c", code])
    assert (done.stdout, done.stderr, done.returncode) == ("The printer burns.\n", "", 0)


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    env = {**os.environ, "COLUMNS": "200", "AGENTKIT_DATA_DIR": str(Path.cwd() / "data")}
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, env=env)


def cli(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return run([sys.executable, "-c", "from agentkit.cli import main; main()", *arguments])


def test_the_blueprints_own_tests_call_the_server(settings: Settings) -> None:
    done = cli("blueprint", "test", "desk", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    result = json.loads(done.stdout)
    assert (result["passed"], result["failed"]) == (3, 0)
    assert result["tests"][0]["outcome"]["tool_calls"] == [["get_ticket", {"number": 7}]]


def test_tests_that_call_no_tool_need_no_server(settings: Settings, tmp_path: Path) -> None:
    write(tmp_path, command="no-such-command")
    for name in ("no tool*", "another*"):
        done = cli("blueprint", "test", "desk", "--name", name)
        assert (done.returncode, done.stderr) == (0, "")
    done = cli("blueprint", "test", "desk", "--name", "the tool*")
    assert done.returncode == 1
    assert "The MCP server 'tickets' cannot be started: there is no command 'no-such-command'." in done.stderr


def test_tools_are_listed_with_descriptions(settings: Settings) -> None:
    listed: Any = json.loads(cli("blueprint", "tools", "desk", "--json").stdout)
    assert listed["clerk"][0] == {
        "name": "get_ticket",
        "description": "Return a ticket by its number.",
        "source": "mcp tickets",
    }
    assert [tool["name"] for tool in listed["clerk"]] == ["get_ticket", "get_owner", "slow", "die", "who"]
    done = cli("blueprint", "tools", "desk")
    assert done.stdout.startswith("clerk\n  get_ticket  mcp tickets\n      Return a ticket by its number.\n")
    assert done.stdout.endswith("spare  no tools\n")
    assert done.stderr == ""


def test_validating_and_showing_start_nothing(settings: Settings, tmp_path: Path) -> None:
    marker = tmp_path / "started"
    write(tmp_path)
    file = tmp_path / "blueprints" / "desk.yaml"
    file.write_text(file.read_text().replace(f'"{SERVER}"', f"-c, \"open('{marker}', 'w')\""))
    for command in ("validate", "show", "graph"):
        done = cli("blueprint", command, "desk")
        assert done.returncode == 0, done.stderr
        assert "t0p-secret" not in done.stdout + done.stderr
    shown = cli("blueprint", "show", "desk", "--json").stdout
    assert "t0p-secret" not in shown
    assert json.loads(shown)["mcp_servers"]["tickets"]["env"] == {"KEY": "**********"}
    assert not marker.exists()
