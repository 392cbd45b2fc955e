"""The native store: documents in, the best chunks out, on PostgreSQL with pgvector."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar
from uuid import UUID

import numpy as np
import psycopg
from langchain_core.embeddings import Embeddings
from psycopg_pool import PoolClosed, PoolTimeout

from agentkit.errors import ConfigurationError, DatabaseError, DocumentError, EmbeddingError, UnknownNameError
from agentkit.rag import documents, schema, search, writing
from agentkit.rag.embeddings.base import EmbeddingModel, EmbeddingSpec
from agentkit.rag.records import (
    SEARCH_MODES,
    DocumentState,
    NewDocument,
    RetrievedChunk,
    SearchMode,
    StoredDocument,
    WriteResult,
)

T = TypeVar("T")

WriteProgress = Callable[[int, int], None]
"""Called with chunks embedded or reused so far, and chunks in total."""

MAX_K: Final = 1000

_EMBEDDING_BATCH: Final = 64


class ChunkStore:
    """Chunks with vectors and words in PostgreSQL; `agentkit.rag.MIGRATIONS` makes the tables.

    Args:
        pool: Connections in autocommit with rows as dictionaries.
        embeddings: Embeds chunks and queries.
        spec: What the vectors belong to; needed when `embeddings` does not say it itself.
        tenant: Default for every method.
        language: PostgreSQL text search configuration for words. One for a database:
            words stored under another one are not found.

    Every method raises DatabaseError when PostgreSQL is away or has no tables.
    """

    def __init__(
        self,
        pool: schema.Pool,
        embeddings: Embeddings,
        *,
        spec: EmbeddingSpec | None = None,
        tenant: str = "default",
        language: str = "english",
    ) -> None:
        if spec is None:
            if not isinstance(embeddings, EmbeddingModel):
                raise ConfigurationError(
                    f"{type(embeddings).__name__} does not say which model its vectors belong to.",
                    hint="Pass spec=EmbeddingSpec(model=…, dimension=…), or use an agentkit EmbeddingModel.",
                )
            spec = embeddings.spec
        self.spec: Final = spec
        self.tenant: Final = tenant
        self._embedder = embeddings
        self._pool = pool
        self._language = language
        self._model: schema.RegisteredModel | None = None
        self._home: asyncio.AbstractEventLoop | None = None  # the pool's loop when it is not the caller's

    async def write(
        self,
        new: Sequence[NewDocument],
        *,
        scope: str,
        tenant: str | None = None,
        progress: WriteProgress | None = None,
    ) -> WriteResult:
        """Add documents, or replace those of the same URI, in one transaction.

        A chunk whose text the tenant has already, under the same model, is not embedded again.

        Args:
            new: With distinct `source_uri`.
            scope: Knowledge scope they belong to.
            tenant: Whose they are; the store's own by default.
            progress: Called as chunks get their vectors.

        Raises:
            DocumentError: A text holds what PostgreSQL cannot store.
            EmbeddingError: The model returned vectors of another number or dimension.
        """
        for document in new:
            writing.require_storable(document)
        texts = {
            writing.content_hash(chunk): writing.embedded_text(chunk)
            for document in new
            for chunk in document.chunks
        }
        owner = tenant or self.tenant
        model = await self._registered()
        vectors = await self._db(
            partial(writing.known_vectors, tenant=owner, model=model, hashes=list(texts))
        )
        missing = [digest for digest in texts if digest not in vectors]
        report = progress or _silent
        report(len(vectors), len(texts))
        for first in range(0, len(missing), _EMBEDDING_BATCH):
            batch = missing[first : first + _EMBEDDING_BATCH]
            embedded = await self._embed([texts[digest] for digest in batch])
            vectors.update(zip(batch, embedded, strict=True))
            report(len(vectors), len(texts))
        write = partial(
            writing.write_documents,
            model=model,
            documents=new,
            vectors=vectors,
            tenant=owner,
            scope=scope,
            language=self._language,
        )
        try:
            await self._db(write)
        except DatabaseError as error:
            if isinstance(error.__cause__, psycopg.DataError | psycopg.errors.ProgramLimitExceeded):
                raise DocumentError(new[0].source_uri, f"cannot be stored: {error.__cause__}") from error
            raise
        return WriteResult(sum(len(document.chunks) for document in new), len(missing))

    async def search_chunks(
        self,
        query: str,
        *,
        k: int = 6,
        scopes: Iterable[str] | None = None,
        tenant: str | None = None,
        mode: SearchMode = "hybrid",
    ) -> list[RetrievedChunk]:
        """Return the `k` chunks that answer `query` best, best first.

        Args:
            query: A question or some words, in any language.
            k: 1 to 1,000. As many come back whenever the scopes hold as many, unless
                `mode` is lexical: then a chunk must share a word with the query.
            scopes: Where to look; None means everywhere, an empty one nowhere.
            tenant: Whose documents; the store's own by default.
            mode: Vectors and words fused, vectors alone, or words alone.

        Raises:
            ConfigurationError: `k` is out of range, or `scopes` is one string.
            UnknownNameError: There is no such mode.
            EmbeddingError: The scopes hold only vectors of another model.
        """
        names = _require_search(k, scopes, mode)
        if names == () or not query.strip():
            return []
        vector = None if mode == "lexical" else await self._embed_query(query)
        return await self._search(
            search.SearchRequest(
                query=query,
                vector=vector,
                k=k,
                tenant=tenant or self.tenant,
                scopes=names,
                mode=mode,
                language=self._language,
            )
        )

    async def search_vector(
        self,
        vector: Sequence[float],
        *,
        k: int = 6,
        scopes: Iterable[str] | None = None,
        tenant: str | None = None,
    ) -> list[RetrievedChunk]:
        """Return the `k` chunks nearest to a vector of this store's model, nearest first."""
        names = _require_search(k, scopes, "dense")
        if names == ():
            return []
        return await self._search(
            search.SearchRequest(
                query="",
                vector=self._checked([vector], 1)[0],
                k=k,
                tenant=tenant or self.tenant,
                scopes=names,
                mode="dense",
                language=self._language,
            )
        )

    async def list_documents(
        self,
        *,
        scopes: Sequence[str] | None = None,
        tenant: str | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[StoredDocument]:
        """Return documents with their chunk counts, by scope and URI; all of them without `limit`."""
        return await self._db(
            partial(
                documents.list_documents,
                tenant=tenant or self.tenant,
                scopes=scopes,
                limit=limit,
                offset=offset,
            )
        )

    async def get_document(self, document: UUID, *, tenant: str | None = None) -> StoredDocument | None:
        """Return one document, None if the tenant has none of this id."""
        return await self._db(
            partial(documents.get_document, tenant=tenant or self.tenant, document=document)
        )

    async def document_states(self, *, scope: str, tenant: str | None = None) -> dict[str, DocumentState]:
        """Return what every document of a scope was made from, by URI, in one query."""
        return await self._db(partial(documents.document_states, tenant=tenant or self.tenant, scope=scope))

    async def scopes(self, *, tenant: str | None = None) -> dict[str, int]:
        """Return the tenant's scopes and how many documents each holds."""
        return await self._db(partial(documents.scopes, tenant=tenant or self.tenant))

    async def delete_documents(self, ids: Sequence[UUID], *, tenant: str | None = None) -> int:
        """Delete documents with their chunks; return how many the tenant had of them."""
        return await self._db(
            partial(documents.delete_documents, tenant=tenant or self.tenant, documents=ids)
        )

    async def optimize(self) -> bool:
        """Refresh the planner's statistics and build the vector index once it pays; after bulk changes.

        Returns:
            Whether the index was built now.
        """
        return await self._db(partial(schema.optimize, model=await self._registered()))

    async def _search(self, request: search.SearchRequest) -> list[RetrievedChunk]:
        return await self._db(partial(search.search, model=await self._registered(), request=request))

    async def _embed(self, texts: list[str]) -> list[str]:
        vectors = await self._embedder.aembed_documents(texts)
        return await asyncio.to_thread(self._checked, vectors, len(texts))

    async def _embed_query(self, query: str) -> str:
        return self._checked([await self._embedder.aembed_query(search.clean(query))], 1)[0]

    def _checked(self, vectors: Sequence[Sequence[float]], expected: int) -> list[str]:
        """Return vectors of length 1 in pgvector's text form: long ones would overflow half floats."""
        dimensions = {len(vector) for vector in vectors}
        if len(vectors) != expected or dimensions != {self.spec.dimension}:
            raise EmbeddingError(
                f"{self.spec.model} returned {len(vectors)} vectors of dimension "
                f"{sorted(dimensions)}; expected {expected} of {self.spec.dimension}.",
                hint="The embedding spec must name the model's real dimension.",
            )
        texts: list[str] = []
        for vector in vectors:
            length = float(np.linalg.norm(vector))
            if not math.isfinite(length):
                raise EmbeddingError(f"{self.spec.model} returned a vector with numbers that are not finite.")
            texts.append(writing.vector_text([number / (length or 1.0) for number in vector]))
        return texts

    async def _registered(self) -> schema.RegisteredModel:
        if self._model is None:
            self._model = await self._db(partial(schema.register_model, spec=self.spec))
        return self._model

    async def _db(self, work: Callable[[schema.Connection], Awaitable[T]]) -> T:
        """Run `work` with a connection, on the loop the pool belongs to."""
        if self._home is None or asyncio.get_running_loop() is self._home:
            return await self._with_connection(work)
        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(self._with_connection(work), self._home)
        )

    async def _with_connection(self, work: Callable[[schema.Connection], Awaitable[T]]) -> T:
        try:
            async with self._pool.connection() as connection:
                return await work(connection)
        except psycopg.errors.UndefinedTable as error:
            raise DatabaseError(
                "The database has no tables for documents.", hint="Create them with: agentkit db migrate"
            ) from error
        except psycopg.errors.UndefinedObject as error:
            if "text search configuration" not in str(error):
                raise DatabaseError(f"PostgreSQL refuses: {error}") from error
            raise ConfigurationError(
                f"PostgreSQL has no text search configuration {self._language!r}.",
                hint="Valid ones: SELECT cfgname FROM pg_ts_config; for example english, german, simple.",
            ) from error
        except (PoolTimeout, PoolClosed, psycopg.Error) as error:
            raise DatabaseError(f"PostgreSQL failed: {' '.join(str(error).split())}") from error


def _silent(_done: int, _total: int) -> None:
    """Report progress to nobody."""


def _require_search(k: int, scopes: Iterable[str] | None, mode: SearchMode) -> tuple[str, ...] | None:
    if not 1 <= k <= MAX_K:
        raise ConfigurationError(f"k is {k}.", hint=f"Choose 1 to {MAX_K}.")
    if mode not in SEARCH_MODES:
        raise UnknownNameError("search mode", mode, SEARCH_MODES)
    if isinstance(scopes, str):
        raise ConfigurationError(f"scopes is the string {scopes!r}.", hint=f"Pass a list: [{scopes!r}].")
    return None if scopes is None else tuple(dict.fromkeys(scopes))
