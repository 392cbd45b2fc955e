"""A migrated database, a store on it, the real local embeddings, and a quick stand-in for bulk."""

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from agentkit.database import migrate
from agentkit.database.pool import Pool, open_pool
from agentkit.rag import MIGRATIONS
from agentkit.rag.embeddings.base import EmbeddingModel, EmbeddingSpec
from agentkit.rag.embeddings.local import LocalEmbeddings
from agentkit.rag.vector_store import PgVectorStore
from agentkit.weights import WeightsStore


class WordEmbeddings(EmbeddingModel):
    """Sums a fixed random vector per word: texts that share words are alike. Counts what it embeds."""

    def __init__(self, name: str = "test/words", dimension: int = 32) -> None:
        self._spec = EmbeddingSpec(name, dimension)
        self.embedded: list[str] = []
        self._words: dict[str, NDArray[np.float64]] = {}

    @property
    def spec(self) -> EmbeddingSpec:
        return self._spec

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.embedded += texts
        return [self._vector(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vector(text)

    def _vector(self, text: str) -> list[float]:
        return sum(self._word(word) for word in text.lower().split() or [""]).tolist()

    def _word(self, word: str) -> NDArray[np.float64]:
        if word not in self._words:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
            self._words[word] = np.random.default_rng(seed).normal(size=self._spec.dimension)
        return self._words[word]


@pytest.fixture
def word_embeddings() -> WordEmbeddings:
    return WordEmbeddings()


@pytest.fixture
def other_embeddings() -> WordEmbeddings:
    return WordEmbeddings("test/other", 16)


@pytest.fixture(scope="session")
def local_embeddings(models_dir: Path) -> LocalEmbeddings:
    weights = WeightsStore(models_dir).ensure("all-minilm-l6-v2")
    return LocalEmbeddings(weights.file("model.onnx"), weights.file("tokenizer.json"))


@pytest.fixture
async def migrated_url(database_url: str) -> str:
    await migrate.apply(database_url, [MIGRATIONS])
    return database_url


@pytest.fixture
async def pool(migrated_url: str) -> AsyncIterator[Pool]:
    async with open_pool(migrated_url) as opened:
        yield opened


@pytest.fixture
def store(pool: Pool, word_embeddings: WordEmbeddings) -> PgVectorStore:
    return PgVectorStore(pool, word_embeddings)
