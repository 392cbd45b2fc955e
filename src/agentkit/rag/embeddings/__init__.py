"""Embedding models by name; another package adds one by an entry point of `agentkit.embeddings`."""

from typing import Final

from agentkit.rag.embeddings.base import EmbeddingModel, EmbeddingSpec
from agentkit.registry import Registry

embedding_models: Final = Registry[type[EmbeddingModel]](
    "embedding model",
    group="agentkit.embeddings",
    table={
        "local": "agentkit.rag.embeddings.local:LocalEmbeddings",
        "ollama": "agentkit.rag.embeddings.ollama:OllamaEmbeddings",
    },
)

__all__ = ["EmbeddingModel", "EmbeddingSpec", "embedding_models"]
