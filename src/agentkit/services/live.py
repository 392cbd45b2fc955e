"""A blueprint that may change while it runs: new turns on the new graph, old ones on theirs.

A turn runs to its end on the graph it began on. The next turn of an idle thread takes the
current one. A thread that waits for a person goes on in what it was paused in: kept in
memory, or built again from what was kept of it under its digest.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END

from agentkit import portal
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.errors import AgentKitError, BlueprintUnavailableError, ConfigurationError, Problem
from agentkit.events import BlueprintRefused, BlueprintReloaded, EventBus
from agentkit.graphs.bridge import Graph
from agentkit.graphs.pins import Pin, aread_pin, read_pin

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Built:
    """A blueprint's graph, and how to close what it holds."""

    graph: Graph
    aclose: Callable[[], Awaitable[None]]


class Archive(Protocol):
    """Keeps blueprints by digest, beyond this process."""

    async def save(self, loaded: LoadedBlueprint) -> None:
        """Keep a blueprint."""
        ...

    async def load(self, digest: str) -> LoadedBlueprint | None:
        """Return a kept blueprint, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the files as they are now are not used.

    Attributes:
        at: When that was found.
        reason: What is wrong, in one sentence.
        problems: Every fault with its place; empty where there is only the reason.
    """

    at: datetime
    reason: str
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class LiveStatus:
    """What turns run on.

    Attributes:
        name: Name of the blueprint.
        digest: SHA-256 of what turns that begin now run on, hexadecimal.
        since: Since when.
        older: How many older states are kept, for turns or paused threads on them.
        refusal: Why the files as they are now are not used, or None if they are.
    """

    name: str
    digest: str
    since: datetime
    older: int
    refusal: Refusal | None


@dataclass(eq=False, slots=True)
class _Version:
    loaded: LoadedBlueprint
    built: Built
    since: datetime = field(default_factory=lambda: datetime.now(UTC))
    turns: int = 0
    paused: set[str] = field(default_factory=set[str])  # known only where no archive has it
    saving: asyncio.Task[None] | None = None

    @property
    def digest(self) -> str:
        return self.loaded.digest

    @property
    def saver(self) -> BaseCheckpointSaver[Any] | None:
        kept = cast("object", self.built.graph.checkpointer)
        return cast("BaseCheckpointSaver[Any]", kept) if isinstance(kept, BaseCheckpointSaver) else None

    @property
    def durable(self) -> bool:
        return self.loaded.spec.runtime.checkpointer == "postgres"


class LiveBlueprint:
    """The current graph of a blueprint, and older ones as long as threads need them.

    Made by `Kit.live`. Belongs to the event loop it was opened on; `for_turn` and
    `for_resume` may be called on any.

    Args:
        read: Reads and checks the files.
        build: Makes the graph; the checkpointer has to be the same for every graph.
        archive: Keeps blueprints whose threads outlive this process; None: nothing does.
        events: Told of reloads and refusals.
    """

    def __init__(
        self,
        read: Callable[[], LoadedBlueprint],
        build: Callable[[LoadedBlueprint], Awaitable[Built]],
        *,
        archive: Archive | None,
        events: EventBus,
    ) -> None:
        self._read = read
        self._build = build
        self._archive = archive
        self._events = events
        self._home = asyncio.get_running_loop()
        self._current: _Version | None = None
        self._older: list[_Version] = []
        self._running: dict[str, list[_Version]] = {}
        self._refusal: Refusal | None = None
        self._reloading = asyncio.Lock()
        self._rebuilding = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read and build the blueprint for the first time.

        Raises:
            AgentKitError: It is faulty, or what it needs is not available.
        """
        loaded = await asyncio.to_thread(self._read)
        self._current = _Version(loaded, await self._build(loaded))

    @property
    def graph(self) -> Graph:
        """The current graph."""
        return self._now.built.graph

    @property
    def loaded(self) -> LoadedBlueprint:
        """The current blueprint."""
        return self._now.loaded

    def status(self) -> LiveStatus:
        """Return what turns run on now."""
        now = self._now
        return LiveStatus(
            now.loaded.spec.name, now.digest, now.since, older=len(self._older), refusal=self._refusal
        )

    @asynccontextmanager
    async def for_turn(self, thread_id: str) -> AsyncGenerator[Graph]:
        """Yield the graph for a turn of a thread: the current one, unless the thread is busy or waits.

        Raises:
            BlueprintUnavailableError: It waits in what cannot be built again; the text says why,
                and how to go on.
        """
        async with self._using(thread_id, resume=False) as graph:
            yield graph

    @asynccontextmanager
    async def for_resume(self, thread_id: str) -> AsyncGenerator[Graph]:
        """Yield the graph a thread was last run with, to answer what it waits for. Raises as `for_turn`."""
        async with self._using(thread_id, resume=True) as graph:
            yield graph

    async def abandon(self, thread_id: str) -> None:
        """Give up what a thread waits for: the conversation stays, and goes on with the current graph."""
        await self.graph.aupdate_state({"configurable": {"thread_id": thread_id}}, None, as_node=END)
        for version in self._known():
            version.paused.discard(thread_id)
        self._drop_unneeded()

    async def reload(self) -> bool:
        """Read the files, and let new turns run on what they say; keep the last good if they are faulty.

        Returns:
            Whether turns run on something else now.
        """
        async with self._reloading:
            began = time.perf_counter()
            try:
                loaded = await asyncio.to_thread(self._read)
                version = await self._version(loaded)
            # A tool's module runs while it is imported, and may do anything.
            except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever it is, turns go on
                self._refuse(error)
                return False
            previous, refused = self._now, self._refusal is not None
            self._refusal = None
            if version is previous:
                if refused:
                    self._reloaded(previous.digest, began)
                return False
            for warning in loaded.warnings:
                logger.warning("%s", warning)
            version.since = datetime.now(UTC)
            self._current = version
            self._older.append(previous)
            self._reloaded(previous.digest, began)
            self._drop_unneeded()
            return True

    async def aclose(self) -> None:
        """Close all graphs' resources; what runs on them should have ended."""
        closing = [self._older.pop() for _ in range(len(self._older))]
        if self._current is not None:
            closing.append(self._current)
        for version in closing:
            await _close(version)
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def _now(self) -> _Version:
        if self._current is None:
            raise AgentKitError("The blueprint is not open.", hint="Get it from Kit.live.")
        return self._current

    def _known(self) -> Iterable[_Version]:
        return (self._now, *self._older)

    async def _version(self, loaded: LoadedBlueprint) -> _Version:
        """The version of what was read: one there is already, or a new one."""
        for version in self._known():
            # Secrets are not in the digest, but in the comparison.
            if version.digest == loaded.digest and version.loaded.spec == loaded.spec:
                if version in self._older:
                    self._older.remove(version)
                return version
        return _Version(loaded, await self._build(loaded))

    def _refuse(self, error: BaseException) -> None:
        """Note and tell why the files are not used, once for each reason."""
        if isinstance(error, AgentKitError):
            reason, problems = error.message, tuple(getattr(error, "problems", ()))
            reason = str(getattr(error, "headline", reason))
        else:
            logger.warning("a blueprint could not be built", exc_info=error)
            reason, problems = f"{type(error).__name__}: {error}", ()
        known = self._refusal
        if known is not None and (known.reason, known.problems) == (reason, problems):
            return
        self._refusal = Refusal(datetime.now(UTC), reason, problems)
        now = self._now
        told = BlueprintRefused(
            now.loaded.spec.name, now.digest, reason, tuple(str(problem) for problem in problems)
        )
        logger.warning(
            "%s stays as it was: %s", told.blueprint, "\n".join((reason, *told.problems)) or "unknown reason"
        )
        self._events.emit(told)

    def _reloaded(self, previous: str, began: float) -> None:
        now = self._now
        seconds = time.perf_counter() - began
        self._events.emit(BlueprintReloaded(now.loaded.spec.name, now.digest, previous, seconds))

    @asynccontextmanager
    async def _using(self, thread_id: str, *, resume: bool) -> AsyncGenerator[Graph]:
        version = await portal.arun(self._take, thread_id, resume, on=self._home)
        try:
            yield version.built.graph
        finally:
            if asyncio.get_running_loop() is self._home:
                self._give_back(thread_id, version)
            elif not self._home.is_closed():
                self._home.call_soon_threadsafe(self._give_back, thread_id, version)

    async def _take(self, thread_id: str, resume: bool) -> _Version:
        version = self._busy(thread_id)
        if version is None:
            pin = await self._pin(thread_id)
            version = self._busy(thread_id) or await self._of(thread_id, pin, resume=resume)
        # From here to the end nothing is awaited but what keeps `version` in use.
        version.turns += 1
        self._running.setdefault(thread_id, []).append(version)
        try:
            await self._save(version)
        except BaseException:
            self._give_back(thread_id, version)
            raise
        return version

    def _busy(self, thread_id: str) -> _Version | None:
        """What another turn of the thread is running on right now."""
        running = self._running.get(thread_id)
        return running[-1] if running else None

    async def _pin(self, thread_id: str) -> Pin | None:
        """Where a thread stands; a reload may have changed where conversations are kept."""
        found: Pin | None = None
        savers = dict.fromkeys(version.saver for version in self._known())
        for saver in savers:
            pin = None if saver is None else await aread_pin(saver, thread_id)
            if pin is not None and pin.paused:
                return pin
            found = found or pin
        return found

    async def _of(self, thread_id: str, pin: Pin | None, *, resume: bool) -> _Version:
        """The version for a thread that stands at `pin`."""
        if pin is None or not pin.digest or not (pin.paused or resume):
            return self._now
        return self._at_hand(pin.digest) or await self._rebuilt(thread_id, pin.digest)

    def _at_hand(self, digest: str) -> _Version | None:
        return next((version for version in self._known() if version.digest == digest), None)

    async def _rebuilt(self, thread_id: str, digest: str) -> _Version:
        """Build a version again from what the archive has."""
        async with self._rebuilding:
            if known := self._at_hand(digest):
                return known
            try:
                loaded = await self._archived(digest)
                version = None if loaded is None else _Version(loaded, await self._build(loaded))
            except (ConfigurationError, ImportError, SyntaxError) as error:
                raise BlueprintUnavailableError(thread_id, digest, str(error)) from error
            if version is None:
                reason = (
                    "it is not in the table agentkit_blueprints; only runtime.checkpointer postgres keeps it."
                )
                raise BlueprintUnavailableError(thread_id, digest, reason)
            self._older.append(version)
            return version

    async def _archived(self, digest: str) -> LoadedBlueprint | None:
        if self._archive is None or not any(version.durable for version in self._known()):
            return None
        return await self._archive.load(digest)

    async def _save(self, version: _Version) -> None:
        """Keep a version in the archive before its first turn: that may be paused, and we killed."""
        if self._archive is None or not version.durable:
            return
        if version.saving is None:
            saving = asyncio.create_task(self._archive.save(version.loaded), name="keep the blueprint")
            version.saving = saving
        try:
            await asyncio.shield(version.saving)
        except Exception:
            version.saving = None  # the next turn tries again
            raise

    def _give_back(self, thread_id: str, version: _Version) -> None:
        version.turns -= 1
        running = self._running[thread_id]
        running.remove(version)
        if not running:
            del self._running[thread_id]
        if version.saver is not None and not version.durable:
            for known in self._known():
                known.paused.discard(thread_id)
            pin = read_pin(version.saver, thread_id)
            if pin is not None and pin.paused:
                version.paused.add(thread_id)
        self._drop_unneeded()

    def _drop_unneeded(self) -> None:
        for version in [old for old in self._older if not old.turns and not old.paused]:
            self._older.remove(version)
            task = asyncio.create_task(_close(version), name="close an older blueprint")
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)


async def _close(version: _Version) -> None:
    try:
        await version.built.aclose()
    except Exception:
        logger.exception("what an older state of %s held was not closed", version.loaded.spec.name)
