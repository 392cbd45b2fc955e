import pytest
from langchain_core.documents import Document
from langchain_tests.integration_tests import VectorStoreIntegrationTests

from agentkit.errors import ConfigurationError, DatabaseError, DocumentError
from agentkit.rag.chunking import Chunk
from agentkit.rag.embeddings.base import EmbeddingSpec
from agentkit.rag.records import NewDocument
from agentkit.rag.vector_store import PgVectorStore

SPEC = EmbeddingSpec("test/langchain", 6)


class TestStandardSuite(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, migrated_url: str):
        store = PgVectorStore.connect(migrated_url, self.get_embeddings(), spec=SPEC)
        yield store
        store.close()


@pytest.fixture
def connected(migrated_url: str, word_embeddings):
    store = PgVectorStore.connect(migrated_url, word_embeddings)
    yield store
    store.close()


def test_from_texts_and_search_with_scores(migrated_url: str, word_embeddings) -> None:
    store = PgVectorStore.from_texts(
        ["red apple", "blue sky"], word_embeddings, [{"n": 1}, {"n": 2}], url=migrated_url
    )
    ((document, similarity), _) = store.similarity_search_with_score("red apple", k=2)
    assert (document.page_content, document.metadata, round(similarity, 2)) == ("red apple", {"n": 1}, 1.0)
    (nearest, _) = store.similarity_search_with_relevance_scores("blue sky", k=2)
    assert 0.99 < nearest[1] <= 1.01
    assert store.as_retriever(search_kwargs={"k": 1}).invoke("blue sky")[0].page_content == "blue sky"
    store.close()


def test_texts_of_another_length_than_metadata_are_refused(connected) -> None:
    with pytest.raises(ConfigurationError, match="as many as texts"):
        connected.add_texts(["a", "b"], [{}])
    with pytest.raises(DocumentError, match="x: its metadata is not JSON"):
        connected.add_documents([Document(id="x", page_content="t", metadata={"a": object()})])


def test_a_generator_is_stored_whole(connected) -> None:
    assert len(connected.add_texts(f"text {n}" for n in range(5))) == 5
    assert len(connected.similarity_search("text", k=9)) == 5


async def test_native_methods_work_from_any_loop_on_a_connected_store(connected) -> None:
    chunk = Chunk("some words", 0, 10, 1, 1, ("Top",))
    await connected.write([NewDocument("a.md", "0", [chunk], title="A", chunker="text-1")], scope="default")
    (document,) = await connected.asimilarity_search("some words", k=3)
    assert document.metadata["source"] == "a.md"
    assert document.metadata["heading"] == ["Top"]
    assert document.id is not None
    assert (await connected.aget_by_ids([document.id]))[0].page_content == "some words"


def test_search_by_vector(connected, word_embeddings) -> None:
    connected.add_texts(["red apple", "blue sky"])
    (first,) = connected.similarity_search_by_vector(word_embeddings.embed_query("blue sky"), k=1)
    assert first.page_content == "blue sky"


def test_a_store_on_a_pool_refuses_synchronous_calls(store) -> None:
    with pytest.raises(
        ConfigurationError, match=r"Await the method's async form, or .*PgVectorStore.connect"
    ):
        store.similarity_search("x")


def test_connecting_to_nothing_is_an_error(word_embeddings) -> None:
    with pytest.raises(DatabaseError, match="does not accept the connection"):
        PgVectorStore.connect("postgresql://127.0.0.1:1/none", word_embeddings)
    with pytest.raises(ConfigurationError, match="Pass url="):
        PgVectorStore.from_texts(["x"], word_embeddings)


def test_embeddings_must_say_what_they_are(pool) -> None:
    from langchain_core.embeddings import DeterministicFakeEmbedding

    with pytest.raises(
        ConfigurationError, match=r"DeterministicFakeEmbedding does not say .*\n.*spec=EmbeddingSpec"
    ):
        PgVectorStore(pool, DeterministicFakeEmbedding(size=6))
