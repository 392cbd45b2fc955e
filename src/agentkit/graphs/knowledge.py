"""From a retriever to an agent's retrieval node."""

from typing import Any, cast

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever

from agentkit.context import RunContext
from agentkit.graphs.nodes import Retrieve
from agentkit.graphs.state import Source
from agentkit.rag.records import RetrievedChunk
from agentkit.rag.retriever import RAGRetriever


def scoped(retriever: RAGRetriever) -> Retrieve:
    """Retrieve from the retriever's scopes, and of those only what the run may read."""

    async def retrieve(question: str, context: RunContext) -> list[Source]:
        own = retriever.knowledge_scope
        scopes = context.allowed(own) if own is not None else context.scopes
        if scopes is not None and not scopes:
            return []
        chunks = await retriever.retrieve(
            question,
            knowledge_scope=None if scopes is None else sorted(scopes),
            tenant=context.tenant,
            request_id=context.request_id,
        )
        return [_source(index, chunk) for index, chunk in enumerate(chunks, start=1)]

    return retrieve


def documents(retriever: BaseRetriever) -> Retrieve:
    """Retrieve through any LangChain retriever; scopes and tenants are then its own affair."""

    async def retrieve(question: str, context: RunContext) -> list[Source]:
        del context
        found = await retriever.ainvoke(question)
        return [_document_source(index, document) for index, document in enumerate(found, start=1)]

    return retrieve


def _source(index: int, chunk: RetrievedChunk) -> Source:
    return Source(
        index=index,
        uri=chunk.source_uri,
        title=chunk.title,
        heading=" > ".join(chunk.heading),
        start_line=chunk.start_line,
        end_line=chunk.end_line,
        page=chunk.page,
        scope=chunk.scope,
        score=round(chunk.score, 6),
        similarity=None if chunk.similarity is None else round(chunk.similarity, 4),
        text=chunk.text,
    )


def _document_source(index: int, document: Document) -> Source:
    metadata = cast("dict[str, Any]", document.metadata)
    uri = metadata.get("source_uri") or metadata.get("source") or document.id or f"document {index}"
    return Source(
        index=index,
        uri=str(uri),
        title=str(metadata.get("title", "")),
        heading=str(metadata.get("heading", "")),
        start_line=int(metadata.get("start_line", 0)),
        end_line=int(metadata.get("end_line", 0)),
        page=metadata.get("page"),
        scope=str(metadata.get("scope", "")),
        score=float(metadata.get("score", 0.0)),
        similarity=metadata.get("similarity"),
        text=document.page_content,
    )
