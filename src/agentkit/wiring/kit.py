"""Everything one application needs, made from its settings.

A `Kit` opens each part at first use, so that listing prompts starts no database, and
closes whatever was opened, last opened first.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agentkit import portal
from agentkit.blueprints import MIGRATIONS as BLUEPRINT_MIGRATIONS
from agentkit.blueprints.llm_config import model_config
from agentkit.errors import ConfigurationError
from agentkit.events import DownloadProgressed, EventBus, IngestProgressed, StageStarted
from agentkit.llm import MIGRATIONS as LLM_MIGRATIONS
from agentkit.llm.gateway import LLMGateway
from agentkit.observability.logging import log_event
from agentkit.prompts import PromptManager
from agentkit.rag import MIGRATIONS
from agentkit.resources import search_path
from agentkit.settings import Settings
from agentkit.tools.mcp import McpServers
from agentkit.weights import WeightsStore
from agentkit.wiring.answers import open_answer_cache
from agentkit.wiring.blueprints import check_blueprint, project_root
from agentkit.wiring.checkpoints import open_checkpointer, open_memory
from agentkit.wiring.live import keep, open_live
from agentkit.wiring.mcp import mcp_tools

if TYPE_CHECKING:
    from langchain_core.caches import BaseCache
    from langgraph.checkpoint.base import BaseCheckpointSaver
    from langgraph.store.base import BaseStore

    from agentkit.blueprints import LoadedBlueprint
    from agentkit.database.migrate import Migration
    from agentkit.database.pool import Pool
    from agentkit.graphs.bridge import Graph
    from agentkit.llm.lending import ChatModels
    from agentkit.llm.providers.scripted import Script
    from agentkit.llm.resilience.shared import SharedCircuits
    from agentkit.rag.embeddings import EmbeddingModel
    from agentkit.rag.ingest import Ingestor, IngestReport
    from agentkit.rag.vector_store import PgVectorStore
    from agentkit.services.live import LiveBlueprint

T = TypeVar("T")

logger = logging.getLogger(__name__)

MIGRATION_FOLDERS = (MIGRATIONS, LLM_MIGRATIONS, BLUEPRINT_MIGRATIONS)
"""Folders of SQL migrations, see `agentkit.database.migrate`."""

_LOOP_PATIENCE = 0.25

EMBEDDED_DATABASE = "agentkit"
"""Database on the embedded server; `postgres` is left to PostgreSQL."""


class Kit:
    """Everything one application needs, made from its settings. Get one from `agentkit.open()`.

    Attributes:
        settings: What it was made from.
        events: Where everything that happens is reported.
        prompts: Prompts by name and version.
        weights: Model weights on this machine.
        gateway: Chat models by name.
        mcp: MCP servers that were connected.
    """

    def __init__(
        self, settings: Settings, events: EventBus, *, home: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.settings = settings
        self.events = events
        self.prompts = PromptManager(search_path("prompts", settings.prompts_dir))
        self.weights = WeightsStore(settings.data_dir / "models")
        self.gateway = LLMGateway(
            {
                name: model_config(name, settings.models, allowed_modules=settings.security.allowed_modules)
                for name in settings.models
            },
            events=events,
            weights=self.weights,
            ollama_base_url=settings.ollama.base_url,
            progress=self.downloading,
            circuits=_circuits(settings),
            openai_api_key=settings.openai_api_key,
            anthropic_api_key=settings.anthropic_api_key,
            vllm_base_url=settings.vllm.base_url,
            cache=self._answer_cache,
        )
        self._home = home or asyncio.get_running_loop()
        self._closed = False
        self._parts: dict[str, asyncio.Task[Any]] = {}
        self._graphs: dict[tuple[str, bool], Graph] = {}
        self._building = asyncio.Lock()
        self._resources = AsyncExitStack()
        self._resources.push_async_callback(self.gateway.aclose)
        self.mcp = McpServers()
        self._resources.push_async_callback(self.mcp.aclose)

    def blueprint(self, name_or_path: str | Path) -> "LoadedBlueprint":
        """Find, read and check a blueprint; nothing is started for it. Raises as `check_blueprint`."""
        return check_blueprint(name_or_path, self.settings, self.prompts)

    async def graph(self, name_or_path: str | Path, *, checkpointer: bool = True) -> "Graph":
        """Return the compiled graph of a blueprint, cached by the blueprint's digest.

        The first call for a digest brings the blueprint's knowledge sources up to date.

        Args:
            name_or_path: Name of a blueprint, or path of its folder or file.
            checkpointer: False leaves the blueprint's out, for a server that brings its own.

        Raises:
            UnknownNameError: There is no such blueprint.
            BlueprintError: It is faulty.
            DatabaseError: The database it needs is not available.
            WeightsError: The embedding model it needs is not available.
            McpServerError: An MCP server its agents use cannot be reached.
        """
        loaded = await asyncio.to_thread(self.blueprint, name_or_path)
        async with self._building:
            key = loaded.digest, checkpointer
            if key not in self._graphs:
                for warning in loaded.warnings:
                    logger.warning("%s", warning)
                await self.refresh(loaded)
                kind = None if checkpointer else "none"
                self._graphs[key] = await self._compile(loaded, checkpointer=kind)
                if checkpointer:
                    await keep(self, loaded)
            return self._graphs[key]

    def live(
        self, name_or_path: str | Path, *, watch: bool = False, poll: float | None = None
    ) -> "AbstractAsyncContextManager[LiveBlueprint]":
        """Open a blueprint that may change while it runs; threads stay on the graph they wait in.

        Args:
            name_or_path: Name of a blueprint, or path of its folder or file.
            watch: Whether to follow changes of its files and prompts.
            poll: Look for them every so many seconds, where the file system tells nothing (NFS).

        Raises:
            MissingExtraError: `watch` needs the extra `reload`; `poll` does not.
        """
        return open_live(self, name_or_path, self._compile, self._checkpointer, watch=watch, poll=poll)

    async def refresh(self, loaded: "LoadedBlueprint") -> "list[IngestReport]":
        """Bring a blueprint's knowledge sources, and its teams', up to date.

        Unchanged files cost one query.
        """
        # Each part names its documents as it does when it runs by itself; a team may be there twice.
        named = {
            (source.path, source.scope, project_root(part)): part.spec.name
            for part in loaded.everything()
            for source in part.sources
        }
        reports: list[IngestReport] = []
        for (path, scope, root), name in named.items():
            ingestor = await self.ingestor()
            report = await ingestor.ingest(
                [path], scope=scope, root=root, sync=True, progress=self._ingesting
            )
            for error in report.errors:
                logger.warning("a knowledge source of %s is left out: %s", name, error)
            reports.append(report)
        return reports

    async def ingest(
        self, paths: Sequence[Path], *, scope: str, tenant: str = "default", sync: bool = False
    ) -> "IngestReport":
        """Bring files and folders into a knowledge scope.

        Args:
            paths: Files and folders. Documents are named by their path relative to the
                working directory when all are beneath it, else to their own project.
            scope: Knowledge scope.
            tenant: Whose documents they are.
            sync: Also remove documents whose files are gone from the given folders.
        """
        ingestor = await self.ingestor()
        here = Path.cwd()
        beneath = all(path.resolve().is_relative_to(here) for path in paths)
        return await ingestor.ingest(
            paths,
            scope=scope,
            tenant=tenant,
            root=here if beneath else None,
            sync=sync,
            progress=self._ingesting,
        )

    async def ingestor(self) -> "Ingestor":
        """What files are ingested with."""
        from agentkit.rag.ingest import Ingestor

        return Ingestor(await self.store(), events=self.events)

    async def database_url(self) -> str:
        """URL of the database: the configured one, or the embedded server, started at first use.

        Raises:
            DatabaseError: It does not answer.
            MissingExtraError: None is configured and the extra `local` is not installed.
        """
        return await self._once("database_url", self._open_database)

    async def migrate(self) -> "tuple[Migration, ...]":
        """Apply the migrations the database lacks, and return them.

        Raises:
            DatabaseError: It does not answer, or has no pgvector.
            MigrationError: A migration failed, or the database is newer than this package.
        """
        from agentkit.database import migrate

        return await migrate.apply(await self.database_url(), MIGRATION_FOLDERS)

    async def pool(self) -> "Pool":
        """Connections to the migrated database."""
        return await self._once("pool", self._open_pool)

    async def embeddings(self) -> "EmbeddingModel":
        """The configured embedding model; the local one's weights are fetched at first use."""
        return await self._once("embeddings", self._open_embeddings)

    async def store(self) -> "PgVectorStore":
        """The vector store."""
        return await self._once("store", self._open_store)

    async def answer_cache(self) -> "BaseCache":
        """Where models with a `cache` keep their answers, as `settings.cache.store` says.

        Raises:
            DatabaseError: It is PostgreSQL, and that is not available.
            MissingExtraError: It is Redis, and the extra `redis` is not installed.
            ConfigurationError: It is Redis, and `redis_url` is not set; or the kit is closed.
        """
        if self._closed:  # a model may outlive the kit, and must not start a database again
            raise ConfigurationError("The kit is closed.")
        return await self._once("answer cache", self._open_answer_cache)

    async def aclose(self) -> None:
        """Close everything that was opened. The kit cannot be used afterwards."""
        self._closed = True
        for task in self._parts.values():
            task.cancel()
        await asyncio.gather(*self._parts.values(), return_exceptions=True)
        await self._resources.aclose()

    async def _once(self, name: str, make: Callable[[], Awaitable[T]]) -> T:
        """Make a part at most once, however many ask at the same time; a failure may be tried again."""
        task = cast("asyncio.Task[T] | None", self._parts.get(name))
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):

            async def making() -> T:
                return await make()

            task = self._parts[name] = asyncio.create_task(making(), name=f"open {name}")
        # Shielded: one caller's cancellation must not take the part from the others.
        return await asyncio.shield(task)

    async def _open_database(self) -> str:
        from agentkit.database.pool import check, ensure_database

        configured = self.settings.database_url
        if configured is not None:
            url = configured.get_secret_value()
            await check(url)
            return url
        from agentkit.database.embedded import EmbeddedPostgres

        self.events.emit(StageStarted("Starting PostgreSQL"))
        server = EmbeddedPostgres(self.settings.data_dir / "postgres")
        await asyncio.to_thread(server.start)
        self._resources.push_async_callback(asyncio.to_thread, server.stop)
        await ensure_database(server.url(), EMBEDDED_DATABASE)
        return server.url(EMBEDDED_DATABASE)

    async def _open_pool(self) -> "Pool":
        from agentkit.database.pool import open_pool

        await self.migrate()
        url = await self.database_url()
        return await self._resources.enter_async_context(open_pool(url))

    async def _open_embeddings(self) -> "EmbeddingModel":
        from agentkit.rag.embeddings import embedding_models

        chosen = self.settings.embeddings
        kind = cast("Any", embedding_models.get(chosen.provider))
        if chosen.provider == "local":
            weights = await self.weights.aensure(chosen.model or "all-minilm-l6-v2", self.downloading)
            return kind(weights.file("model.onnx"), weights.file("tokenizer.json"))
        if chosen.provider == "ollama":
            model = {"model": chosen.model} if chosen.model else {}
            return kind(base_url=self.settings.ollama.base_url, **model)
        return kind()

    async def _open_store(self) -> "PgVectorStore":
        from agentkit.rag.vector_store import PgVectorStore

        return PgVectorStore(await self.pool(), await self.embeddings())

    async def _answer_cache(self) -> "BaseCache":
        """The answer cache for the gateway, whose models are called from any loop and thread."""
        if self._home is not asyncio.get_running_loop():
            async with asyncio.timeout(_LOOP_PATIENCE):  # a loop that is blocked will open nothing
                await portal.arun(asyncio.sleep, 0, on=self._home)
        return await portal.arun(self.answer_cache, on=self._home)

    async def _open_answer_cache(self) -> "BaseCache":
        closing = self._resources.push_async_callback
        return await open_answer_cache(self.settings, self.pool, closing)

    async def test_graph(
        self, loaded: "LoadedBlueprint", scripts: "Mapping[str, Script] | None", *, retrieve: bool
    ) -> "Graph":
        """Make a graph for one of a blueprint's own tests; it keeps conversations in memory.

        Args:
            loaded: The blueprint.
            scripts: What is said instead of models, as in `Parts`; None: the real models.
            retrieve: Whether agents find passages; the sources are not brought up to date here.
        """
        return await self._compile(loaded, scripts=scripts, retrieve=retrieve, checkpointer="memory")

    async def _compile(
        self,
        loaded: "LoadedBlueprint",
        *,
        checkpointer: "str | BaseCheckpointSaver[Any] | None" = None,
        gateway: "ChatModels | None" = None,
        scripts: "Mapping[str, Script] | None" = None,
        retrieve: bool = True,
    ) -> "Graph":
        from agentkit.blueprints.compiler import Parts, compile_blueprint, needs_embeddings, needs_store

        stored = retrieve and needs_store(loaded)
        embeds = needs_embeddings(loaded, retrieve=retrieve)
        # A test's graph has a memory of its own, as it has conversations of its own.
        memory = await self._memory(loaded.spec.runtime.store, alone=checkpointer == "memory")
        if checkpointer is None or isinstance(checkpointer, str):
            checkpointer = await self._checkpointer(checkpointer or loaded.spec.runtime.checkpointer)
        if scripts is not None:
            # Breakers and models of a test are its own: the next test starts with a clean slate.
            gateway = LLMGateway({}, events=self.events, weights=self.weights)
        parts = Parts(
            gateway=gateway or self.gateway,
            embeddings=await self.embeddings() if embeds else None,
            store=await self.store() if stored else None,
            checkpointer=checkpointer,
            memory=memory,
            events=self.events,
            home=asyncio.get_running_loop(),
            scripts=scripts,
            mcp_tools=await mcp_tools(self.mcp, loaded, scripts),
        )
        # In a thread: it imports the providers' SDKs and the blueprint's tools.
        return await asyncio.to_thread(compile_blueprint, loaded, parts)

    async def _checkpointer(self, kind: str) -> "BaseCheckpointSaver[Any] | None":
        return await open_checkpointer(kind, self.pool, self.database_url)

    async def _memory(self, kind: str, *, alone: bool) -> "BaseStore | None":
        """The store for what outlasts a conversation; a graph `alone` has one of its own, for a test."""
        if kind == "none":
            return None
        if alone:
            return await open_memory("memory", self.pool, self.database_url)
        opening = partial(open_memory, kind, self.pool, self.database_url)
        return await self._once(f"memory: {kind}", opening)

    def downloading(self, name: str, done: int, total: int) -> None:
        """Report a download of weights; a `Progress` for `WeightsStore`."""
        self.events.emit(DownloadProgressed(name, done, total))

    def _ingesting(self, done: int, total: int, source: str) -> None:
        self.events.emit(IngestProgressed(source, done, total))


def _circuits(settings: Settings) -> "SharedCircuits | None":
    """Where breakers are shared with other replicas; nothing is connected yet."""
    if settings.redis_url is None:
        return None
    from agentkit.llm.resilience.redis_circuits import RedisCircuits

    return RedisCircuits(settings.redis_url.get_secret_value())


@asynccontextmanager
async def open_kit(
    settings: Settings | None = None, *, events: EventBus | None = None
) -> AsyncGenerator[Kit]:
    """Open a `Kit` and close everything it opened at the end of the block.

    Args:
        settings: None reads the environment, `.env` and `agentkit.yaml`.
        events: Bus with subscribers of your own; None makes one.

    Raises:
        SettingsError: Some setting is wrong; all problems are listed.
    """
    events = events or EventBus()
    unsubscribe = events.subscribe(log_event)
    kit = Kit(settings or Settings.load(), events)
    try:
        yield kit
    finally:
        await kit.aclose()
        unsubscribe()
