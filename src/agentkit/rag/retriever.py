"""From a question to the chunks worth showing a model."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, Field
from typing_extensions import override

from agentkit.events import EventBus, RetrievalFinished, Status
from agentkit.rag.records import RetrievedChunk, SearchMode
from agentkit.rag.vector_store import PgVectorStore, to_document

DEFAULT_K = 6


class RAGRetriever(BaseRetriever):
    """Searches a store within a fixed scope, drops what is not alike, keeps to a token budget.

    A LangChain retriever (`ainvoke` gives Documents) and, by `retrieve`, a typed one.

    Attributes:
        store: Where to search.
        k: How many chunks at most, 1 to 1,000.
        knowledge_scope: Scopes to search; None means all of the tenant's, empty means none.
        tenant: Whose documents.
        mode: Vectors and words fused, vectors alone, or words alone.
        min_similarity: Chunks whose cosine similarity to the question is lower are left
            out, so that "nothing found" can be the answer. Depends on the embedding model;
            does not apply to searches by words alone.
        max_tokens: Budget for all chunks together, or None.
        count_tokens: How many tokens a text has; by default a quarter of its characters.
        events: Where `RetrievalFinished` goes.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    store: PgVectorStore
    k: int = Field(default=DEFAULT_K, ge=1, le=1000)
    knowledge_scope: tuple[str, ...] | None = None
    tenant: str = "default"
    mode: SearchMode = "hybrid"
    min_similarity: float = Field(default=0.0, ge=-1.0, le=1.0)
    max_tokens: int | None = None
    count_tokens: Callable[[str], int] | None = None
    events: EventBus | None = None

    async def retrieve(
        self,
        query: str,
        k: int | None = None,
        *,
        knowledge_scope: Sequence[str] | None = None,
        tenant: str | None = None,
        request_id: str = "",
    ) -> list[RetrievedChunk]:
        """Return the chunks that answer `query`, best first; none is an answer too.

        Args:
            query: A question or some words.
            k: How many at most; the retriever's own by default.
            knowledge_scope: Narrower scopes to search; those the retriever does not have
                are ignored, so a caller cannot widen it.
            tenant: Whose documents; the retriever's own by default.
            request_id: Correlates the event with a run.

        Raises:
            EmbeddingError: The scopes hold only vectors of another model, or embedding failed.
            DatabaseError: PostgreSQL is away or has no tables.
        """
        scopes = self._narrowed(knowledge_scope)
        started = time.perf_counter()
        status: Status = "error"
        chunks: list[RetrievedChunk] = []
        try:
            found = await self.store.search_chunks(
                query, k=k or self.k, scopes=scopes, tenant=tenant or self.tenant, mode=self.mode
            )
            alike = [chunk for chunk in found if _alike(chunk, self.min_similarity)]
            chunks = within_budget(alike, self.max_tokens, self.count_tokens)
            status = "ok"
        except asyncio.CancelledError:
            status = "cancelled"
            raise
        finally:
            if self.events is not None:
                duration = time.perf_counter() - started
                self.events.emit(
                    RetrievalFinished(tuple(scopes or ()), len(chunks), duration, request_id, status)
                )
        return chunks

    def _narrowed(self, asked: Sequence[str] | None) -> Sequence[str] | None:
        if asked is None or self.knowledge_scope is None or isinstance(asked, str):
            return self.knowledge_scope if asked is None else asked
        return [scope for scope in asked if scope in self.knowledge_scope]

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        return [to_document(chunk) for chunk in await self.retrieve(query, **kwargs)]

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        chunks = self.store.run_sync(lambda: self.retrieve(query, **kwargs))
        return [to_document(chunk) for chunk in chunks]


def estimate_tokens(text: str) -> int:
    """Return about how many tokens `text` has: one for four characters, rounded up."""
    return (len(text) + 3) // 4


def within_budget(
    chunks: Iterable[RetrievedChunk],
    max_tokens: int | None,
    count_tokens: Callable[[str], int] | None = None,
) -> list[RetrievedChunk]:
    """Return the chunks that fit into `max_tokens` together, whole, best first.

    One that does not fit is left out; a smaller one after it may still fit.
    """
    if max_tokens is None:
        return list(chunks)
    count = count_tokens or estimate_tokens
    kept: list[RetrievedChunk] = []
    left = max_tokens
    for chunk in chunks:
        if (tokens := count(chunk.text)) <= left:
            kept.append(chunk)
            left -= tokens
    return kept


def _alike(chunk: RetrievedChunk, minimum: float) -> bool:
    return chunk.similarity is None or chunk.similarity >= minimum
