"""Five agents at once, each with a fate of its own; each approval answered by a process of its own."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

TOOLS = '''
import asyncio
import time
from pathlib import Path

from agentkit import tool


@tool(name="restart")
def restart(pod: str) -> str:
    """Restart a pod."""
    with Path("effects").open("a") as file:
        file.write(f"{pod}\\n")
    while Path("hang").exists():
        time.sleep(0.1)
    return f"{pod} runs"


@tool(name="hang")
async def hang() -> str:
    """Take too long."""
    await asyncio.sleep(600)
    return "never"


@tool(name="explode")
def explode() -> str:
    """Fail."""
    raise RuntimeError("the key is sk-123")
'''

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: five
models:
{models}
security: {{allowed_modules: [five_tools]}}
routing:
  strategy: [rules]
  parallel: 5
  rules: [{{when: "1 == 1", to: [late, broken, one, two, fine]}}]
agents:
{agents}
"""

TOOL = {"late": "hang", "broken": "explode", "one": "restart", "two": "restart", "fine": "restart"}

RUN = """
import asyncio, json, sys
import agentkit
from agentkit.errors import AgentKitError
from agentkit.services.chat import ChatService

async def main(what, argument):
    async with agentkit.open() as kit:
        chat = ChatService(await kit.graph("five"))
        if what == "ask":
            said = (await chat.ask(argument, thread_id="t")).to_dict()
        elif what == "resume":
            said = (await chat.decide("t", json.loads(argument))).to_dict()
        elif what == "pending":
            said = [{"id": it.id, "agent": it.agent} for it in await chat.pending("t")]
        else:
            state = await chat._graphs.graph.aget_state({"configurable": {"thread_id": "t"}})
            said = [[message.type, message.text] for message in state.values["messages"]]
        print(json.dumps(said))

try:
    asyncio.run(main(*sys.argv[1:]))
except AgentKitError as error:
    print(json.dumps({"error": error.code}))
"""


class Five:
    def __init__(self, root: Path, database_url: str) -> None:
        self.root = root
        (root / "five_tools.py").write_text(TOOLS)
        (root / "blueprints").mkdir()
        self.env = {
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{root}:{Path(__file__).parents[2] / 'src'}",
            "AGENTKIT_DATABASE_URL": database_url,
            "AGENTKIT_DATA_DIR": str(root / "data"),
        }

    def script(self, **replies: list[Any]) -> None:
        """What each agent's model says in the processes to come; who is not named must not be asked."""
        models, agents = ["  main: {provider: scripted}"], []
        for name, tool in TOOL.items():
            options = json.dumps({"replies": replies.get(name, [])})
            models.append(f"  {name}: {{provider: scripted, options: {options}}}")
            approval = ", approval: true" if tool == "restart" and name != "fine" else ""
            agents.append(
                f"  - {{name: {name}, description: {name}, model: {name}, prompt: {{ref: agents/python}}, "
                f"limits: {{timeout: {'500ms' if name == 'late' else '60s'}}}, "
                f'tools: [{{use: "five_tools:{tool}"{approval}}}]}}'
            )
        text = BLUEPRINT.format(models="\n".join(models), agents="\n".join(agents))
        (self.root / "blueprints" / "five.yaml").write_text(text)

    def start(self, what: str, argument: str = "") -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-c", RUN, what, argument],
            cwd=self.root,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, what: str, argument: str = "") -> Any:
        return self.result(self.start(what, argument))

    def result(self, process: "subprocess.Popen[str]") -> Any:
        stdout, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
        return json.loads(stdout)

    @property
    def effects(self) -> list[str]:
        file = self.root / "effects"
        return file.read_text().split() if file.exists() else []


def call(tool: str, **arguments: Any) -> dict[str, Any]:
    return {"tool": tool, "arguments": arguments}


@pytest.fixture
def five(tmp_path: Path, database_url: str) -> Five:
    made = Five(tmp_path, database_url)
    made.script(
        late=[call("hang")],
        broken=[call("explode")],
        one=[call("restart", pod="one")],
        two=[call("restart", pod="two")],
        fine=[call("restart", pod="fine"), "Fine."],
    )
    return made


def test_each_approval_is_answered_by_a_process_of_its_own(five: Five) -> None:
    paused = five.run("ask", "restart them")
    ids = {pause["agent"]: pause["id"] for pause in paused["interrupts"]}
    assert list(ids) == ["one", "two"]
    assert (paused["answer"], five.effects) == ("", ["fine"])
    five.script(two=["Two again."])
    half = five.run("resume", json.dumps({ids["two"]: "approve"}))
    assert ([pause["id"] for pause in half["interrupts"]], half["answer"]) == ([ids["one"]], "")
    assert five.run("pending") == [{"id": ids["one"], "agent": "one"}]
    five.script(one=["One again."])
    edit = {"type": "edit", "args": {"pod": "uno"}}
    done = five.run("resume", json.dumps({ids["one"]: edit}))
    answer = (
        "**late**\n\nlate could not answer: it took too long.\n\n"
        "**broken**\n\nbroken could not answer: something went wrong.\n\n"
        "**one**\n\nOne again.\n\n**two**\n\nTwo again.\n\n**fine**\n\nFine."
    )
    assert (done["answer"], done["interrupts"]) == (answer, [])
    assert five.effects == ["fine", "two", "uno"]
    assert five.run("history") == [["human", "restart them"], ["ai", answer]]
    assert five.run("resume", json.dumps({ids["one"]: "approve"})) == {"error": "unknown_interrupt"}
    assert five.effects == ["fine", "two", "uno"]


def test_processes_that_answer_at_the_same_time_exclude_each_other(five: Five) -> None:
    ids = [pause["id"] for pause in five.run("ask", "restart them")["interrupts"]]
    five.script(one=["One again."], two=["Two again."])
    running = [five.start("resume", json.dumps({id_: "approve"})) for id_ in (*ids, *ids)]
    results = [five.result(process) for process in running]
    assert sorted(five.effects) == ["fine", "one", "two"]
    assert sum(result == {"error": "unknown_interrupt"} for result in results) == 2
    answers = [result["answer"] for result in results if "answer" in result]
    assert sorted(bool(answer) for answer in answers) == [False, True]
    assert "One again." in answers[0] + answers[1]
    assert "Two again." in answers[0] + answers[1]


def test_a_process_killed_while_the_tool_runs_leaves_the_call_waiting(five: Five) -> None:
    ids = {pause["agent"]: pause["id"] for pause in five.run("ask", "restart them")["interrupts"]}
    (five.root / "hang").touch()
    five.script(one=["One again."], two=["Two again."])
    doomed = five.start("resume", json.dumps({ids["one"]: "approve"}))
    deadline = time.monotonic() + 60
    while "one" not in five.effects:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    doomed.kill()
    doomed.communicate()
    (five.root / "hang").unlink()
    assert {pause["id"] for pause in five.run("pending")} == set(ids.values())
    half = five.run("resume", json.dumps({ids["one"]: "reject", ids["two"]: "approve"}))
    assert "One again." in half["answer"]
    assert five.effects == ["fine", "one", "two"]
