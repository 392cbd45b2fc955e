"""The keys `memory` and `runtime.store`: checked, and at work on a real PostgreSQL across processes."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

import agentkit
from agentkit.blueprints import load
from agentkit.context import RunContext
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.settings import Settings

TEAM = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {provider: scripted, options: {replies: REPLIES}}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: clerk}]}
runtime: {store: STORE}
agents:
  - {name: clerk, description: Notes., prompt: {ref: agents/python}, memory: true}
"""
OUTER = """\
apiVersion: agentkit/v1
kind: Blueprint
name: outer
models: {main: {provider: scripted}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: inner}]}
runtime: {store: STORE}
agents: [{name: inner, description: Team., blueprint: team.yaml}]
"""
REMEMBER = '[{tool: remember, arguments: {fact: "Prefers tabs."}}, Noted.]'
RECALL = "[{tool: recall, arguments: {about: tabs}}, {text: Tabs., seen: '- Prefers tabs.'}]"
NOTHING = "[{tool: recall, arguments: {about: tabs}}, {text: No idea., seen: Nothing is remembered.}]"


def write(folder: Path, replies: str, *, store: str = "postgres", outer: str = "none") -> Path:
    (folder / "blueprints").mkdir(exist_ok=True)
    text = TEAM.replace("REPLIES", replies).replace("STORE", store)
    (folder / "blueprints" / "team.yaml").write_text(text)
    (folder / "blueprints" / "outer.yaml").write_text(OUTER.replace("STORE", outer))
    return folder / "blueprints"


def faults(path: Path) -> list[str]:
    with pytest.raises(BlueprintError) as caught:
        load(path, prompts=PromptManager(search_path("prompts")), providers=["scripted"])
    return [str(problem).splitlines()[0].replace(f"{path.parent}/", "") for problem in caught.value.problems]


def test_memory_needs_a_store(tmp_path: Path) -> None:
    folder = write(tmp_path, "[]", store="none")
    assert faults(folder / "team.yaml") == [
        "team.yaml:8:78: The agent has nowhere to remember: set runtime.store to postgres or memory."
    ]
    said = "outer.yaml:7:55: An agent of this team remembers, and has nowhere to: set runtime.store here."
    assert faults(folder / "outer.yaml") == [said]  # the team itself has one only when it runs by itself


def test_the_store_is_a_fixed_choice(tmp_path: Path) -> None:
    [line] = faults(write(tmp_path, "[]", store="redis") / "team.yaml")
    assert line.startswith("team.yaml:6:18: runtime.store: should be 'postgres', 'memory' or 'none'")


@pytest.fixture
def settings(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return Settings.load(database_url=database_url, data_dir=tmp_path / "data")


async def say(settings: Settings, name: str, context: RunContext, thread: str) -> str:
    async with agentkit.open(settings) as kit:
        graph = await kit.graph(name)
        config = {"configurable": {"thread_id": thread}}
        result = await graph.ainvoke({"messages": [("user", "?")]}, config, context=context)  # type: ignore[arg-type]
        return result["messages"][-1].text


PROCESS = """
import asyncio, sys
sys.path.insert(0, "")
from agentkit.context import RunContext
from agentkit.settings import Settings
import agentkit

async def main():
    async with agentkit.open(Settings.load(database_url=sys.argv[1], data_dir="data")) as kit:
        graph = await kit.graph("team")
        thread = {"configurable": {"thread_id": "one"}}
        who = RunContext(user="ana.b@x")
        result = await graph.ainvoke({"messages": [("user", "?")]}, thread, context=who)
        print(result["messages"][-1].text)

asyncio.run(main())
"""


async def test_a_fact_survives_the_process_and_is_the_users_alone(
    settings: Settings, tmp_path: Path, database_url: str
) -> None:
    write(tmp_path, REMEMBER, outer="postgres")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "error", "-c", PROCESS, database_url],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("Noted.\n", 0), done.stderr
    assert "Task was destroyed" not in done.stderr
    write(tmp_path, RECALL, outer="postgres")
    assert await say(settings, "team", RunContext(user="ana.b@x"), "two") == "Tabs."
    assert await say(settings, "outer", RunContext(user="ana.b@x"), "three") == "Tabs."  # in a team too
    write(tmp_path, NOTHING)
    assert await say(settings, "team", RunContext(user="ana.b"), "four") == "No idea."
    assert await say(settings, "team", RunContext(user="ana.b@x", tenant="other"), "five") == "No idea."


async def test_in_memory_facts_last_as_long_as_the_kit(settings: Settings, tmp_path: Path) -> None:
    both = f"{REMEMBER[:-1]}, {RECALL[1:]}"
    write(tmp_path, both, store="memory")
    async with agentkit.open(settings) as kit:
        graph = await kit.graph("team")
        said = [
            (await graph.ainvoke({"messages": [("user", "?")]}, {"configurable": {"thread_id": thread}},
                                 context=RunContext(user="ana")))["messages"][-1].text
            for thread in ("one", "two")
        ]  # fmt: skip
    assert said == ["Noted.", "Tabs."]
    write(tmp_path, NOTHING, store="memory")
    assert await say(settings, "team", RunContext(user="ana"), "three") == "No idea."
