import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from agentkit.errors import ConfigurationError, EmbeddingError, UnknownNameError
from agentkit.rag.embeddings import embedding_models
from agentkit.rag.embeddings.local import LocalEmbeddings
from agentkit.rag.embeddings.ollama import OllamaEmbeddings


class TestLocal:
    def test_meaning_decides_likeness(self, local_embeddings: LocalEmbeddings) -> None:
        texts = ["A man is eating food.", "A man eats something.", "The capital of France is Paris."]
        vectors = np.array(local_embeddings.embed_documents(texts))
        assert vectors.shape == (3, local_embeddings.spec.dimension)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
        assert vectors[0] @ vectors[1] > 0.8
        assert vectors[0] @ vectors[2] < 0.2

    def test_a_vector_does_not_depend_on_its_batch_or_place(self, local_embeddings: LocalEmbeddings) -> None:
        texts = [f"text {n} " + "with some more words " * (n % 7) for n in range(30)]
        together = np.array(local_embeddings.embed_documents(texts))
        alone = np.array([local_embeddings.embed_query(text) for text in texts])
        assert (together * alone).sum(axis=1).min() > 0.999

    def test_the_second_half_of_a_long_text_counts(self, local_embeddings: LocalEmbeddings) -> None:
        start = "The invoice is due in thirty days. " * 25
        a, b = local_embeddings.embed_documents([start + "Whales sing.", start + "Rockets fly to Mars."])
        assert local_embeddings.count_tokens(start) > 128
        assert np.dot(a, b) < 0.99999

    def test_tokens_are_counted_beyond_the_models_limit(self, local_embeddings: LocalEmbeddings) -> None:
        assert local_embeddings.count_tokens("word " * 2000) == 2000

    @pytest.mark.parametrize("text", ["", " ", "\x00", "🙂" * 50, "x" * 5000])
    def test_odd_texts_have_vectors(self, local_embeddings: LocalEmbeddings, text: str) -> None:
        assert np.isfinite(local_embeddings.embed_query(text)).all()

    async def test_the_event_loop_goes_on_meanwhile(self, local_embeddings: LocalEmbeddings) -> None:
        task = asyncio.create_task(local_embeddings.aembed_documents(["some words " * 40] * 40))
        turns = 0
        while not task.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert turns > 3
        assert len(await task) == 40

    async def test_no_texts_no_vectors(self, local_embeddings: LocalEmbeddings) -> None:
        assert local_embeddings.embed_documents([]) == await local_embeddings.aembed_documents([]) == []

    def test_missing_files_say_how_to_get_them(self, tmp_path: Path) -> None:
        embeddings = LocalEmbeddings(tmp_path / "model.onnx", tmp_path / "tokenizer.json")
        assert embeddings.spec.dimension == 384
        with pytest.raises(EmbeddingError, match=r"model.onnx cannot be loaded.*\n.*models pull all-minilm"):
            embeddings.embed_query("x")


class OllamaHandler(BaseHTTPRequestHandler):
    """Answers `/api/embed` as Ollama does; the first number of a vector is the input's length."""

    requests: list[dict]
    status = 200
    dimension = 768

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(body)
        answer = {"embeddings": [[float(len(text))] + [0.5] * (self.dimension - 1) for text in body["input"]]}
        if self.status != 200:
            answer = {"error": f'model "{body["model"]}" not found, try pulling it first'}
        content = json.dumps(answer).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def ollama() -> Iterator[tuple[str, type[OllamaHandler]]]:
    handler = type("Handler", (OllamaHandler,), {"requests": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", handler
        server.shutdown()
        thread.join()


class TestOllama:
    async def test_nomic_gets_its_prefixes_and_batches(self, ollama) -> None:
        url, handler = ollama
        embeddings = OllamaEmbeddings(base_url=url)
        vectors = await embeddings.aembed_documents(["x" * n for n in range(150)])
        assert [vector[0] for vector in vectors] == [float(n + len("search_document: ")) for n in range(150)]
        assert [len(request["input"]) for request in handler.requests] == [64, 64, 22]
        await embeddings.aembed_query("why")
        assert handler.requests[-1]["input"] == ["search_query: why"]
        assert embeddings.spec.model == "ollama/nomic-embed-text"
        assert embeddings.spec.dimension == 768

    def test_synchronous_calls(self, ollama) -> None:
        embeddings = OllamaEmbeddings("bge-m3:latest", base_url=ollama[0], dimension=768)
        assert embeddings.embed_query("why")[0] == 3
        assert len(embeddings.embed_documents(["a", "b"])) == 2
        assert embeddings.spec.model == "ollama/bge-m3"

    async def test_not_running(self) -> None:
        with pytest.raises(EmbeddingError, match=r"does not answer at http://127.0.0.1:1.*\n.*ollama serve"):
            await OllamaEmbeddings(base_url="http://127.0.0.1:1").aembed_query("x")

    async def test_not_pulled(self, ollama) -> None:
        ollama[1].status = 404
        with pytest.raises(EmbeddingError, match="ollama pull nomic-embed-text"):
            await OllamaEmbeddings(base_url=ollama[0]).aembed_query("x")

    async def test_server_error_and_wrong_dimension(self, ollama) -> None:
        ollama[1].status = 500
        with pytest.raises(EmbeddingError, match="HTTP 500"):
            await OllamaEmbeddings(base_url=ollama[0]).aembed_query("x")
        ollama[1].status, ollama[1].dimension = 200, 5
        with pytest.raises(EmbeddingError, match=r"dimension \[5\] for 1 texts; expected 768"):
            await OllamaEmbeddings(base_url=ollama[0]).aembed_query("x")

    def test_an_unknown_models_dimension_must_be_given(self) -> None:
        with pytest.raises(ConfigurationError, match=r"'mystery' is not known.\n.*nomic-embed-text"):
            OllamaEmbeddings("mystery")
        assert OllamaEmbeddings("mystery", dimension=7).spec.dimension == 7


def test_names() -> None:
    assert embedding_models.get("local") is LocalEmbeddings
    with pytest.raises(UnknownNameError, match="Valid: local, ollama"):
        embedding_models.get("openai")
