"""The stores on a real PostgreSQL and a real Redis."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import psycopg
import pytest
from langchain_core.caches import BaseCache
from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, Generation
from langchain_tests.integration_tests.cache import AsyncCacheTestSuite, SyncCacheTestSuite

from agentkit import portal
from agentkit.database import migrate
from agentkit.database.pool import Pool, open_pool
from agentkit.errors import ConfigurationError, MissingExtraError
from agentkit.events import CacheLooked
from agentkit.llm import MIGRATIONS, LLMConfig, MemoryCache, PostgresCache, RedisCache
from agentkit.llm.cache.answers import LLM_STRING, AnswerCache
from agentkit.llm.cache.provider import CachedProvider
from agentkit.llm.cache.stored import StoredCache, dumps, loads

from ..resilience.helpers import Flaky, recorded, text

CONFIG = LLMConfig("scripted", cache=60)


def answer(content: Any = "words", ttl: float | None = None, **more: Any) -> list[Generation]:
    info = None if ttl is None else {"ttl": ttl}
    return [ChatGeneration(message=AIMessage(content, **more), generation_info=info)]


class TestPostgres(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, pool: Pool) -> BaseCache:
        return PostgresCache(pool)


class TestRedis(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, redis) -> AsyncIterator[BaseCache]:
        cache = RedisCache(redis.url)
        yield cache
        await cache.aclose()


class TestMemory(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self) -> BaseCache:
        return MemoryCache()


class TestPostgresFromThreads(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, database_url: str) -> Iterator[BaseCache]:
        """A cache at home on the background loop."""
        stack = AsyncExitStack()

        async def make() -> BaseCache:
            await migrate.apply(database_url, [MIGRATIONS])
            return PostgresCache(await stack.enter_async_context(open_pool(database_url)))

        yield portal.run(make)
        portal.run(stack.aclose)


class TestRedisFromThreads(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, redis) -> Iterator[BaseCache]:
        async def make() -> RedisCache:
            return RedisCache(redis.url)

        cache = portal.run(make)
        yield cache
        portal.run(cache.aclose)


class TestMemoryFromThreads(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self) -> BaseCache:
        return MemoryCache()


@pytest.fixture(params=["postgres", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[StoredCache]:
    if request.param == "postgres":
        database_url = request.getfixturevalue("database_url")
        await migrate.apply(database_url, [MIGRATIONS])
        async with open_pool(database_url, size=4) as opened:
            yield PostgresCache(opened)
        return
    cache = RedisCache(request.getfixturevalue("redis").url)
    yield cache
    await cache.aclose()


CALL = {"name": "look", "args": {"q": "ä\x00", "n": [1, None]}, "id": "c", "type": "tool_call"}
USAGE = UsageMetadata(input_tokens=1, output_tokens=2, total_tokens=3, input_token_details={"cache_read": 1})


@pytest.mark.parametrize(
    "given",
    [
        answer("ünïcode ✓ 🦆 \u202e"), answer("nul \x00 and half a pair \ud83e"), answer("x" * 1_000_000),
        answer("", tool_calls=[CALL], usage_metadata=USAGE, response_metadata={"finish_reason": "stop"}),
        answer([{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}], ttl=5),
        answer("r", additional_kwargs={"reasoning_content": "hm"}),
    ],
    ids=["unicode", "unspeakable", "1 MB", "tool call", "blocks", "reasoning"],
)  # fmt: skip
async def test_what_is_kept_comes_back(store: StoredCache, given: list[Generation]):
    await store.aupdate("p", "l", given)
    assert await store.alookup("p", "l") == given
    assert await store.alookup("p", "m") is None


async def test_two_keys_are_not_one(store: StoredCache):
    await store.aupdate("ab", "c", answer("one"))
    await store.aupdate("a", "bc", answer("other"))
    found = await store.alookup("ab", "c")
    assert found is not None
    assert found[0].text == "one"


async def test_the_last_answer_stays(store: StoredCache):
    await asyncio.gather(*(store.aupdate("p", "l", answer("same", ttl=60)) for _ in range(20)))
    await store.aupdate("p", "l", answer("last"))
    assert await store.alookup("p", "l") == answer("last")


async def test_an_answer_expires_by_itself(store: StoredCache):
    await store.aupdate("short", "l", answer("gone", ttl=0.05))
    await store.aupdate("long", "l", answer("here", ttl=1e12))  # longer than a store can count
    async with asyncio.timeout(20):
        while await store.alookup("short", "l") is not None:  # noqa: ASYNC110 - a server's clock
            await asyncio.sleep(0.02)
    assert await store.alookup("long", "l") is not None


async def test_calls_from_another_loop_and_from_threads_are_carried_home(store: StoredCache):
    await store.aupdate("p", "l", answer("home"))

    async def elsewhere() -> Any:
        await asyncio.gather(*(store.aupdate(f"p{number}", "l", answer("away")) for number in range(10)))
        return await store.alookup("p", "l")

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == answer("home")
    assert await asyncio.to_thread(store.lookup, "p9", "l") == answer("away")
    await asyncio.to_thread(store.clear)
    assert await store.alookup("p", "l") is None
    with pytest.raises(ConfigurationError, match="cannot wait for the event loop it stands on"):
        store.lookup("p", "l")


HOSTILE = [
    "", "nonsense", "{}", "[1]", "null", '[{"info": null}]', "[" * 100_000,
    '[{"info": null, "message": {"content": 3}}]',
    json.dumps([{"lc": 1, "type": "constructor", "id": ["langchain", "llms", "x"], "kwargs": {}}]),
]  # fmt: skip


@pytest.mark.parametrize("entry", HOSTILE, ids=range(len(HOSTILE)))
async def test_a_hostile_entry_is_an_error_then_replaced(store: StoredCache, entry: str):
    inner = Flaky(["fine"])
    bus, seen = recorded()
    provider = CachedProvider(inner, AnswerCache(store), CONFIG, events=bus)
    assert await text(provider) == "fine"
    await _overwrite(store, entry)
    assert [await text(provider), await text(provider)] == ["fine", "fine"]
    assert inner.attempts == 2
    assert [event.outcome for event in seen if isinstance(event, CacheLooked)] == ["miss", "error", "hit"]


async def _overwrite(store: StoredCache, entry: str) -> None:
    if isinstance(store, PostgresCache):
        async with store._pool.connection() as connection:
            await connection.execute("UPDATE agentkit_llm_cache SET answer = %s", [entry])
    elif isinstance(store, RedisCache):
        async for key in store._redis.scan_iter():
            await store._redis.set(key, entry)


async def test_a_redis_key_of_another_kind_is_no_answer(redis):
    store = RedisCache(redis.url)
    provider = CachedProvider(Flaky(["fine"]), AnswerCache(store), CONFIG, events=recorded()[0])
    assert await text(provider) == "fine"
    (key,) = [key async for key in store._redis.scan_iter()]
    await store._redis.delete(key)
    await store._redis.lpush(key, "x")
    assert [await text(provider), await text(provider)] == ["fine", "fine"]
    await store._redis.set(key, b"\xff\xfe")
    assert await text(provider) == "fine"
    await store.aclose()


def test_an_entry_makes_nothing_but_messages():
    (read,) = loads(dumps(answer("a")).replace('"content"', '"type":"system","id":"x","content"'))
    assert isinstance(read, ChatGeneration)
    assert type(read.message) is AIMessage
    assert read.message.id is None
    with pytest.raises(TypeError, match="not JSON serializable"):
        dumps(answer("a", additional_kwargs={"o": object()}))


async def _rows(pool: Pool) -> int:
    async with pool.connection() as connection:
        row = await (await connection.execute("SELECT count(*) AS n FROM agentkit_llm_cache")).fetchone()
    assert row is not None
    return row["n"]


async def test_postgres_removes_a_bounded_number_of_expired_rows_at_each_write(pool: Pool):
    store = PostgresCache(pool)
    async with pool.connection() as connection:
        await connection.execute(
            "INSERT INTO agentkit_llm_cache SELECT n::text, '[]', now() - interval '1 s' "
            "FROM generate_series(1, 250) n"
        )
    left = []
    for number in range(3):
        await store.aupdate(f"p{number}", "l", answer())
        left.append(await _rows(pool))
    assert left == [151, 52, 3]
    await asyncio.gather(*(store.aupdate(f"q{number}", "l", answer(ttl=0.001)) for number in range(40)))
    await store.aclear()
    assert await _rows(pool) == 0


async def test_redis_forgets_by_itself_and_clearing_takes_only_what_is_ours(redis):
    store = RedisCache(redis.url)
    await store._redis.set("somebody:else", "stays")
    for number in range(1200):
        await store._redis.set(f"agentkit:llm:{number}", "x")
    await store.aupdate("p", "l", answer(ttl=90))
    await store.aupdate("q", "l", answer())
    lives = [
        await store._redis.pttl(key)
        async for key in store._redis.scan_iter()
        if await store._redis.pttl(key) > 0
    ]
    assert 80_000 < min(lives) <= 90_000 < max(lives) <= 3_600_000
    await store.aclear()
    assert [key async for key in store._redis.scan_iter()] == ["somebody:else"]
    await store.aclose()


async def test_redis_killed_and_back_again_disturbs_nobody(redis):
    store = RedisCache(redis.url)
    inner = Flaky(["fine"])
    bus, seen = recorded()
    provider = CachedProvider(inner, AnswerCache(store, left_alone=0.05), CONFIG, events=bus)

    async def call() -> list[str]:
        seen.clear()
        async with asyncio.timeout(30):
            assert await text(provider) == "fine"
        return [event.outcome for event in seen if isinstance(event, CacheLooked)]

    assert [await call(), await call()] == [["miss"], ["hit"]]
    redis.stop()
    for _ in range(5):
        assert set(await call()) == {"error"}
    redis.start()
    async with asyncio.timeout(30):
        while await call() != ["hit"]:  # noqa: ASYNC110 - a server's clock
            await asyncio.sleep(0.02)
    await store.aclose()


async def test_many_calls_at_once_all_find_their_answer(store: StoredCache):
    inner = Flaky(["fine"])
    bus, seen = recorded()
    provider = CachedProvider(inner, AnswerCache(store), CONFIG, events=bus)
    await text(provider)
    assert set(await asyncio.gather(*(text(provider) for _ in range(200)))) == {"fine"}
    assert [event.outcome for event in seen if isinstance(event, CacheLooked)] == ["miss", *["hit"] * 200]
    assert inner.attempts == 1


async def test_postgres_dropping_its_connections_disturbs_nobody(pool: Pool, database_url: str):
    inner = Flaky(["fine"])
    bus, seen = recorded()
    answers = AnswerCache(PostgresCache(pool), left_alone=0.01)
    provider = CachedProvider(inner, answers, CONFIG, events=bus)
    assert [await text(provider), await text(provider)] == ["fine", "fine"]
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    seen.clear()
    async with asyncio.timeout(30):
        while not seen or seen[-1] != CacheLooked("flaky", "flaky-model", "hit"):
            assert await text(provider) == "fine"
            seen[:] = seen[-1:]
        seen.clear()
        assert await text(provider) == "fine"
    assert [event.outcome for event in seen] == ["hit"]


async def test_calls_cancelled_while_they_look_never_mix_up_answers(redis):
    store = RedisCache(redis.url)
    for number in range(50):
        await store.aupdate(str(number), "l", answer(f"answer {number}"))
    for turn in range(20):
        looks = [asyncio.create_task(store.alookup(str(number), "l")) for number in range(50)]
        for _ in range(turn):
            await asyncio.sleep(0)
        for look in looks[::2]:
            look.cancel()
        found = await asyncio.gather(*looks, return_exceptions=True)
        for number, generations in enumerate(found):
            if not isinstance(generations, BaseException):
                assert generations == answer(f"answer {number}")
    await store.aclose()


async def test_an_exhausted_pool_delays_a_call_shortly(pool: Pool):
    store = PostgresCache(pool)
    inner = Flaky(["fine"])
    bus, seen = recorded()
    provider = CachedProvider(inner, AnswerCache(store, patience=0.05, left_alone=0.01), CONFIG, events=bus)
    async with AsyncExitStack() as taken, asyncio.timeout(30):
        for _ in range(4):
            await taken.enter_async_context(pool.connection())
        assert await text(provider) == "fine"
    assert "error" in [event.outcome for event in seen if isinstance(event, CacheLooked)]
    async with asyncio.timeout(30):
        while await store.alookup("x", LLM_STRING) is not None:  # noqa: ASYNC110 - a server's clock
            await asyncio.sleep(0.01)
    assert await text(provider) == "fine"


async def test_a_closed_home_is_an_error_and_no_hang(redis):
    async def make() -> RedisCache:
        cache = RedisCache(redis.url)
        await cache.aclose()
        return cache

    store = await asyncio.to_thread(asyncio.run, make())
    with pytest.raises(RuntimeError, match="closed"):
        await store.alookup("p", "l")
    inner = Flaky(["fine"])
    provider = CachedProvider(inner, AnswerCache(store), CONFIG, events=recorded()[0])
    assert await text(provider) == "fine"


async def test_redis_without_the_extra_names_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "redis.asyncio", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'langgraph-agentkit\[redis\]'"):
        RedisCache("redis://127.0.0.1:1")
