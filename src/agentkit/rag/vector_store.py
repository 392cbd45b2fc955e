"""The store as LangChain's `VectorStore`, for code that expects one."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import psycopg
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool
from typing_extensions import override

from agentkit import portal
from agentkit.errors import ConfigurationError, DatabaseError, DocumentError
from agentkit.rag import documents, schema
from agentkit.rag.chunking.base import Chunk
from agentkit.rag.embeddings.base import EmbeddingSpec
from agentkit.rag.records import WHOLE_TEXT, NewDocument, RetrievedChunk
from agentkit.rag.store import ChunkStore

T = TypeVar("T")

_CONNECT_TIMEOUT: Final = 10


class PgVectorStore(ChunkStore, VectorStore):
    """Chunks with vectors and words in PostgreSQL, natively and as a LangChain `VectorStore`.

    Given a pool, the store is async: its synchronous methods refuse, because a pool
    belongs to one event loop. `connect` makes a store whose methods all work anywhere.

    LangChain's `add_texts` stores every text whole, as one document with one chunk;
    `agentkit.rag.ingest` cuts files into chunks. Searches find both.

    Args:
        pool: Connections in autocommit with rows as dictionaries.
        embeddings: Embeds chunks and queries.
        spec: What the vectors belong to; needed when `embeddings` does not say it itself.
        tenant: Default for every method.
        scope: Where LangChain's methods add, search and delete.
        language: PostgreSQL text search configuration for words.
    """

    def __init__(
        self,
        pool: schema.Pool,
        embeddings: Embeddings,
        *,
        spec: EmbeddingSpec | None = None,
        tenant: str = "default",
        scope: str = "default",
        language: str = "english",
    ) -> None:
        super().__init__(pool, embeddings, spec=spec, tenant=tenant, language=language)
        self.scope = scope

    @classmethod
    def connect(cls, url: str, embeddings: Embeddings, **options: Any) -> Self:
        """Open a store with connections of its own; end it with `close` or `aclose`.

        Args:
            url: PostgreSQL URL of a migrated database.
            embeddings: Embeds chunks and queries.
            **options: The constructor's other arguments.

        Raises:
            DatabaseError: The server does not accept the connection within ten seconds.
        """
        pool, loop = portal.run(_open_pool, url)
        store = cls(pool, embeddings, **options)
        store._home = loop
        return store

    def close(self) -> None:
        """Close the connections `connect` opened."""
        self.run_sync(self.aclose)

    async def aclose(self) -> None:
        """Close the connections `connect` opened; a pool that was passed in is its owner's to close."""
        if self._home is None:
            return
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._pool.close(), self._home))

    @property
    @override
    def embeddings(self) -> Embeddings:
        return self._embedder

    @override
    async def aadd_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Add texts whole, or replace those of the same id; return their ids, made up where missing.

        Raises:
            ConfigurationError: `metadatas` or `ids` has another length than `texts`.
            DocumentError: Metadata JSON cannot hold.
        """
        given = list(texts)
        nothing: dict[str, Any] = {}
        if any(other is not None and len(other) != len(given) for other in (metadatas, ids)):
            raise ConfigurationError("metadatas and ids must be as many as texts.")
        names = [name or str(uuid4()) for name in ids or [None] * len(given)]
        new = {
            name: _whole(name, text, metadata)
            for name, text, metadata in zip(names, given, metadatas or [nothing] * len(given), strict=True)
        }
        if new:
            await self.write(list(new.values()), scope=self.scope)
        return names

    @override
    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """As `aadd_texts`."""
        return self.run_sync(partial(self.aadd_texts, texts, metadatas, ids=ids))

    @override
    async def adelete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """Delete added texts by id, all of this store's scope when `ids` is None."""
        await self._db(partial(documents.delete_texts, tenant=self.tenant, scope=self.scope, ids=ids))
        return True

    @override
    def delete(self, ids: list[str] | None = None, **kwargs: Any) -> bool:
        """As `adelete`."""
        return self.run_sync(partial(self.adelete, ids))

    @override
    async def aget_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Return added texts, or chunks by their own id, in the order asked for; unknown ids are left out."""
        found = await self._db(partial(documents.get_texts, tenant=self.tenant, scope=self.scope, ids=ids))
        return [Document(id=name, page_content=text, metadata=metadata) for name, text, metadata in found]

    @override
    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """As `aget_by_ids`."""
        return self.run_sync(partial(self.aget_by_ids, ids))

    @override
    async def asimilarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """Return documents with their cosine similarity, nearest first.

        Args:
            query: What to look for.
            k: How many.
            **kwargs: `scopes`, `tenant` and `mode` of `search_chunks`; by default this
                store's scope, by vectors alone.
        """
        options: dict[str, Any] = {"scopes": (self.scope,), "mode": "dense", **kwargs}
        found = await self.search_chunks(query, k=k, **options)
        return [(to_document(chunk), chunk.similarity or 0.0) for chunk in found]

    @override
    def similarity_search_with_score(
        self, query: str, k: int = 4, **kwargs: Any
    ) -> list[tuple[Document, float]]:
        """As `asimilarity_search_with_score`."""
        return self.run_sync(partial(self.asimilarity_search_with_score, query, k, **kwargs))

    @override
    async def asimilarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """Return documents, nearest first; arguments as in `asimilarity_search_with_score`."""
        return [document for document, _ in await self.asimilarity_search_with_score(query, k, **kwargs)]

    @override
    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """As `asimilarity_search`."""
        return self.run_sync(partial(self.asimilarity_search, query, k, **kwargs))

    @override
    async def asimilarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """Return documents nearest to a vector of this store's model; `scopes` and `tenant` as elsewhere."""
        options: dict[str, Any] = {"scopes": (self.scope,), **kwargs}
        return [to_document(chunk) for chunk in await self.search_vector(embedding, k=k, **options)]

    @override
    def similarity_search_by_vector(
        self, embedding: list[float], k: int = 4, **kwargs: Any
    ) -> list[Document]:
        """As `asimilarity_search_by_vector`."""
        return self.run_sync(partial(self.asimilarity_search_by_vector, embedding, k, **kwargs))

    @override
    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        return lambda similarity: max(0.0, similarity)

    @classmethod
    @override
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        url: str = "",
        **kwargs: Any,
    ) -> Self:
        """Connect to the migrated database at `url` and add `texts`; other arguments as in `connect`."""
        if not url:
            raise ConfigurationError(
                "from_texts needs to know the database.", hint="Pass url='postgresql://…'."
            )
        store = cls.connect(url, embedding, **kwargs)
        store.add_texts(texts, metadatas, ids=ids)
        return store

    def run_sync(self, work: Callable[[], Awaitable[T]]) -> T:
        """Run async `work` on this store from synchronous code.

        Raises:
            ConfigurationError: The store was given a pool instead of being connected.
        """
        if self._home is None:
            raise ConfigurationError(
                "This store's connections belong to an event loop, so it is for async code.",
                hint="Await the method's async form, or make the store with PgVectorStore.connect(url, …).",
            )
        return portal.run(work)


def to_document(chunk: RetrievedChunk) -> Document:
    """Return a chunk as a LangChain document; a text that was added whole comes back as it was."""
    if chunk.chunker == WHOLE_TEXT:
        return Document(id=chunk.source_uri, page_content=chunk.text, metadata=dict(chunk.metadata))
    metadata = {
        **chunk.metadata,
        "source": chunk.source_uri,
        "title": chunk.title,
        "scope": chunk.scope,
        "document_id": str(chunk.document_id),
        "heading": list(chunk.heading),
        "start": chunk.start,
        "end": chunk.end,
        "start_line": chunk.start_line,
        "end_line": chunk.end_line,
        "page": chunk.page,
        "score": chunk.score,
        "similarity": chunk.similarity,
    }
    return Document(id=str(chunk.chunk_id), page_content=chunk.text, metadata=metadata)


def _whole(name: str, text: str, metadata: dict[str, Any]) -> NewDocument:
    try:
        json.dumps(metadata, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DocumentError(name, f"its metadata is not JSON: {error}") from error
    chunk = Chunk(text, 0, len(text), 1, text.count("\n") + 1)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return NewDocument(source_uri=name, sha256=digest, chunks=[chunk], metadata=metadata)


async def _open_pool(url: str) -> tuple[schema.Pool, asyncio.AbstractEventLoop]:
    options: dict[str, Any] = {
        "autocommit": True,
        "prepare_threshold": None,
        "row_factory": dict_row,
        "application_name": "agentkit",
    }
    try:
        # once by itself: a pool would keep trying and then not say why it failed
        async with await psycopg.AsyncConnection.connect(url, connect_timeout=_CONNECT_TIMEOUT):
            pass
    except psycopg.Error as error:
        raise DatabaseError(
            f"PostgreSQL does not accept the connection: {' '.join(str(error).split())}",
            hint="Check the URL and that the server runs.",
        ) from error
    pool: schema.Pool = AsyncConnectionPool(url, min_size=1, max_size=5, open=False, kwargs=options)
    await pool.open()
    return pool, asyncio.get_running_loop()
