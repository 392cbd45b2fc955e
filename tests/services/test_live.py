"""A blueprint that changes while it runs: files are really written, turns really run."""

import asyncio
import gc
import os
import shutil
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

import agentkit
from agentkit.errors import BlueprintUnavailableError, MissingExtraError
from agentkit.events import BlueprintRefused, BlueprintReloaded, Event, EventBus
from agentkit.graphs.pins import METADATA_KEY
from agentkit.services.chat import ChatService
from agentkit.services.live import LiveBlueprint
from agentkit.settings import Settings
from agentkit.wiring import Kit

from . import live_parts

HERE = live_parts.__name__
MAIN = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
models:
  main: {use: "HERE:Says", options: {text: WORD}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: clerk}]}
runtime: {checkpointer: memory}
security: {allowed_modules: [HERE]}
""".replace("HERE", HERE)
AGENT = "{name: clerk, description: Answers., prompt: {ref: clerk}}\n"
PAUSES = """\
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {use: "HERE:Asks"}}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: NAME}]}
runtime: {checkpointer: memory}
security: {allowed_modules: [HERE]}
""".replace("HERE", HERE)
PAUSING = (
    f'{{name: NAME, description: Answers., prompt: {{ref: clerk}}, tools: [{{use: "{HERE}:restart"}}]}}\n'
)
PROMPT = "name: Clerk\nversions: {1: {template: TEXT}}\n"


class Project:
    """A blueprint's folder, in the working directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folder = root / "blueprints" / "team"
        (self.folder / "agents").mkdir(parents=True)
        (root / "prompts").mkdir()
        self.main = self.folder / "blueprint.yaml"
        self.prompt = root / "prompts" / "clerk.yaml"
        self.agent = self.folder / "agents" / "clerk.yaml"
        self.say("first")
        self.prompt.write_text(PROMPT.replace("TEXT", "Be brief."))
        self.agent.write_text(AGENT)

    def say(self, word: str) -> None:
        """Overwrite the blueprint with one whose agent says `word` and its prompt."""
        self.main.write_text(MAIN.replace("WORD", word))

    def pausing(self, name: str, *, checkpointer: str = "memory") -> None:
        """Overwrite it with one whose agent `name` asks a person."""
        text = PAUSES.replace("NAME", name).replace("memory", checkpointer)
        self.main.write_text(text)
        for file in self.agent.parent.iterdir():
            file.unlink()
        (self.agent.parent / f"{name}.yaml").write_text(PAUSING.replace("NAME", name))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live_parts, "gate", None)
    return Project(tmp_path)


@pytest.fixture
def heard() -> list[Event]:
    return []


@pytest.fixture
async def kit(project: Project, heard: list[Event]) -> AsyncIterator[Kit]:
    bus = EventBus()
    bus.subscribe(heard.append)
    async with agentkit.open(Settings.load(data_dir=project.root / "data"), events=bus) as kit:
        yield kit


async def said(live: LiveBlueprint, thread: str | None = None) -> str:
    return (await ChatService(live).ask("hello", thread_id=thread)).answer


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what a watcher does in its own time; ends in an error instead of never."""
    async with asyncio.timeout(30):
        while not holds():  # noqa: ASYNC110 - files have no event
            await asyncio.sleep(0.02)


async def says(live: LiveBlueprint, word: str) -> None:
    await until(lambda: live.loaded.spec.models["main"].options.get("text") == word)
    assert (await said(live)).startswith(word)


def where(thread: str) -> Any:
    return {"configurable": {"thread_id": thread}}


# What is noticed, and how files are written.


def _renamed(project: Project) -> None:
    new = project.folder / ".blueprint.yaml.swp"
    new.write_text(MAIN.replace("WORD", "second"))
    new.replace(project.main)


def _folder_replaced(project: Project) -> None:
    new = project.root / "new"
    shutil.copytree(project.folder, new)
    (new / "blueprint.yaml").write_text(MAIN.replace("WORD", "second"))
    project.folder.rename(project.root / "old")
    new.rename(project.folder)


def _vanished_and_back(project: Project) -> None:
    project.main.unlink()
    project.say("second")


def _burst(project: Project) -> None:
    for number in range(200):
        project.say(f"number {number}")
    project.say("second")


WAYS = [_renamed, _folder_replaced, _vanished_and_back, _burst, lambda project: project.say("second")]


@pytest.mark.parametrize("poll", [None, 0.05])
@pytest.mark.parametrize("write", WAYS)
async def test_a_change_is_noticed_however_it_is_written(
    project: Project, kit: Kit, write: Callable[[Project], None], poll: float | None
) -> None:
    async with kit.live("team", watch=True, poll=poll) as live:
        assert await said(live) == "first Be brief."
        write(project)
        await says(live, "second")
        project.say("third")  # the watch stands after what happened to the folder
        await says(live, "third")
        assert live.status().refusal is None


@pytest.mark.parametrize("poll", [None, 0.05])
@pytest.mark.parametrize("form", ["file", "folder"])
async def test_a_config_map_is_followed(
    project: Project, kit: Kit, poll: float | None, form: str, tmp_path: Path
) -> None:
    """Kubernetes writes a new hidden folder, and swaps the link `..data` to it by rename."""
    volume = tmp_path / "volume" / "team"
    volume.mkdir(parents=True)

    def publish(word: str) -> None:
        data = volume / f"..{word}"
        (data / "agents").mkdir(parents=True)
        inline = f"agents: [{AGENT.strip()}]\n" if form == "file" else ""
        (data / "blueprint.yaml").write_text(MAIN.replace("WORD", word) + inline)
        if form == "folder":
            (data / "agents" / f"{word}.yaml").write_text(AGENT)
        (volume / "..data_tmp").symlink_to(data.name)
        (volume / "..data_tmp").rename(volume / "..data")

    publish("first")
    for name in ("blueprint.yaml", "agents"):
        (volume / name).symlink_to(f"..data/{name}")
    async with kit.live(volume, watch=True, poll=poll) as live:
        assert await said(live) == "first Be brief."
        for word in ("second", "third"):
            publish(word)
            await says(live, word)


async def test_a_link_to_the_folder_is_followed(project: Project, kit: Kit, tmp_path: Path) -> None:
    shutil.copytree(project.folder, tmp_path / "releases" / "2" / "team")
    new = tmp_path / "releases" / "2" / "team" / "blueprint.yaml"
    new.write_text(MAIN.replace("WORD", "second"))
    link = tmp_path / "current"
    link.symlink_to(project.folder)
    async with kit.live(link, watch=True) as live:
        (tmp_path / "next").symlink_to(new.parent)
        (tmp_path / "next").rename(link)
        await says(live, "second")


async def test_agents_prompts_and_bases_are_followed(project: Project, kit: Kit) -> None:
    base = project.root / "blueprints" / "base.yaml"
    async with kit.live("team", watch=True) as live:
        project.prompt.write_text(PROMPT.replace("TEXT", "Be kind."))
        await until(lambda: any(p.content == "Be kind." for p in live.loaded.prompts.values()))
        assert await said(live) == "first Be kind."
        (project.folder / "agents" / "other.yaml").write_text(AGENT.replace("clerk,", "other,"))
        await until(lambda: len(live.loaded.spec.agents) == 2)
        (project.folder / "agents" / "other.yaml").unlink()
        await until(lambda: len(live.loaded.spec.agents) == 1)
        project.main.write_text("extends: ../base.yaml\n" + MAIN)
        await until(lambda: live.status().refusal is not None)
        base.write_text("description: A\n")
        await until(lambda: live.loaded.spec.description == "A")
        base.write_text("description: B\n")
        await until(lambda: live.loaded.spec.description == "B")


async def test_knowledge_documents_change_nothing(project: Project, kit: Kit, heard: list[Event]) -> None:
    async with kit.live("team", watch=True) as live:
        (project.folder / "notes.md").write_text("text")
        project.say("first")  # the same again
        assert not await live.reload()
        project.say("second")
        await says(live, "second")
    reloads = [event for event in heard if isinstance(event, BlueprintReloaded | BlueprintRefused)]
    assert len(reloads) == 1


# What is refused.


async def test_a_faulty_file_is_refused_with_its_place_and_the_last_good_stays(
    project: Project, kit: Kit, heard: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    async with kit.live("team", watch=True) as live:
        good = live.status().digest
        project.main.write_text(MAIN.replace("WORD", "second").replace("strategy", "stragety"))
        await until(lambda: live.status().refusal is not None)
        assert await said(live) == "first Be brief."
        refusal = live.status().refusal
        assert refusal is not None
        (problem,) = refusal.problems
        assert (problem.file, problem.line, problem.column) == (str(project.main), 6, 11)
        (refused,) = [event for event in heard if isinstance(event, BlueprintRefused)]
        assert (refused.blueprint, refused.digest) == ("team", good)
        assert "Unknown key 'stragety'. Did you mean 'strategy'?" in refused.problems[0]
        assert f"{project.main}:6:11" in caplog.text
        assert not await live.reload()  # the same fault is told once
        assert len([event for event in heard if isinstance(event, BlueprintRefused)]) == 1

        project.say("first")
        await until(lambda: live.status().refusal is None)
        assert live.status().digest == good
        project.say("third")
        await says(live, "third")
    reloads = [event for event in heard if isinstance(event, BlueprintReloaded)]
    assert [(event.previous, event.digest == good) for event in reloads] == [(good, True), (good, False)]


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise SystemExit(3)", "SystemExit"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("tool = 3", "is neither a LangChain tool nor a function"),
        ("def broken(:", "invalid syntax"),
    ],
)
async def test_a_tool_that_cannot_be_imported_is_a_refusal(
    project: Project, kit: Kit, module: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(project.root)
    (project.root / "own_tools.py").write_text(module)
    monkeypatch.delitem(sys.modules, "own_tools", raising=False)
    async with kit.live("team") as live:
        project.main.write_text(MAIN.replace(f"[{HERE}]", f"[{HERE}, own_tools]"))
        project.agent.write_text(AGENT.replace("}}", '}, tools: [{use: "own_tools:tool"}]}'))
        assert not await live.reload()
        refusal = live.status().refusal
        assert refusal is not None
        assert reason in refusal.reason
        assert await said(live) == "first Be brief."


async def test_a_vanished_blueprint_is_refused_and_no_other_of_its_name_taken(
    project: Project, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project.folder, project.root / "elsewhere" / "team")
    kit.settings = Settings.load(blueprints_dir=project.root / "blueprints", data_dir=project.root / "data")
    async with kit.live("team", watch=True) as live:
        project.folder.rename(project.root / "away")
        await until(lambda: live.status().refusal is not None)
        assert await said(live) == "first Be brief."
        (project.root / "away").rename(project.folder)
        project.say("second")
        await says(live, "second")


async def test_watching_needs_its_package_and_polling_does_not(
    project: Project, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "watchfiles", None)
    with pytest.raises(MissingExtraError, match=r"langgraph-agentkit\[reload\]"):
        async with kit.live("team", watch=True):
            pass
    async with kit.live("team", watch=True, poll=0.02) as live:
        project.say("second")
        await says(live, "second")


async def test_a_system_that_cannot_watch_is_polled(
    project: Project, kit: Kit, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "OS file watch limit reached")

    monkeypatch.setattr("watchfiles.main.RustNotify", full)
    monkeypatch.setattr("agentkit.services.watching._LOOK_EVERY", 0.05)
    async with kit.live("team", watch=True) as live:
        project.say("second")
        await says(live, "second")
    assert "OS file watch limit reached" in caplog.text


# Which turn runs on what.


async def test_a_reload_under_200_running_turns_loses_none(project: Project, kit: Kit) -> None:
    gate = live_parts.gate = live_parts.Gate()
    async with kit.live("team", watch=True) as live:
        old = [asyncio.create_task(said(live, f"old {number}")) for number in range(200)]
        await until(lambda: gate.waiting == 200)
        first = live.status().digest
        project.say("second")
        await until(lambda: live.status().digest != first)
        assert live.status().older == 1
        new = [asyncio.create_task(said(live, f"new {number}")) for number in range(50)]
        # These wait until their threads' first turns are done.
        again = [asyncio.create_task(said(live, f"old {number}")) for number in range(50)]
        await until(lambda: gate.waiting == 250)
        gate.open.set()
        assert await asyncio.gather(*old) == ["first Be brief."] * 200
        assert await asyncio.gather(*new) == ["second Be brief."] * 50
        assert await asyncio.gather(*again) == ["first Be brief."] * 50
        assert live.status().older == 0
        assert await said(live, "old 1") == "second Be brief."
        state = await live.graph.aget_state(where("old 1"))
        assert [message.text for message in state.values["messages"]].count("hello") >= 2
        assert state.metadata[METADATA_KEY] == live.status().digest


async def test_a_turn_that_is_cancelled_or_left_gives_its_graph_back(project: Project, kit: Kit) -> None:
    gate = live_parts.gate = live_parts.Gate()
    async with kit.live("team") as live:
        turns = [asyncio.create_task(said(live)) for _ in range(5)]
        await until(lambda: gate.waiting == 5)
        project.say("second")
        assert await live.reload()
        assert live.status().older == 1
        for turn in turns:
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)
        assert live.status().older == 0


async def test_a_turn_from_another_loop_is_counted_too(project: Project, kit: Kit) -> None:
    async with kit.live("team") as live:
        answer = await asyncio.to_thread(asyncio.run, said(live))
        assert answer == "first Be brief."
        project.say("second")
        assert await live.reload()
        await until(lambda: live.status().older == 0)


async def test_a_new_secret_is_used_after_a_reload(
    project: Project, kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.main.write_text(MAIN.replace("WORD", '"${secret:LIVE_TEST_WORD}"'))
    monkeypatch.setenv("LIVE_TEST_WORD", "old-secret")
    async with kit.live("team") as live:
        digest = live.status().digest
        assert await said(live) == "old-secret Be brief."
        assert not await live.reload()
        monkeypatch.setenv("LIVE_TEST_WORD", "new-secret")
        assert await live.reload()
        assert live.status().digest == digest
        assert await said(live) == "new-secret Be brief."


async def test_without_a_checkpointer_nothing_is_pinned(project: Project, kit: Kit) -> None:
    project.main.write_text(MAIN.replace("WORD", "first").replace("memory", "none"))
    async with kit.live("team") as live:
        assert await said(live, "t") == "first Be brief."
        project.main.write_text(MAIN.replace("WORD", "second").replace("memory", "none"))
        assert await live.reload()
        assert await said(live, "t") == "second Be brief."
        assert live.status().older == 0


async def test_reloads_asked_for_at_once_are_one_after_another(
    project: Project, kit: Kit, heard: list[Event]
) -> None:
    async with kit.live("team") as live:
        project.say("second")
        assert sorted(await asyncio.gather(*(live.reload() for _ in range(5)))) == [False] * 4 + [True]
    assert len([event for event in heard if isinstance(event, BlueprintReloaded)]) == 1


async def test_models_of_a_graph_that_is_gone_are_closed(project: Project, kit: Kit) -> None:
    async with kit.live("team") as live:
        old = weakref.ref(live.graph)
        (_, link), *_ = kit.gateway._links
        closed: list[bool] = []

        async def closing() -> None:
            closed.append(True)

        link.aclose = closing  # pyright: ignore[reportAttributeAccessIssue]
        project.say("second")
        assert await live.reload()
        await until(lambda: bool(closed))
        assert [config.options["text"] for config, _ in kit.gateway._links] == ["second"]
        del link
        gc.collect()
        assert old() is None


async def test_a_thousand_reloads_leave_nothing_behind(project: Project, kit: Kit) -> None:
    graphs: list[weakref.ref[Any]] = []
    async with kit.live("team") as live:
        for number in range(1000):
            project.say(f"number {number}")
            assert await live.reload()
            graphs.append(weakref.ref(live.graph))
            if number % 100 == 0:
                assert await said(live, "thread") == f"number {number} Be brief."
        await until(lambda: not live._closing)
        gc.collect()
        assert sum(ref() is not None for ref in graphs) == 1
        assert len(kit.gateway._links) == len(kit.gateway._made) == len(kit.gateway._breakers) == 1
        assert live.status().older == 0
        assert not live._running


# Threads that wait for a person.


async def test_a_paused_thread_goes_on_in_its_own_graph_after_more_reloads(
    project: Project, kit: Kit
) -> None:
    project.pausing("clerk")
    async with kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        paused_in = live.status().digest
        project.pausing("porter")
        assert await live.reload()
        project.pausing("nurse")
        assert await live.reload()
        assert live.status().older == 1  # porter's had no thread
        async with live.for_turn("t") as graph:
            assert graph.digest == paused_in  # not idle
        async with live.for_resume("t") as graph:
            state = await graph.aget_state(where("t"))
            assert [found.value for found in state.interrupts] == [{"restart": "web"}]
            result = await graph.ainvoke(Command(resume="yes"), where("t"))
        assert result["messages"][-1].text == "Done: web: yes"
        assert live.status().older == 0
        async with live.for_turn("t") as graph:
            assert graph.digest == live.status().digest


async def test_what_a_thread_waits_for_may_be_given_up(project: Project, kit: Kit) -> None:
    project.pausing("clerk")
    async with kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        project.pausing("porter")
        assert await live.reload()
        assert live.status().older == 1
        await live.abandon("t")
        assert live.status().older == 0
        async with live.for_turn("t") as graph:
            assert graph.digest == live.status().digest


async def test_going_back_to_an_older_state_uses_what_is_there(project: Project, kit: Kit) -> None:
    project.pausing("clerk")
    async with kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        graph = live.graph
        project.pausing("porter")
        assert await live.reload()
        project.pausing("clerk")
        assert await live.reload()
        assert live.graph is graph
        assert live.status().older == 0


async def test_a_paused_thread_is_rebuilt_from_the_database(project: Project, database_url: str) -> None:
    settings = Settings.load(database_url=database_url, data_dir=project.root / "data")
    project.pausing("clerk", checkpointer="postgres")
    async with agentkit.open(settings) as kit, kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        await ChatService(live).ask("restart web", thread_id="gone")
        paused_in = live.status().digest
        project.pausing("porter", checkpointer="postgres")
        assert await live.reload()
        assert live.status().older == 0  # the database has it
        async with live.for_resume("t") as graph:
            assert graph.digest == paused_in

    async with agentkit.open(settings) as kit, kit.live("team") as live:
        async with live.for_resume("t") as graph, live.for_resume("t") as same:
            assert graph is same
            assert graph.digest == paused_in != live.status().digest
            result = await graph.ainvoke(Command(resume="yes"), where("t"))
            assert result["messages"][-1].text == "Done: web: yes"
        assert live.status().older == 0
        pool = await kit.pool()
        async with pool.connection() as connection:
            await connection.execute("DELETE FROM agentkit_blueprints WHERE digest = %s", [paused_in])
        with pytest.raises(BlueprintUnavailableError, match="not in the table agentkit_blueprints") as gone:
            async with live.for_resume("gone"):
                pass
        assert gone.value.digest == paused_in
        assert "LiveBlueprint.abandon(thread_id)" in str(gone.value)
        with pytest.raises(BlueprintUnavailableError):
            await ChatService(live).ask("and now?", thread_id="gone")
        await live.abandon("gone")
        async with live.for_turn("gone") as graph:
            assert graph.digest == live.status().digest
        await ChatService(live).ask("and now?", thread_id="gone")
        messages = (await live.graph.aget_state(where("gone"))).values["messages"]
        assert [message.text for message in messages] == ["restart web", "and now?"]


async def test_a_tool_that_is_gone_is_why_a_thread_cannot_go_on(
    project: Project, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings.load(database_url=database_url, data_dir=project.root / "data")
    project.pausing("clerk", checkpointer="postgres")
    async with agentkit.open(settings) as kit, kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        project.say("second")
        project.main.write_text(project.main.read_text().replace("memory", "postgres"))
        assert await live.reload()
        monkeypatch.delattr(live_parts, "restart")
        with pytest.raises(BlueprintUnavailableError, match="restart' cannot be imported"):
            async with live.for_resume("t"):
                pass


PAUSE_AND_HANG = """
import asyncio, agentkit
from agentkit.services.chat import ChatService

async def main():
    async with agentkit.open() as kit, kit.live("team") as live:
        await ChatService(live).ask("restart web", thread_id="t")
        print(live.status().digest, flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_a_thread_paused_by_a_process_that_was_killed_goes_on_in_its_own_graph(
    project: Project, database_url: str
) -> None:
    project.pausing("clerk", checkpointer="postgres")
    path = [Path(agentkit.__file__).parents[1], Path(live_parts.__file__).parents[HERE.count(".")]]
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "AGENTKIT_DATABASE_URL": database_url,
        "AGENTKIT_DATA_DIR": str(project.root / "data"),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PAUSE_AND_HANG, cwd=project.root, env=env, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    paused_in = (await process.stdout.readline()).decode().strip()
    process.kill()
    await process.communicate()

    project.pausing("porter", checkpointer="postgres")
    project.prompt.write_text(PROMPT.replace("TEXT", "Another."))
    settings = Settings.load(database_url=database_url, data_dir=project.root / "data")
    async with agentkit.open(settings) as kit, kit.live("team") as live:
        assert live.status().digest != paused_in
        async with live.for_resume("t") as graph:
            assert graph.digest == paused_in
            result = await graph.ainvoke(Command(resume="yes"), where("t"))
        assert result["messages"][-1].text == "Done: web: yes"
        assert result["messages"][-1].name == "clerk"
        await ChatService(live).ask("restart web", thread_id="t")  # idle: the new one
        state = await live.graph.aget_state(where("t"))
        assert state.metadata[METADATA_KEY] == live.status().digest
