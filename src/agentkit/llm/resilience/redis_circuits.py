"""Circuit breakers shared through Redis, and local ones while Redis is away.

::

    agentkit:circuit:changes:DB      channel: {"from", "name", "open_for"}; null is closed
    agentkit:circuit:open:NAME       lives as long as the breaker is open
    agentkit:circuit:probe:NAME      token of the replica that probes, while it does
"""

import asyncio
import json
import logging
import random
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import uuid4

from agentkit import portal
from agentkit.errors import ConfigurationError
from agentkit.extras import require
from agentkit.llm.base import Health
from agentkit.llm.resilience.breaker import CircuitBreaker

logger = logging.getLogger(__name__)

PREFIX = "agentkit:circuit:"
"""Begins the name of every key and channel."""

_ANSWER_SECONDS = 1.0  # within which Redis answers, or counts as away
_BEAT_SECONDS = 1.0
_SILENT_BEATS = 3  # a subscription that answers no ping for so many is dead
_LEASE_MS = 5000  # a replica that dies while it probes keeps the others out for so long
_BACK_OFF = (0.2, 5.0)  # seconds before the first, and at most before a later, new connection
_LONGEST_MESSAGE = 1024

# KEYS: open mark, probe. ARGV: token, lease in ms, whether an open period is passed over.
_CLAIM = """
if ARGV[3] == '0' then
  local open = redis.call('PTTL', KEYS[1])
  if open > 0 then return open end
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 0 end
local held = redis.call('PTTL', KEYS[2])
if held < 0 then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  held = tonumber(ARGV[2])
end
return math.max(held, 1)
"""
# KEYS: probe. ARGV: token, lease in ms, or 0 to end it.
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS: open mark. ARGV: ms it stays open, or 0 for closed; channel; message.
_TELL = """
if ARGV[1] == '0' then
  redis.call('DEL', KEYS[1])
elseif redis.call('PTTL', KEYS[1]) < tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], 'open', 'PX', ARGV[1])
end
return redis.call('PUBLISH', ARGV[2], ARGV[3])
"""


class RedisCircuits:
    """Breakers shared through Redis; each for itself while Redis is away.

    Openings and closings go by publish/subscribe; a key that expires with the open period
    tells those who come later. Who probes holds a lease that is renewed meanwhile. Durations
    are sent, never times: replicas' clocks differ. All of it happens on the portal's loop.

    Args:
        url: `redis://…`, `rediss://…` or `unix://…`.
        patience: Longest a probe waits for Redis, in seconds.

    Raises:
        ConfigurationError: The URL is none of Redis.
        MissingExtraError: The extra `redis` is not installed.
    """

    def __init__(self, url: str, *, patience: float = 0.1) -> None:
        connect(url)  # not a connection yet: complains about the URL
        self._url = url
        self._patience = patience
        self._id = uuid4().hex
        self._starting = threading.Lock()
        self._watched: dict[str, CircuitBreaker] = {}
        # What follows is touched on the portal's loop only; `_client` is read elsewhere.
        self._task: asyncio.Task[None] | None = None
        self._client: Any = None  # while connected
        self._channel = ""
        self._outbox: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        self._unsaid: dict[str, float] = {}  # opened, and not told yet: until when
        self._held: dict[str, str] = {}  # tokens of our probes
        self._heard_at = 0.0
        self._away = False

    def watch(self, name: str, breaker: CircuitBreaker) -> None:
        """Let `breaker` follow what other replicas say; connects at the first use."""
        if name in self._watched:
            return
        with self._starting:
            first = not self._watched
            self._watched[name] = breaker
        if first:
            _on_loop(self._begin)
        else:
            _on_loop(self._post, "read", name)

    def announce(self, name: str, open_for: float | None) -> None:
        """Tell the others, now or when Redis is back."""
        if name not in self._watched:
            return
        until = None if open_for is None else time.monotonic() + open_for
        _on_loop(self._say, name, until)

    async def claim(self, name: str, *, force: bool = False) -> float:
        """Ask to be the one replica that probes. 0 also when Redis is away or too slow."""
        if self._client is None:
            return 0.0
        try:
            async with asyncio.timeout(self._patience):
                return await portal.arun(self._claim, name, force, on=portal.loop())
        except Exception as error:  # noqa: BLE001 - too slow or failing: the probe goes ahead
            logger.debug("claiming the probe of %s failed: %r", name, error)
            return 0.0

    def release(self, name: str) -> None:
        """The probe is over."""
        _on_loop(self._give_back, name)

    async def aclose(self) -> None:
        """Disconnect. The next call connects again."""
        with self._starting:
            started = bool(self._watched)
            self._watched.clear()
        if started:
            await portal.arun(self._end, on=portal.loop())

    def _begin(self) -> None:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._live(), name="agentkit shared circuits")

    async def _end(self) -> None:
        task, self._task = self._task, None
        self._unsaid.clear()
        self._held.clear()
        if task is not None:
            await _stopped({task}, patience=2 * _ANSWER_SECONDS)
        if self._watched:  # a call came while the gateway was being closed
            self._begin()

    def _post(self, what: str, of: Any) -> None:
        if self._client is not None:
            self._outbox.put_nowait((what, of))

    def _say(self, name: str, until: float | None) -> None:
        if until is None:
            self._unsaid.pop(name, None)
        else:
            self._unsaid[name] = until
        self._post("closed" if until is None else "open", name)

    def _give_back(self, name: str) -> None:
        token = self._held.pop(name, None)
        if token is not None:
            self._post("release", (name, token))

    async def _claim(self, name: str, force: bool) -> float:
        client = self._client
        if client is None:
            return 0.0
        # Noted before it is asked for: should the answer come too late, it is given back as well.
        token = self._held[name] = uuid4().hex
        keys = _keys(name)
        wait = await client.eval(_CLAIM, 2, *keys, token, _LEASE_MS, int(force))
        if wait == 0:
            return 0.0
        self._held.pop(name, None)
        return wait / 1000

    async def _live(self) -> None:
        task = asyncio.current_task()
        least, most = _BACK_OFF
        wait = least
        while self._task is task:
            try:
                await self._session()
            except Exception as error:  # noqa: BLE001 - no fault here may reach a model call
                wait = least if not self._away else min(wait * 2, most)
                self._lost(error)
            await asyncio.sleep(wait * (0.5 + random.random() / 2))  # noqa: S311 - no secret

    async def _session(self) -> None:
        """One connection, until it fails."""
        client = connect(self._url)
        pubsub = client.pubsub()
        try:
            # Publish/subscribe knows no databases: applications apart by number stay apart.
            database = client.connection_pool.connection_kwargs.get("db") or 0
            self._channel = f"{PREFIX}changes:{database}"
            async with asyncio.timeout(_ANSWER_SECONDS * 2):
                await pubsub.subscribe(self._channel)
                while await pubsub.get_message(timeout=_ANSWER_SECONDS) is None:
                    pass  # subscribed first and read then, so that nothing falls in between
            self._outbox = asyncio.Queue()
            self._client = client
            for name in list(self._watched):
                self._post("read", name)
            for name in list(self._unsaid):
                self._post("open", name)
            await _first_failure(self._listen(pubsub), self._write(client), self._beat(client, pubsub))
        finally:
            self._client = None
            await _closed(pubsub)
            await _closed(client)

    async def _listen(self, pubsub: Any) -> None:
        self._heard_at = time.monotonic()
        while True:
            message = await pubsub.get_message(timeout=_BEAT_SECONDS)
            if message is not None:
                self._heard_at = time.monotonic()
                if message["type"] == "message":
                    self._hear(message["data"])

    async def _beat(self, client: Any, pubsub: Any) -> None:
        """See that Redis is there, and renew what is held; a connection may die without a word."""
        while True:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await client.ping()
                await pubsub.ping()
                for name, token in list(self._held.items()):
                    await client.eval(_RENEW, 1, _keys(name)[1], token, _LEASE_MS)
            self._found()
            await asyncio.sleep(_BEAT_SECONDS)
            if time.monotonic() - self._heard_at > _SILENT_BEATS * _BEAT_SECONDS:
                raise TimeoutError("the subscription is silent")

    async def _write(self, client: Any) -> None:
        while True:
            what, of = await self._outbox.get()
            async with asyncio.timeout(_ANSWER_SECONDS):
                if what == "read":
                    left = await client.pttl(_keys(of)[0])
                    if left > 0 and (breaker := self._watched.get(of)) is not None:
                        breaker.open_elsewhere(left / 1000)
                elif what == "release":
                    name, token = of
                    await client.eval(_RENEW, 1, _keys(name)[1], token, 0)
                else:
                    await self._tell(client, of, closed=what == "closed")

    async def _tell(self, client: Any, name: str, *, closed: bool) -> None:
        until = self._unsaid.get(name)
        left = 0.0 if closed else (until or 0.0) - time.monotonic()
        if closed or left > 0:
            said = {"from": self._id, "name": name, "open_for": None if closed else left}
            milliseconds = 0 if closed else max(1, int(left * 1000))
            await client.eval(_TELL, 1, _keys(name)[0], milliseconds, self._channel, json.dumps(said))
        if self._unsaid.get(name) == until:
            self._unsaid.pop(name, None)

    def _hear(self, data: bytes) -> None:
        """Follow a message; whatever is none of ours, or none at all, is ignored."""
        try:
            said: Any = json.loads(data) if len(data) <= _LONGEST_MESSAGE else None
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict) or not isinstance(said.get("name"), str):
            logger.debug("a message on %s is none of agentkit's", self._channel)
            return
        news = cast("dict[str, Any]", said)
        breaker = self._watched.get(news["name"])
        if breaker is None or news.get("from") == self._id or "open_for" not in news:
            return
        seconds = news["open_for"]
        if seconds is None:
            breaker.close_elsewhere()
        elif type(seconds) in (int, float) and 0 < seconds < float("inf"):
            breaker.open_elsewhere(seconds)

    def _lost(self, error: Exception) -> None:
        if not self._away:
            self._away = True
            logger.warning(
                "Redis at %s does not answer (%s): circuit breakers are local until it is back",
                redacted(self._url), _said(error),
            )  # fmt: skip

    def _found(self) -> None:
        if self._away:
            self._away = False
            logger.info("Redis at %s is back: circuit breakers are shared again", redacted(self._url))


async def redis_health(url: str) -> Health:
    """Whether Redis answers. Does not raise."""
    fix = "Check AGENTKIT_REDIS_URL and that Redis runs. Meanwhile each process has its own circuit breakers."
    try:
        client = connect(url)
        try:
            async with asyncio.timeout(2 * _ANSWER_SECONDS):
                about: dict[str, Any] = await client.info("server")
        finally:
            await _closed(client)
    except ConfigurationError as error:
        return Health(ok=False, detail=f"{error.message}\n{error.hint or fix}")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong with Redis
        return Health(ok=False, detail=f"Redis at {redacted(url)} does not answer: {_said(error)}\n{fix}")
    return Health(ok=True, detail=f"Redis {about.get('redis_version')} at {redacted(url)}")


def connect(url: str) -> Any:
    """Return a client that is not connected yet and repeats no command.

    Raises:
        ConfigurationError: The URL is none of Redis.
        MissingExtraError: The extra `redis` is not installed.
    """
    purpose = "Sharing circuit breakers"
    redis: Any = require("redis.asyncio", extra="redis", purpose=purpose)
    retry: Any = require("redis.asyncio.retry", extra="redis", purpose=purpose)
    backoff: Any = require("redis.backoff", extra="redis", purpose=purpose)
    try:
        return redis.Redis.from_url(
            url,
            protocol=2,
            socket_timeout=_ANSWER_SECONDS,
            socket_connect_timeout=_ANSWER_SECONDS,
            retry=retry.Retry(backoff.NoBackoff(), 0),
        )
    except ValueError:  # its text may hold the password
        raise ConfigurationError(
            f"{redacted(url)} is not the address of a Redis.",
            hint="Write redis://host:6379/0, rediss://… for TLS, or unix:///path/of/the/socket.",
        ) from None


def redacted(url: str) -> str:
    """Return a Redis URL without user, password and options, fit for messages and logs."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the configured URL"
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}{parts.path}"


def _keys(name: str) -> tuple[str, str]:
    """The key that marks it open, and the probe's."""
    return f"{PREFIX}open:{name}", f"{PREFIX}probe:{name}"


def _on_loop(function: Callable[..., None], *args: object) -> None:
    with suppress(RuntimeError):  # the interpreter ends, and the loop has ended before
        portal.loop().call_soon_threadsafe(function, *args)


async def _closed(thing: Any) -> None:
    with suppress(Exception):
        async with asyncio.timeout(_ANSWER_SECONDS):
            await thing.aclose()


async def _first_failure(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all until one fails, end the others, and raise its error."""
    tasks = {asyncio.create_task(part) for part in parts}
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _stopped(tasks, patience=0.2)
    for task in done:
        task.result()


async def _stopped(tasks: set[asyncio.Task[None]], *, patience: float) -> None:
    """Cancel tasks until they have ended: a cancellation that meets a timeout of the client gets lost."""
    pending = tasks
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=patience)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # seen, so that nobody reports it


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or "too late"
