"""A live blueprint made from settings: read where it is, built with a kit's parts, watched."""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from agentkit.blueprints import find_blueprint
from agentkit.errors import AgentKitError, MissingExtraError
from agentkit.extras import require
from agentkit.resources import search_path
from agentkit.wiring.blueprints import check_blueprint

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

    from agentkit.blueprints import LoadedBlueprint
    from agentkit.events import EventBus
    from agentkit.graphs.bridge import Graph
    from agentkit.llm.gateway import LLMGateway
    from agentkit.llm.lending import ChatModels
    from agentkit.services.live import Built, LiveBlueprint
    from agentkit.services.watching import Watched
    from agentkit.settings import Settings

logger = logging.getLogger(__name__)


class LiveKit(Protocol):
    """What of a kit a live blueprint is made with."""

    settings: "Settings"
    events: "EventBus"
    gateway: "LLMGateway"

    async def pool(self) -> Any:
        """Connections to the migrated database."""
        ...

    async def refresh(self, loaded: "LoadedBlueprint") -> Any:
        """Bring a blueprint's knowledge sources up to date."""
        ...


class Compile(Protocol):
    """How a kit compiles a blueprint with given models and checkpointer."""

    def __call__(
        self,
        loaded: "LoadedBlueprint",
        *,
        checkpointer: "BaseCheckpointSaver[Any] | None",
        gateway: "ChatModels",
    ) -> "Awaitable[Graph]":
        """Return the graph."""
        ...


@asynccontextmanager
async def open_live(
    kit: LiveKit,
    name_or_path: str | Path,
    compiling: Compile,
    checkpointer: "Callable[[str], Awaitable[BaseCheckpointSaver[Any] | None]]",
    *,
    watch: bool,
    poll: float | None,
) -> "AsyncGenerator[LiveBlueprint]":
    """Open a blueprint that may change while it runs; see `Kit.live`.

    Args:
        kit: Parts, events and settings.
        name_or_path: Which blueprint.
        compiling: Makes its graphs.
        checkpointer: Opens what keeps conversations, by kind.
        watch: Whether to follow changes.
        poll: Seconds between looks, or None.
    """
    from agentkit.services.live import LiveBlueprint

    if watch and poll is None:
        require("watchfiles", extra="reload", purpose="Watching a blueprint's files")
    settings = kit.settings
    # Found once: while a folder is being replaced, one of its name elsewhere is not meant.
    folder = search_path("blueprints", settings.blueprints_dir)
    path = await asyncio.to_thread(lambda: find_blueprint(name_or_path, folder).absolute())
    files = _Files(path, settings)
    live = LiveBlueprint(
        files.read,
        _Builder(kit, compiling, checkpointer).build,
        archive=_Archive(kit),
        events=kit.events,
    )
    await live.open()
    for warning in live.loaded.warnings:
        logger.warning("%s", warning)
    watcher = asyncio.create_task(_follow(live, files, poll), name=f"watch {path.name}") if watch else None
    try:
        yield live
    finally:
        if watcher is not None:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        await live.aclose()


async def keep(kit: LiveKit, loaded: "LoadedBlueprint") -> None:
    """Keep a blueprint whose threads outlive this process, for when one of them has to go on in it."""
    if loaded.spec.runtime.checkpointer == "postgres":
        await _Archive(kit).save(loaded)


async def _follow(live: "LiveBlueprint", files: "_Files", poll: float | None) -> None:
    from agentkit.services.watching import changes

    while True:
        try:
            async for _ in changes(files.watched, poll=poll):
                await live.reload()
        except MissingExtraError:
            raise
        except Exception:
            logger.exception("watching a blueprint's files failed; they are polled from now on")
            poll = poll or 5.0
            await asyncio.sleep(poll)


class _Files:
    """Reads a blueprint, and knows which files may matter to the next reading.

    Args:
        path: Its folder or file, absolute.
        settings: Say where prompts are.
    """

    def __init__(self, path: Path, settings: "Settings") -> None:
        self._path = path
        self._settings = settings
        self._folder = path.is_dir()
        self._read: frozenset[Path] = frozenset()
        self._wrong: frozenset[Path] = frozenset()

    def read(self) -> "LoadedBlueprint":
        """Read and check it; prompts are read anew too, so that a fault in one is a fault."""
        self._wrong = frozenset()
        try:
            loaded = check_blueprint(self._path, self._settings)
        except AgentKitError as error:
            problems = getattr(error, "problems", ())
            self._wrong = frozenset(Path(problem.file).absolute() for problem in problems if problem.file)
            raise
        self._read = frozenset(file.absolute() for file in loaded.files)
        return loaded

    def watched(self) -> "Watched":
        """The blueprint, all blueprints beside it, what it was made of, and all prompts."""
        from agentkit.services.watching import Watched

        own = self._path if self._folder else self._path.parent
        shared = next((folder for folder in self._path.parents if folder.name == "blueprints"), None)
        trees = {*search_path("prompts", self._settings.prompts_dir), *([own] if self._folder else [])}
        folders = {file.parent for file in (*self._read, *self._wrong)} | {own}
        return Watched(
            frozenset(tree.absolute() for tree in (*trees, *([shared] if shared else []))),
            frozenset(folders | {folder / "agents" for folder in folders if folder.name != "agents"}),
        )


class _Builder:
    """Builds the graphs of one live blueprint: each with models of its own, all with one checkpointer."""

    def __init__(
        self,
        kit: LiveKit,
        compiling: Compile,
        checkpointer: "Callable[[str], Awaitable[BaseCheckpointSaver[Any] | None]]",
    ) -> None:
        self._kit = kit
        self._compile = compiling
        self._open_checkpointer = checkpointer
        self._checkpointers: dict[str, BaseCheckpointSaver[Any] | None] = {}
        self._sources: tuple[Any, ...] | None = None

    async def build(self, loaded: "LoadedBlueprint") -> "Built":
        """Bring its documents up to date if it names others than before, and compile it."""
        from agentkit.services.live import Built

        sources = tuple(source for part in loaded.everything() for source in part.sources)
        if sources and sources != self._sources:
            await self._kit.refresh(loaded)
            self._sources = sources
        kind = loaded.spec.runtime.checkpointer
        if kind not in self._checkpointers:
            self._checkpointers[kind] = await self._open_checkpointer(kind)
        models = self._kit.gateway.borrow()
        try:
            graph = await self._compile(loaded, checkpointer=self._checkpointers[kind], gateway=models)
        except BaseException:
            await models.aclose()
            raise
        return Built(graph, models.aclose)


class _Archive:
    """The archive in the kit's database, which is opened at first use."""

    def __init__(self, kit: LiveKit) -> None:
        self._kit = kit

    async def save(self, loaded: "LoadedBlueprint") -> None:
        """Keep a blueprint."""
        from agentkit.blueprints.archive import BlueprintArchive

        await BlueprintArchive(await self._kit.pool(), os.environ).save(loaded)

    async def load(self, digest: str) -> "LoadedBlueprint | None":
        """Return a kept blueprint, or None."""
        from agentkit.blueprints.archive import BlueprintArchive

        return await BlueprintArchive(await self._kit.pool(), os.environ).load(digest)
