"""The cache a kit opens from its settings, and callers that are not on its loop."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest

import agentkit
from agentkit.errors import ConfigurationError
from agentkit.events import CacheLooked, Event, EventBus, ModelCallFinished
from agentkit.settings import Settings


def settings(
    folder: Path, *, replies: tuple[str, ...] = ("kept",), keep: Any = "1h", store: Any = None, **values: Any
) -> Settings:
    model = {"provider": "scripted", "options": {"replies": list(replies)}, "cache": keep}
    return Settings.load(data_dir=folder / "data", models={"main": model}, cache={"store": store}, **values)


def heard() -> tuple[EventBus, list[Event]]:
    bus, seen = EventBus(), []
    bus.subscribe(seen.append)
    return bus, seen


def outcomes(seen: list[Event]) -> list[str]:
    return [event.outcome for event in seen if isinstance(event, CacheLooked)]


def rows(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT count(*) FROM agentkit_llm_cache").fetchone()
    assert row is not None
    return row[0]


async def test_postgres_is_the_default_and_outlives_the_kit(tmp_path: Path, database_url: str):
    configured = settings(tmp_path, database_url=database_url)
    for expected in ("miss", "hit"):
        bus, seen = heard()
        async with agentkit.open(configured, events=bus) as kit:
            assert kit._parts == {}  # nothing is opened before the first call
            assert (await kit.gateway.chat_model().ainvoke("hi")).text == "kept"
        assert outcomes(seen) == [expected]
    assert rows(database_url) == 1


async def test_redis_is_used_when_there_is_one(tmp_path: Path, redis):
    configured = settings(tmp_path, redis_url=redis.url)
    for expected in ("miss", "hit"):
        bus, seen = heard()
        async with agentkit.open(configured, events=bus) as kit:
            assert (await kit.gateway.chat_model().ainvoke("hi")).text == "kept"
            assert "pool" not in kit._parts
        assert outcomes(seen) == [expected]


async def test_memory_opens_no_server(tmp_path: Path):
    bus, seen = heard()
    configured = settings(tmp_path, store="memory", database_url="postgresql://127.0.0.1:1/none")
    async with agentkit.open(configured, events=bus) as kit:
        for _ in range(2):
            assert (await kit.gateway.chat_model().ainvoke("hi")).text == "kept"
        assert set(kit._parts) == {"answer cache"}
    assert outcomes(seen) == ["miss", "hit"]


async def test_a_kit_without_such_models_opens_nothing(tmp_path: Path):
    bus, seen = heard()
    url = "postgresql://127.0.0.1:1/none"
    async with agentkit.open(settings(tmp_path, keep=None, database_url=url), events=bus) as kit:
        assert (await kit.gateway.chat_model().ainvoke("hi")).text == "kept"
        assert kit._parts == {}
    assert outcomes(seen) == []


async def test_callers_on_other_loops_and_threads_share_the_cache(tmp_path: Path, database_url: str):
    bus, seen = heard()
    async with agentkit.open(settings(tmp_path, database_url=database_url), events=bus) as kit:
        model = kit.gateway.chat_model()

        async def several() -> list[str]:
            return [answer.text for answer in await asyncio.gather(*(model.ainvoke("hi") for _ in range(10)))]

        # The first caller of all is on a loop that ends before the kit does.
        first = await asyncio.to_thread(asyncio.run, model.ainvoke("hi"))
        assert first.text == "kept"
        assert await asyncio.to_thread(asyncio.run, several()) == ["kept"] * 10
        assert await asyncio.gather(*(asyncio.to_thread(model.invoke, "hi") for _ in range(5)))
        assert "".join([chunk.text async for chunk in model.astream("hi")]) == "kept"
        assert await several() == ["kept"] * 10
    assert outcomes(seen) == ["miss", *["hit"] * 26]
    assert sum(event.cached for event in seen if isinstance(event, ModelCallFinished)) == 26


async def test_a_synchronous_call_that_blocks_the_kits_loop_is_answered(tmp_path: Path, database_url: str):
    configured = settings(tmp_path, replies=("one", "two"), database_url=database_url)
    bus, seen = heard()
    async with agentkit.open(configured, events=bus) as kit:
        model = kit.gateway.chat_model()
        assert model.invoke("hi").text == "one"  # the cache's loop is this one, and waits
        assert set(outcomes(seen)) == {"error"}
        assert (await model.ainvoke("hi")).text in ("one", "two")


async def test_an_unreachable_database_breaks_no_call(tmp_path: Path, caplog):
    configured = settings(
        tmp_path, replies=("one", "two"), database_url="postgresql://u:s3cret@127.0.0.1:1/none"
    )
    bus, seen = heard()
    async with agentkit.open(configured, events=bus) as kit:
        model = kit.gateway.chat_model()
        assert [(await model.ainvoke("hi")).text for _ in range(2)] == ["one", "two"]
    assert set(outcomes(seen)) == {"error"}
    assert caplog.text.count("The response cache is of no use") == 1
    assert "s3cret" not in caplog.text


async def test_redis_without_an_address_says_what_to_set(tmp_path: Path, caplog):
    configured = settings(tmp_path, store="redis")
    async with agentkit.open(configured) as kit:
        assert (await kit.gateway.chat_model().ainvoke("hi")).text == "kept"
        with pytest.raises(ConfigurationError, match="Set AGENTKIT_REDIS_URL"):
            await kit.answer_cache()
    assert "Set AGENTKIT_REDIS_URL" in caplog.text


async def test_a_model_that_outlives_its_kit_starts_nothing_again(tmp_path: Path, database_url: str):
    configured = settings(tmp_path, replies=("one", "two", "three"), database_url=database_url)
    async with agentkit.open(configured) as kit:
        used, fresh = kit.gateway.chat_model(), kit.gateway
        assert (await used.ainvoke("hi")).text == "one"
    assert (await used.ainvoke("hi")).text == "two"  # the pool is closed
    assert (await fresh.chat_model().ainvoke("hi")).text
    with pytest.raises(ConfigurationError, match="closed"):
        await kit.answer_cache()


def test_a_model_outlives_its_kits_loop(tmp_path: Path, database_url: str):
    configured = settings(tmp_path, replies=("one", "two"), database_url=database_url)

    async def opened() -> Any:
        async with agentkit.open(configured) as kit:
            model = kit.gateway.chat_model()
            await model.ainvoke("hi")
            return model

    assert asyncio.run(opened()).invoke("hi").text == "two"


BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: team
models: {main: {provider: scripted, cache: 1h, options: {replies: [{"agent": "clerk"}, Once.]}}}
agents:
  - {name: clerk, description: Notes, prompt: {ref: agents/python}}
"""


def test_a_blueprints_model_keeps_its_answers(tmp_path: Path, database_url: str):
    file = tmp_path / "team.yaml"
    file.write_text(BLUEPRINT)
    graph = agentkit.load_blueprint(
        file, Settings.load(data_dir=tmp_path / "data", database_url=database_url)
    )
    for thread in ("a", "b"):
        result = graph.invoke({"messages": [("user", "hi")]}, {"configurable": {"thread_id": thread}})
        answer = result["messages"][-1]
        assert answer.text == "Once."
        assert bool(answer.response_metadata.get("cached")) is (thread == "b")
