"""Retrieval quality on real questions; the data is described in ../shared/data/README.md."""

import json
from pathlib import Path

import pytest

from agentkit.rag.chunking import TextChunker
from agentkit.rag.records import NewDocument
from agentkit.rag.vector_store import PgVectorStore

DATA = Path(__file__).parents[3] / "shared" / "data" / "retrieval" / "claude_docs"


@pytest.mark.skipif(not DATA.is_dir(), reason="the question sets of ../shared/data are not here")
async def test_documentation_questions_find_their_section(pool, local_embeddings, record_property) -> None:
    def read(name: str) -> list[dict]:
        return [json.loads(line) for line in (DATA / name).read_text().splitlines()]

    store = PgVectorStore(pool, local_embeddings)
    chunker = TextChunker().named("text")
    await store.write(
        [
            NewDocument(p["id"], "0", chunker.chunk(p["text"]), title=p["title"], chunker=chunker.signature)
            for p in read("passages.jsonl")
        ],
        scope="docs",
    )
    questions = read("questions.jsonl")
    rates = {}
    for mode in ("hybrid", "dense", "lexical"):
        hits = 0
        for question in questions:
            found = await store.search_chunks(question["q"], k=20, scopes=["docs"], mode=mode)
            sections = list(dict.fromkeys(chunk.source_uri for chunk in found))[:5]
            hits += bool(set(sections) & set(question["relevant_ids"]))
        rates[mode] = hits / len(questions)
    record_property("hit@5", rates)
    assert rates["hybrid"] >= 0.90
