"""Breakers shared through a real Redis: several gateways, as if each were a replica."""

import asyncio
import json
import logging
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as vendor

from agentkit.errors import CircuitOpenError, ConfigurationError, ProviderError
from agentkit.events import CircuitChanged, Event, EventBus
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.llm.base import LLMProvider, ProviderContext
from agentkit.llm.policies import BreakerPolicy, RetryPolicy
from agentkit.llm.resilience.redis_circuits import PREFIX, RedisCircuits, redacted, redis_health
from agentkit.llm.resilience.shared import circuit_name
from agentkit.registry import Registry
from agentkit.weights import WeightsStore

from .helpers import HANG, Flaky, unavailable

CONTEXT = ProviderContext(WeightsStore(Path("unused")))
CONFIG = LLMConfig(
    "a", model="m", retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(failures=2, open_for=600)
)
NAME = circuit_name(CONFIG, CONTEXT) or ""


def brief(open_for: float) -> LLMConfig:
    policy = BreakerPolicy(failures=2, open_for=open_for)
    return LLMConfig("a", model="m", retry=RetryPolicy(attempts=1), breaker=policy)


class Replica:
    """A gateway of its own, with a provider that all replicas may share."""

    def __init__(self, url: str, provider: Flaky, config: LLMConfig) -> None:
        self.events: list[Event] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        registry = Registry[type[LLMProvider]]("provider")
        registry.register("a", lambda *_: provider)  # type: ignore[arg-type]
        provider.config = config
        self.circuits = RedisCircuits(url)
        self.gateway = LLMGateway(
            {"main": config},
            events=bus,
            weights=WeightsStore(Path("unused")),
            providers=registry,
            circuits=self.circuits,
        )
        self.model = self.gateway.chat_model()
        (self.breaker,) = self.gateway._breakers.values()

    async def fail(self, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(ProviderError, match="down"):
                await self.model.ainvoke("Hi")

    async def connected(self) -> None:
        self.circuits.watch(NAME, self.breaker)
        await until(lambda: self.circuits._client is not None)

    def changes(self) -> list[str]:
        return [event.to for event in self.events if isinstance(event, CircuitChanged)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - news comes over a network
            await asyncio.sleep(0.005)


@asynccontextmanager
async def replicas(
    url: str, *providers: Flaky, config: LLMConfig = CONFIG
) -> AsyncIterator[tuple[Replica, ...]]:
    made = tuple(Replica(url, provider, config) for provider in providers)
    try:
        for replica in made:
            await replica.connected()
        yield made
    finally:
        for replica in made:
            await replica.gateway.aclose()


async def test_what_opens_one_opens_all_and_what_closes_one_closes_all(redis: Any) -> None:
    bad, good = Flaky([unavailable()], [unavailable()], ["back"]), Flaky(["never asked"])
    async with replicas(redis.url, bad, good) as (one, two):
        await one.fail(2)
        await until(lambda: two.breaker.state == "open")
        assert 0 < two.breaker.retry_in <= one.breaker.retry_in + 1
        with pytest.raises(CircuitOpenError):
            await two.model.ainvoke("Hi")
        assert good.attempts == 0

        probe = one.gateway.chat_model().provider.chat([], force_probe=True)
        async for _ in probe:
            pass
        await until(lambda: two.breaker.state == "closed")
        assert two.changes() == ["open", "closed"]
        assert (await two.model.ainvoke("Hi")).text == "never asked"


async def test_who_comes_later_reads_what_is_open_and_nothing_stays_for_ever(redis: Any) -> None:
    async with replicas(redis.url, Flaky([unavailable()])) as (one,):
        await one.fail(2)
        async with replicas(redis.url, Flaky(["hello"])) as (late,):
            await until(lambda: late.breaker.state == "open")
            await until(lambda: late.breaker.retry_in > 500)
        async with vendor.Redis.from_url(redis.url) as client:
            keys = [key async for key in client.scan_iter("*")]
            assert keys == [f"{PREFIX}open:{NAME}".encode()]
            assert all([0 < await client.ttl(key) <= 660 for key in keys])


async def test_of_all_replicas_one_probes(redis: Any) -> None:
    """Three gateways, many calls, a provider that stays dead: one request a period in all."""
    dead = Flaky([0.05, unavailable()])
    async with replicas(redis.url, dead, dead, dead, config=brief(0.5)) as all_of_them:

        async def storm() -> list[Any]:
            calls = [replica.model.ainvoke("Hi") for replica in all_of_them for _ in range(30)]
            return await asyncio.gather(*calls, return_exceptions=True)

        await storm()
        assert {replica.breaker.state for replica in all_of_them} == {"open"}
        asked = dead.attempts
        for period in range(1, 4):
            await until(lambda: all(replica.breaker.retry_in == 0 for replica in all_of_them))
            while dead.attempts == asked:  # a period may end a moment later at Redis than here
                await storm()
            asked += 1
            assert dead.attempts == asked, f"more than one probe in period {period}"

        dead.plans = [["back"]]
        dead.attempts = 0
        while any(replica.breaker.state != "closed" for replica in all_of_them):
            await storm()
            await asyncio.sleep(0.01)
        assert (await all_of_them[2].model.ainvoke("Hi")).text == "back"


async def test_while_one_probes_the_others_wait_and_a_cancelled_probe_is_given_back(
    redis: Any,
) -> None:
    slow, other = Flaky([unavailable()], [unavailable()], [HANG]), Flaky(["hello"])
    async with replicas(redis.url, slow, other) as (one, two):
        await one.fail(2)
        await until(lambda: two.breaker.state == "open")
        probe = asyncio.create_task(consume(one, force=True))
        await until(lambda: slow.attempts == 3)
        for _ in range(3):
            with pytest.raises(CircuitOpenError):
                await consume(two, force=True)
        assert other.attempts == 0
        probe.cancel()
        await asyncio.wait([probe])
        async with asyncio.timeout(30):
            while other.attempts == 0:
                try:
                    await consume(two, force=True)
                except CircuitOpenError:
                    await asyncio.sleep(0.01)
        await until(lambda: one.breaker.state == two.breaker.state == "closed")


async def consume(replica: Replica, *, force: bool) -> None:
    async for _ in replica.gateway.chat_model().provider.chat([], force_probe=force):
        pass


async def test_without_redis_breakers_are_local_and_come_together_again(
    redis: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agentkit.llm.resilience.redis_circuits")
    bad, good = Flaky([unavailable()]), Flaky(["hello"])
    async with replicas(redis.url, bad, good) as (one, two):
        redis.stop()
        await until(lambda: one.circuits._away and two.circuits._away)
        await one.fail(2)
        assert one.breaker.state == "open"
        for _ in range(3):
            assert (await two.model.ainvoke("Hi")).text == "hello"
        with pytest.raises(ProviderError, match="down"):  # a probe goes ahead without Redis
            await consume(one, force=True)

        redis.start()
        await until(lambda: two.breaker.state == "open")  # what happened meanwhile is told now
        await until(lambda: not one.circuits._away and not two.circuits._away)
    said = [record.levelname for record in caplog.records]
    assert sorted(said) == ["INFO", "INFO", "WARNING", "WARNING"]  # once each, for each of the two
    assert "circuit breakers are local until it is back" in caplog.text


async def test_a_redis_that_hangs_holds_nobody_up(redis: Any) -> None:
    bad = Flaky([unavailable()])
    async with replicas(redis.url, bad, Flaky(["hello"])) as (one, two):
        assert redis._process is not None
        redis._process.send_signal(signal.SIGSTOP)
        try:
            async with asyncio.timeout(20):
                await one.fail(2)
                with pytest.raises(ProviderError, match="down"):
                    await consume(one, force=True)  # waits for its claim, but not for long
                assert bad.attempts == 3
                assert (await two.model.ainvoke("Hi")).text == "hello"
                await until(lambda: one.circuits._away and two.circuits._away)
        finally:
            redis._process.send_signal(signal.SIGCONT)
        await until(lambda: not one.circuits._away)
        await until(lambda: two.breaker.state == "open")


async def test_a_server_that_never_says_a_word_is_no_redis() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    replica = Replica(url, Flaky(["hello"]), CONFIG)
    try:
        assert (await replica.model.ainvoke("Hi")).text == "hello"
        await until(lambda: replica.circuits._away)
        assert "does not answer" in (await redis_health(url)).detail
    finally:
        await replica.gateway.aclose()
        server.close()
        await server.wait_closed()


HOSTILE = [
    b"",
    b"\xff\xfe",
    b"null",
    b"[" * 1000,
    b'{"name": ' + b"1" * 2000 + b"}",
    json.dumps({"name": NAME}).encode(),
    json.dumps({"name": [NAME], "open_for": 5}).encode(),
    json.dumps({"name": "of nobody", "open_for": 5}).encode(),
    *[
        b'{"name": "%s", "open_for": %s}' % (NAME.encode(), value)
        for value in (b"-1", b"0", b"true", b'"5"', b"NaN", b"Infinity", b"1e999", b"[1]", b"{}")
    ],
]


async def test_messages_that_are_none_are_ignored(redis: Any) -> None:
    async with (
        replicas(redis.url, Flaky(["hello"])) as (one,),
        vendor.Redis.from_url(redis.url) as client,
    ):
        for message in HOSTILE:
            assert await client.publish(f"{PREFIX}changes:0", message) == 1
        await client.publish(f"{PREFIX}changes:0", json.dumps({"name": NAME, "open_for": 10**300, "more": 1}))
        await until(lambda: one.breaker.state == "open")
        assert one.changes() == ["open"]  # of all of them only the last one counted
        assert one.breaker.retry_in <= 660  # and not for longer than this replica's own configuration says


async def test_a_replica_in_another_process(redis: Any) -> None:
    program = f"""
        import asyncio, pathlib
        from agentkit.errors import ProviderError
        from agentkit.events import EventBus
        from agentkit.llm import LLMConfig, LLMGateway
        from agentkit.llm.policies import BreakerPolicy, RetryPolicy
        from agentkit.llm.resilience.redis_circuits import RedisCircuits
        from agentkit.llm.resilience.breaker import CircuitBreaker

        async def main():
            circuits = RedisCircuits({redis.url!r})
            breaker = CircuitBreaker(
                failures=1, open_for=600, announce=lambda s: circuits.announce({NAME!r}, s)
            )
            circuits.watch({NAME!r}, breaker)
            breaker.failed(breaker.admit())
            input()
            assert await circuits.claim({NAME!r}, force=True) == 0
            print("claimed", flush=True)
            input()
            breaker.succeeded(breaker.admit(force=True))
            circuits.release({NAME!r})
            input()
            await circuits.aclose()

        asyncio.run(main())
    """
    async with replicas(redis.url, Flaky(["hello"])) as (one,):
        other = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", textwrap.dedent(program),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert other.stdin is not None
        assert other.stdout is not None
        await until(lambda: one.breaker.state == "open")
        other.stdin.write(b"\n")
        assert await other.stdout.readline() == b"claimed\n"
        with pytest.raises(CircuitOpenError):
            await consume(one, force=True)
        other.stdin.write(b"\n")
        await until(lambda: one.breaker.state == "closed")
        other.stdin.write(b"\n")
        other.stdin.close()
        assert await other.wait() == 0


async def test_a_closed_gateway_may_be_used_again(redis: Any) -> None:
    async with replicas(redis.url, Flaky(["hello"]), Flaky([unavailable()])) as (one, two):
        await one.gateway.aclose()
        assert one.circuits._task is None
        assert (await one.gateway.chat_model().ainvoke("Hi")).text == "hello"
        await until(lambda: one.circuits._client is not None)
        await two.fail(2)
        await until(lambda: one.breaker.state == "open")


def test_what_is_shared_and_with_whom() -> None:
    def name(provider: str, **options: object) -> str | None:
        return circuit_name(LLMConfig(provider, model="m", options=options), CONTEXT)

    assert [name(provider) for provider in ("auto", "local", "scripted")] == [None] * 3
    assert name("openai") == name("openai")
    assert name("openai") != name("openai", base_url="https://proxy.example/v1")
    assert "s3cret" not in (name("openai", base_url="https://u:s3cret@proxy.example/v1") or "")
    assert name("ollama", base_url="http://127.0.0.1:1") != name("ollama", base_url="http://127.0.0.1:2")


def test_loopback_is_another_place_on_every_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def names() -> list[str | None]:
        urls = ("http://127.0.0.1:8000/v1", "https://proxy.example/v1")
        return [circuit_name(LLMConfig("vllm", options={"base_url": url}), CONTEXT) for url in urls]

    here = names()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    there = names()
    assert here[0] != there[0]
    assert here[1] == there[1]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:s3cret@host:6379/2", "redis://host:6379/2"),
        ("rediss://u:s3cret@[::1]/0?password=s3cret", "rediss://[::1]/0"),
        ("unix://u:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis://u:s3cret@host:port", "the configured URL"),
    ],
)
def test_no_message_shows_a_password(url: str, shown: str) -> None:
    assert redacted(url) == shown


async def test_a_url_that_is_none_of_redis_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="http://host/ is not the address of a Redis") as caught:
        RedisCircuits("http://u:s3cret@host/")
    assert "s3cret" not in str(caught.value)
    health = await redis_health("http://u:s3cret@host/")
    assert not health.ok
    assert "redis://host:6379/0" in health.detail


async def test_the_state_of_redis_itself(redis: Any) -> None:
    health = await redis_health(redis.url)
    assert health.ok
    assert health.detail.startswith("Redis ")
    redis.stop()
    health = await redis_health(redis.url.replace("127.0.0.1", "u:s3cret@127.0.0.1"))
    assert not health.ok
    assert "does not answer" in health.detail
    assert "Check AGENTKIT_REDIS_URL" in health.detail
    assert "s3cret" not in health.detail
