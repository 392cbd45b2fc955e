import asyncio
from dataclasses import replace

import pytest

from agentkit.errors import EmbeddingError
from agentkit.events import EventBus, RetrievalFinished
from agentkit.rag.chunking import Chunk
from agentkit.rag.records import NewDocument
from agentkit.rag.retriever import RAGRetriever, estimate_tokens, within_budget
from agentkit.rag.vector_store import PgVectorStore


@pytest.fixture
async def filled(store):
    for scope, text in [
        ("ops", "restart the pod"),
        ("ops", "scale the deployment"),
        ("hr", "restart the holiday"),
    ]:
        chunk = Chunk(text, 0, len(text), 1, 1)
        await store.write([NewDocument(f"{text}.md", "0", [chunk], chunker="text-1")], scope=scope)
    return store


async def test_retrieves_within_scope_and_says_so(filled) -> None:
    events: list[RetrievalFinished] = []
    bus = EventBus()
    bus.subscribe(events.append)
    retriever = RAGRetriever(store=filled, knowledge_scope=("ops",), events=bus)
    found = await retriever.retrieve("restart the pod", request_id="r1")
    assert [chunk.text for chunk in found] == ["restart the pod", "scale the deployment"]
    assert (events[0].scopes, events[0].found, events[0].request_id, events[0].status) == (
        ("ops",),
        2,
        "r1",
        "ok",
    )
    assert len(await retriever.retrieve("restart", 1)) == 1


async def test_a_caller_can_narrow_the_scope_but_not_widen_it(filled) -> None:
    retriever = RAGRetriever(store=filled, knowledge_scope=("ops",))
    assert await retriever.retrieve("restart", knowledge_scope=("hr",)) == []
    assert len(await retriever.retrieve("restart", knowledge_scope=("hr", "ops"))) == 2
    assert await retriever.retrieve("restart", knowledge_scope=()) == []
    assert await RAGRetriever(store=filled, knowledge_scope=()).retrieve("restart") == []
    assert len(await RAGRetriever(store=filled).retrieve("restart")) == 3
    assert await RAGRetriever(store=filled).retrieve("restart", tenant="other") == []


async def test_nothing_alike_is_an_answer(filled) -> None:
    retriever = RAGRetriever(store=filled, min_similarity=0.5)
    assert [chunk.text for chunk in await retriever.retrieve("restart the pod")] == [
        "restart the pod",
        "restart the holiday",
    ]
    assert await retriever.retrieve("quantum chromodynamics lecture notes") == []


async def test_the_budget_takes_whole_chunks_best_first(filled) -> None:
    chunks = await RAGRetriever(store=filled).retrieve("restart the pod", 3)
    small, large = replace(chunks[0], text="x" * 40), replace(chunks[1], text="x" * 400)
    assert within_budget([small, large, small], 25) == [small, small]
    assert within_budget([small, large], 25, len) == []
    assert within_budget([small, large], None) == [small, large]
    assert estimate_tokens("12345") == 2
    assert len(await RAGRetriever(store=filled, max_tokens=5).retrieve("restart the pod")) == 1


async def test_failures_and_cancellations_are_events_too(pool, word_embeddings) -> None:
    class Broken(type(word_embeddings)):
        async def aembed_query(self, text: str) -> list[float]:
            if text == "wait":
                await asyncio.sleep(60)
            raise EmbeddingError("gone")

    events: list[RetrievalFinished] = []
    bus = EventBus()
    bus.subscribe(events.append)
    retriever = RAGRetriever(store=PgVectorStore(pool, Broken()), events=bus)
    with pytest.raises(EmbeddingError, match="gone"):
        await retriever.retrieve("x")
    task = asyncio.create_task(retriever.retrieve("wait"))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [event.status for event in events] == ["error", "cancelled"]


async def test_langchain_gets_documents(filled) -> None:
    (document,) = await RAGRetriever(store=filled, k=1).ainvoke("restart the pod")
    assert (document.page_content, document.metadata["source"]) == ("restart the pod", "restart the pod.md")


def test_synchronous_invoke_on_a_connected_store(migrated_url: str, word_embeddings) -> None:
    store = PgVectorStore.from_texts(["red apple"], word_embeddings, url=migrated_url)
    assert RAGRetriever(store=store).invoke("apple")[0].page_content == "red apple"
    store.close()
