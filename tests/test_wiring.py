"""A kit on a real database, and graphs that any caller can use."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import agentkit
from agentkit.context import RunContext
from agentkit.errors import (
    BlueprintError,
    ConfigurationError,
    DatabaseError,
    ProviderError,
    UnknownNameError,
)
from agentkit.events import Event, EventBus, RetrievalFinished
from agentkit.settings import Settings

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {provider: scripted, options: {replies: REPLIES}}}
knowledge: {sources: [{path: notes, scope: notes}, {path: secret, scope: secret}]}
routing: {strategy: [llm]}
agents:
  - {name: clerk, description: Notes, prompt: {ref: agents/python}, knowledge_scope: [notes, secret]}
"""
TURN = '{"agent": "clerk"}, "As noted [1]."'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for scope in ("notes", "secret"):
        path = tmp_path / "blueprints" / "team" / scope
        path.mkdir(parents=True)
        (path / "a.md").write_text(f"# {scope}\n\nThe {scope} say that the door code is 4711.\n")
    write(tmp_path, f"[{TURN}, {TURN}]")
    return tmp_path


def write(folder: Path, replies: str) -> None:
    text = BLUEPRINT.replace("REPLIES", replies)
    (folder / "blueprints" / "team" / "blueprint.yaml").write_text(text)


@pytest.fixture
def settings(folder: Path, database_url: str, models_dir: Path) -> Settings:
    (folder / "data").mkdir()
    (folder / "data" / "models").symlink_to(models_dir)
    return Settings.load(database_url=database_url, data_dir=folder / "data")


def ask(text: str) -> Any:
    return {"messages": [("user", text)]}


THREAD = {"configurable": {"thread_id": "t"}}


async def test_a_kit_builds_a_graph_once_and_keeps_conversations(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        graph = await kit.graph("team")
        assert await kit.graph("team") is graph
        first = await graph.ainvoke(ask("door code?"), THREAD)
        assert {source["uri"] for source in first["sources"]} == {
            "blueprints/team/notes/a.md",
            "blueprints/team/secret/a.md",
        }
        second = await graph.ainvoke(ask("again?"), THREAD)
        assert len(second["messages"]) == 4


async def test_a_run_reads_no_scope_it_was_not_given(settings: Settings) -> None:
    heard: list[Event] = []
    bus = EventBus()
    bus.subscribe(heard.append)
    async with agentkit.open(settings, events=bus) as kit:
        graph = await kit.graph("team")
        context = RunContext(scopes=frozenset({"notes", "elsewhere"}), request_id="r1")
        result = await graph.ainvoke(ask("door code?"), THREAD, context=context)
        assert {source["scope"] for source in result["sources"]} == {"notes"}
        nothing = await graph.ainvoke(ask("door code?"), THREAD, context=RunContext(scopes=frozenset()))
        assert nothing["sources"] == []
    (searched,) = [event for event in heard if isinstance(event, RetrievalFinished)]
    assert (searched.scopes, searched.request_id) == (("notes",), "r1")


async def test_another_tenant_sees_nothing(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        graph = await kit.graph("team")
        result = await graph.ainvoke(ask("door code?"), THREAD, context=RunContext(tenant="other"))
        assert result["sources"] == []


OUTER = """
apiVersion: agentkit/v1
kind: Blueprint
name: outer
models: {main: {provider: scripted}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: desk}]}
agents: [{name: desk, description: Notes, blueprint: team}]
"""


async def test_the_knowledge_of_a_team_is_there_under_the_same_names(
    settings: Settings, folder: Path
) -> None:
    (folder / "blueprints" / "outer.yaml").write_text(OUTER)
    async with agentkit.open(settings) as kit:
        result = await (await kit.graph("outer")).ainvoke(ask("door code?"), THREAD)
        found = {source["uri"] for source in result["sources"]}
        assert found == {"blueprints/team/notes/a.md", "blueprints/team/secret/a.md"}
        reports = await kit.refresh(kit.blueprint("team"))  # nothing new: it is the same knowledge
        assert [(report.changed, report.count("unchanged")) for report in reports] == [(False, 1), (False, 1)]


async def test_a_vanished_source_file_is_forgotten(settings: Settings, folder: Path) -> None:
    async with agentkit.open(settings) as kit:
        await kit.refresh(kit.blueprint("team"))
        (folder / "blueprints" / "team" / "secret" / "a.md").unlink()
        (folder / "blueprints" / "team" / "secret" / "b.md").write_text("Nothing here.")
        reports = await kit.refresh(kit.blueprint("team"))
        outcomes = [(file.source.rpartition("team/")[2], file.outcome) for file in reports[1].files]
        assert sorted(outcomes) == [("secret/a.md", "removed"), ("secret/b.md", "added")]


async def test_many_first_callers_open_each_part_once(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        stores = await asyncio.gather(*(kit.store() for _ in range(10)))
        assert len({id(store) for store in stores}) == 1


async def test_a_cancelled_caller_does_not_take_the_part_from_the_others(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        first = asyncio.create_task(kit.pool())
        second = asyncio.create_task(kit.pool())
        await asyncio.sleep(0)
        first.cancel()
        assert await second is await kit.pool()


async def test_a_part_that_failed_may_be_tried_again(settings: Settings) -> None:
    refused = settings.model_copy(
        update={"database_url": Settings(database_url="postgresql://127.0.0.1:1/x").database_url}
    )
    async with agentkit.open(refused) as kit:
        for _ in range(2):
            with pytest.raises(DatabaseError, match="refuses"):
                await kit.pool()


async def test_faults_are_raised_before_anything_is_started(settings: Settings, folder: Path) -> None:
    async with agentkit.open(settings) as kit:
        with pytest.raises(UnknownNameError, match="Did you mean 'team'"):
            await kit.graph("taem")
        write(folder, "[]\nagent: x")
        with pytest.raises(BlueprintError, match="blueprint.yaml:"):
            await kit.graph("team")


async def test_a_graph_refuses_a_synchronous_call_on_its_own_loop(settings: Settings) -> None:
    async with agentkit.open(settings) as kit:
        graph = await kit.graph("team")
        with pytest.raises(ConfigurationError, match="Use the async method"):
            graph.invoke(ask("x"), THREAD)
        result = await asyncio.to_thread(graph.invoke, ask("door code?"), THREAD)
        assert result["messages"][-1].text == "As noted [1]."


SCRIPT = """
import asyncio, sys
import agentkit
graph = agentkit.load_blueprint("team")
ask = lambda text: {"messages": [("user", text)]}
thread = lambda name: {"configurable": {"thread_id": name}}
print(graph.invoke(ask("a"), thread("1"))["messages"][-1].text)
print([next(iter(update)) for update in graph.stream(ask("b"), thread("1"), stream_mode="updates")])
async def main():
    result = await graph.ainvoke(ask("c"), thread("2"))
    print(len(result["messages"]), len(result["sources"]))
    async for update in graph.astream(ask("d"), thread("1"), stream_mode="updates"):
        print(next(iter(update)))
    print(len((await graph.aget_state(thread("1"))).values["messages"]))
asyncio.run(main())
print(len(graph.get_state(thread("1")).values["messages"]))
print(agentkit.load_blueprint("team") is graph)
"""


def test_load_blueprint_serves_every_kind_of_caller(settings: Settings, folder: Path) -> None:
    write(folder, f"[{TURN}, {TURN}, {TURN}, {TURN}]")
    (folder / "agentkit.yaml").write_text(
        f"database_url: {settings.database_url.get_secret_value() if settings.database_url else ''}\n"
        f"data_dir: {settings.data_dir}\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", SCRIPT],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n") == [
        "As noted [1].",
        "['supervisor', 'clerk']",
        "2 2",
        "supervisor",
        "clerk",
        "6",
        "6",
        "True",
        "",
    ]
    assert done.stderr == ""


async def test_replicas_with_a_redis_share_their_breakers(tmp_path: Path, redis: Any) -> None:
    settings = Settings.load(
        data_dir=tmp_path,
        redis_url=redis.url,
        models={"main": {"provider": "vllm", "model": "m", "options": {"base_url": "http://127.0.0.1:1/v1"}}},
    )
    async with agentkit.open(settings) as one, agentkit.open(settings) as two:
        breakers = []
        for kit in (one, two):
            with pytest.raises(ProviderError):  # nothing listens there
                await kit.gateway.chat_model().ainvoke("Hi")
            breakers += kit.gateway._breakers.values()
        async with asyncio.timeout(30):
            while breakers[1].state != "open":
                ticket = breakers[0].admit()
                if ticket is not None:
                    breakers[0].failed(ticket)
                await asyncio.sleep(0.01)


async def test_a_redis_url_that_is_none_is_refused_at_once(tmp_path: Path) -> None:
    settings = Settings.load(data_dir=tmp_path, redis_url="http://:s3cret@host/")
    with pytest.raises(ConfigurationError, match="http://host/ is not the address of a Redis") as caught:
        async with agentkit.open(settings):
            pass
    assert "s3cret" not in str(caught.value)
