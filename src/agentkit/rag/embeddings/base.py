"""What an embedding model must say about itself."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from langchain_core.embeddings import Embeddings


@dataclass(frozen=True, slots=True)
class EmbeddingSpec:
    """What vectors belong to: two specs that differ make vectors that must not be compared.

    Attributes:
        model: Name with its provider, for example `ollama/nomic-embed-text`.
        dimension: Length of every vector; at most 4,000, what pgvector can index as halfvec.
        document_prefix: Put before every document text by the model's own convention.
        query_prefix: Put before every query.
    """

    model: str
    dimension: int
    document_prefix: str = ""
    query_prefix: str = ""


class EmbeddingModel(Embeddings, ABC):
    """LangChain `Embeddings` that declare their spec and add its prefixes themselves."""

    @property
    @abstractmethod
    def spec(self) -> EmbeddingSpec:
        """What the vectors belong to; needs no network and loads nothing."""
