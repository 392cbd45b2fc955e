import asyncio
import random
from dataclasses import replace

import numpy as np
import pytest

from agentkit.errors import ConfigurationError, DatabaseError, DocumentError, EmbeddingError, UnknownNameError
from agentkit.rag import schema, search
from agentkit.rag.chunking import Chunk, TextChunker
from agentkit.rag.embeddings.base import EmbeddingSpec
from agentkit.rag.records import NewDocument
from agentkit.rag.vector_store import PgVectorStore


def document(uri: str, *texts: str, sha256: str = "0") -> NewDocument:
    return NewDocument(uri, sha256, [Chunk(text, 0, len(text), 1, 1) for text in texts], chunker="test-1")


async def counts(pool) -> tuple[int, int]:
    async with pool.connection() as connection:
        row = await (
            await connection.execute(
                "SELECT (SELECT count(*) FROM agentkit_documents) d, (SELECT count(*) FROM agentkit_chunks) c"
            )
        ).fetchone()
    return row["d"], row["c"]


async def test_finds_what_was_written_with_its_place(store) -> None:
    text = "# Ports\n\nThe gateway listens on port 8001.\n\n## Limits\n\nTen connections."
    await store.write(
        [
            NewDocument(
                "docs/a.md",
                "0",
                TextChunker(size=60).chunk_markdown(text),
                title="Ports",
                metadata={"x": [1]},
            )
        ],
        scope="architecture",
    )
    found = await store.search_chunks("which port does the gateway use", k=1)
    assert (
        found[0].text == text[found[0].start : found[0].end] == "# Ports\n\nThe gateway listens on port 8001."
    )
    assert (found[0].source_uri, found[0].title, found[0].scope) == ("docs/a.md", "Ports", "architecture")
    assert (found[0].start_line, found[0].end_line, found[0].heading) == (1, 3, ("Ports",))
    assert found[0].metadata == {"x": [1]}
    assert 0 < found[0].similarity <= 1


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
async def test_scope_and_tenant_are_never_left(store, mode: str) -> None:
    for tenant in ("one", "two"):
        for scope in ("a", "b"):
            await store.write(
                [document("same.md", f"secret plan {tenant} {scope}")], scope=scope, tenant=tenant
            )
    found = await store.search_chunks("secret plan two b", k=10, scopes=["a"], tenant="one", mode=mode)
    assert [chunk.text for chunk in found] == ["secret plan one a"]
    assert await store.search_chunks("secret plan", scopes=[], tenant="one", mode=mode) == []
    assert await store.search_chunks("secret plan", tenant="three", mode=mode) == []
    assert len(await store.search_chunks("secret plan", k=10, tenant="one", mode=mode)) == 2


async def test_words_find_what_vectors_miss(pool, word_embeddings) -> None:
    class Blind(type(word_embeddings)):
        def _vector(self, text: str) -> list[float]:
            return [1.0] * 32

    store = PgVectorStore(pool, Blind())
    await store.write([document(f"{n}.md", f"filler number{n}") for n in range(80)], scope="s")
    await store.write([document("hit.md", "error code XK4711 appears")], scope="s")
    assert (await store.search_chunks("what is XK4711?", k=1))[0].source_uri == "hit.md"
    assert len(await store.search_chunks("nothingmatches", k=7)) == 7
    assert await store.search_chunks("nothingmatches", k=7, mode="lexical") == []


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE x; -- \\ & | ! :* <->",
        "foo(bar)['x\\'] <- 1 && !y",
        "Wo läuft der Dienst für Größe?",
        "the",
        "a\x00b",
        "\ud800 lone",
        "日本語",
        "%s %(k)s {scope}",
        "x " * 20_000,
        "it's o'clock \\'",
    ],
)
@pytest.mark.parametrize("mode", ["hybrid", "lexical"])
async def test_any_query_is_a_query(store, query: str, mode: str) -> None:
    await store.write([document("a.md", "foo bar o'clock x\\y dienst größe 日本語")], scope="s")
    assert len(await store.search_chunks(query, mode=mode)) == 1 or mode == "lexical"


async def test_an_empty_query_finds_nothing(store) -> None:
    await store.write([document("a.md", "text")], scope="s")
    assert await store.search_chunks("  \n") == []


async def test_unchanged_chunks_are_not_embedded_again(store, pool, word_embeddings) -> None:
    first = await store.write([document("a.md", "one", "two", "three")], scope="s")
    assert (first.chunks, first.embedded) == (3, 3)
    before = {c.text: c.chunk_id for c in await store.search_chunks("one two three", k=9)}
    word_embeddings.embedded.clear()
    second = await store.write([document("a.md", "zero", "two", "three", sha256="1")], scope="s")
    assert (second.chunks, second.embedded) == (3, 1)
    assert word_embeddings.embedded == ["zero"]
    after = {c.text: c.chunk_id for c in await store.search_chunks("one two three", k=9)}
    assert set(after) == {"zero", "two", "three"}
    assert after["two"] == before["two"]
    assert await counts(pool) == (1, 3)
    await store.write([document("copy.md", "two")], scope="other")
    assert word_embeddings.embedded == ["zero"]


async def test_equal_chunks_of_one_document_are_all_kept(store, pool) -> None:
    await store.write([document("a.md", "same", "same", "same")], scope="s")
    assert await counts(pool) == (1, 3)


async def test_concurrent_writers_of_one_document_leave_one_version(store, pool) -> None:
    versions = [document("a.md", *(f"v{v} part {p}" for p in range(v + 2)), sha256=str(v)) for v in range(8)]
    await asyncio.gather(*(store.write([version], scope="s") for version in versions))
    (stored,) = await store.list_documents()
    assert stored.chunks == int(stored.sha256) + 2
    assert await counts(pool) == (1, stored.chunks)
    texts = {chunk.text.split()[0] for chunk in await store.search_chunks("part", k=50)}
    assert texts == {f"v{stored.sha256}"}


async def test_opposite_orders_do_not_deadlock(store, pool) -> None:
    batch = [document(f"{n}.md", f"text {n}") for n in range(40)]
    await asyncio.gather(*(store.write(batch[:: (-1) ** n], scope="s") for n in range(8)))
    assert await counts(pool) == (40, 40)


async def test_cancelled_in_the_middle_keeps_the_old_version(pool, word_embeddings) -> None:
    store = PgVectorStore(pool, word_embeddings)
    await store.write([document("a.md", "old text")], scope="s")

    class Slow(type(word_embeddings)):
        async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
            await asyncio.sleep(60)
            return []

    task = asyncio.create_task(PgVectorStore(pool, Slow()).write([document("a.md", "new")], scope="s"))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [chunk.text for chunk in await store.search_chunks("text")] == ["old text"]


async def test_another_models_vectors_are_refused_by_name(pool, word_embeddings, other_embeddings) -> None:
    old, new = PgVectorStore(pool, word_embeddings), PgVectorStore(pool, other_embeddings)
    await old.write([document("a.md", "some text")], scope="s")
    with pytest.raises(
        EmbeddingError, match="only vectors of another embedding model: test/words.\n.*ingest"
    ):
        await new.search_chunks("some text")
    assert len(await new.search_chunks("some text", mode="lexical")) == 1
    assert await new.search_chunks("some text", scopes=["empty"]) == []
    result = await new.write([document("a.md", "some text")], scope="s")
    assert result.embedded == 1
    assert (await new.search_chunks("some text"))[0].similarity > 0.99
    with pytest.raises(EmbeddingError, match="test/other"):
        await old.search_chunks("some text")


async def test_both_models_in_one_scope_are_searched_by_words(
    pool, word_embeddings, other_embeddings
) -> None:
    await PgVectorStore(pool, word_embeddings).write([document("a.md", "alpha topic")], scope="s")
    new = PgVectorStore(pool, other_embeddings)
    await new.write([document("b.md", "beta topic")], scope="s")
    found = {chunk.source_uri: chunk.similarity for chunk in await new.search_chunks("topic", k=5)}
    assert set(found) == {"a.md", "b.md"}
    assert found["a.md"] is None


async def test_wrong_vectors_are_refused(pool, word_embeddings) -> None:
    wrong = PgVectorStore(pool, word_embeddings, spec=EmbeddingSpec("test/lies", 99))
    with pytest.raises(EmbeddingError, match=r"returned 1 vectors of dimension \[32\]; expected 1 of 99"):
        await wrong.write([document("a.md", "text")], scope="s")

    class Infinite(type(word_embeddings)):
        def _vector(self, text: str) -> list[float]:
            return [float("nan")] * 32

    with pytest.raises(EmbeddingError, match="not finite"):
        await PgVectorStore(pool, Infinite()).write([document("a.md", "text")], scope="s")


async def test_long_and_zero_vectors_are_storable(pool, word_embeddings) -> None:
    class Odd(type(word_embeddings)):
        def _vector(self, text: str) -> list[float]:
            return [0.0 if text == "zero" else 1e9] * 32

    store = PgVectorStore(pool, Odd())
    await store.write([document("a.md", "long"), document("b.md", "zero")], scope="s")
    found = {chunk.text: chunk.similarity for chunk in await store.search_chunks("long query")}
    assert found == {"long": pytest.approx(1, abs=1e-2), "zero": None}


async def test_what_postgres_cannot_hold_is_the_documents_fault(store) -> None:
    with pytest.raises(DocumentError, match="bad.md: contains NUL"):
        await store.write([document("bad.md", "a\x00b")], scope="s")
    with pytest.raises(DocumentError, match="bad.md: is not valid Unicode"):
        await store.write([document("bad.md", "a\ud800b")], scope="s")
    with pytest.raises(DocumentError, match="cannot be stored: index row"):
        await store.write([document(random.Random(1).randbytes(20_000).hex(), "text")], scope="s")


async def test_bad_arguments_name_the_valid_ones(store, pool, word_embeddings) -> None:
    with pytest.raises(ConfigurationError, match="k is 0.\nChoose 1 to 1000"):
        await store.search_chunks("x", k=0)
    with pytest.raises(ConfigurationError, match=r"Pass a list: \['docs'\]"):
        await store.search_chunks("x", scopes="docs")
    with pytest.raises(UnknownNameError, match="Valid: dense, hybrid, lexical"):
        await store.search_chunks("x", mode="hybird")
    with pytest.raises(ConfigurationError, match="no text search configuration 'klingon'.*\n.*german"):
        await PgVectorStore(pool, word_embeddings, language="klingon").write([document("a", "b")], scope="s")


async def test_an_unmigrated_database_says_so(database_url: str, word_embeddings) -> None:
    from agentkit.database.pool import open_pool

    async with open_pool(database_url) as pool:
        with pytest.raises(
            DatabaseError, match="no tables for documents.\nCreate them with: agentkit db migrate"
        ):
            await PgVectorStore(pool, word_embeddings).list_documents()


async def test_documents_are_listed_and_deleted(store, pool) -> None:
    await store.write([document("b.md", "one", "two"), document("a.md")], scope="s")
    await store.write([document("c.md", "three")], scope="t")
    listed = await store.list_documents()
    assert [(d.scope, d.source_uri, d.chunks) for d in listed] == [
        ("s", "a.md", 0),
        ("s", "b.md", 2),
        ("t", "c.md", 1),
    ]
    assert await store.list_documents(scopes=[]) == []
    assert [d.source_uri for d in await store.list_documents(limit=1, offset=1)] == ["b.md"]
    assert await store.get_document(listed[1].id) == listed[1]
    assert await store.get_document(listed[1].id, tenant="other") is None
    assert await store.scopes() == {"s": 2, "t": 1}
    assert await store.delete_documents([listed[1].id], tenant="other") == 0
    assert await store.delete_documents([listed[1].id, listed[1].id]) == 1
    assert await counts(pool) == (2, 1)


async def test_german_words_are_stemmed_by_the_german_store(pool, word_embeddings) -> None:
    german = PgVectorStore(pool, word_embeddings, language="german")
    await german.write([document("a.md", "Die Häuser stehen dort")], scope="s")
    assert len(await german.search_chunks("Haus", mode="lexical")) == 1


@pytest.fixture
async def large(pool, word_embeddings, monkeypatch) -> PgVectorStore:
    """6,000 chunks of which 60 are in the scope `rare`, with the HNSW index built."""
    monkeypatch.setattr(schema, "EXACT_ROWS", 500)
    monkeypatch.setattr("agentkit.rag.search.EXACT_ROWS", 500)
    store = PgVectorStore(pool, type(word_embeddings)("test/wide", 384))
    rng = np.random.default_rng(1)
    texts = [" ".join(f"w{n}" for n in rng.integers(0, 400, 12)) for _ in range(6000)]
    await store.write([document(f"{n}", text) for n, text in enumerate(texts[:60])], scope="rare")
    await store.write([document(f"{n}", text) for n, text in enumerate(texts[60:])], scope="common")
    assert await store.optimize()
    assert not await store.optimize()
    return store


async def test_a_rare_scope_returns_k_exact_rows_beside_an_index(large, pool) -> None:
    for query in ("w1 w2 w3", "w7", "unknown words"):
        found = await large.search_chunks(query, k=20, scopes=["rare"], mode="dense")
        everything = await large.search_chunks(query, k=60, scopes=["rare"], mode="dense")
        assert [chunk.chunk_id for chunk in found] == [chunk.chunk_id for chunk in everything[:20]]
        assert {chunk.scope for chunk in found} == {"rare"}
        assert len(everything) == 60
        similarities = [chunk.similarity for chunk in everything]
        assert similarities == sorted(similarities, reverse=True)


async def test_the_index_is_used(large, monkeypatch) -> None:
    monkeypatch.setattr(search, "_SEARCH", "EXPLAIN " + search._SEARCH)
    monkeypatch.setattr(search, "_chunk", lambda row: row["QUERY PLAN"])
    plan = "\n".join(await large.search_chunks("w1 w2", k=1, mode="dense"))
    assert "Index Scan using agentkit_chunks_hnsw_1" in plan


async def test_the_index_recalls_the_exact_answer(large, monkeypatch) -> None:
    queries = [f"w{n} w{n + 40} w{n * 3}" for n in range(20)]
    near = [await large.search_chunks(query, k=10, mode="dense") for query in queries]
    monkeypatch.setattr(search, "EXACT_ROWS", 10_000)
    exact = [await large.search_chunks(query, k=10, mode="dense") for query in queries]
    hits = sum(
        len({c.chunk_id for c in a} & {c.chunk_id for c in b}) for a, b in zip(near, exact, strict=True)
    )
    assert hits / 200 >= 0.95


async def test_k_rows_come_back_when_the_index_gives_up(large, pool, monkeypatch) -> None:
    """A filter the exact rule does not catch, and an index scan that stops early."""
    monkeypatch.setattr(search, "EXACT_ROWS", 10)
    real, exact = search._run, []

    async def run(connection, *args, **options):
        exact.append(options["exact"])
        await connection.execute("SET LOCAL hnsw.max_scan_tuples = 1")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        await connection.execute("SET LOCAL enable_seqscan = off")
        await connection.execute("SET LOCAL enable_sort = off")
        return await real(connection, *args, **options)

    monkeypatch.setattr(search, "_run", run)
    found = await large.search_chunks("w1 w2", k=50, scopes=["rare"], mode="dense")
    assert len(found) == 50
    assert exact == [False, True]


async def test_large_searches_keep_the_eight_rarest_words(large, pool) -> None:
    texts = [f"common words everywhere {n}" for n in range(3000)]
    await large.write([document(f"x{n}", text) for n, text in enumerate(texts)], scope="common")
    await large.optimize()
    query = "common words everywhere xylophone w1 w2 w3 w4 w5 w6 w7 w8 w9"
    request = search.SearchRequest(query, None, 5, "default", None, "lexical", "english")
    async with pool.connection() as connection, connection.transaction():
        model = await schema.register_model(connection, large.spec)
        plan = await search._plan(connection, model, request)
        small = await search._plan(connection, model, replace(request, scopes=("rare",)))
    assert "'xylophon'" in plan.words
    assert "'common'" not in plan.words
    assert plan.words.count("|") == 7
    assert small.words.count("|") == 12
