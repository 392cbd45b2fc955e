"""Embeddings by an Ollama server; https://docs.ollama.com/api/embed."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, ValidationError

from agentkit import portal
from agentkit.errors import ConfigurationError, EmbeddingError
from agentkit.rag.embeddings.base import EmbeddingModel, EmbeddingSpec

DEFAULT_MODEL: Final = "nomic-embed-text"
DEFAULT_BASE_URL: Final = "http://127.0.0.1:11434"

KNOWN_MODELS: Final[Mapping[str, EmbeddingSpec]] = {
    spec.model: spec
    for spec in (
        # The model card: every text must start with its task.
        EmbeddingSpec("nomic-embed-text", 768, "search_document: ", "search_query: "),
        EmbeddingSpec(
            "mxbai-embed-large", 1024, "", "Represent this sentence for searching relevant passages: "
        ),
        EmbeddingSpec(
            "snowflake-arctic-embed", 1024, "", "Represent this sentence for searching relevant passages: "
        ),
        EmbeddingSpec("bge-m3", 1024),
        EmbeddingSpec("all-minilm", 384),
    )
}
"""Dimension and prefixes by the models' own cards; the name is without Ollama's tag."""

_BATCH: Final = 64
_NOT_FOUND: Final = 404


class OllamaEmbeddings(EmbeddingModel):
    """Vectors of a model that Ollama serves, with the prefixes the model was trained on.

    Args:
        model: Name in Ollama, with or without a tag.
        base_url: Where Ollama listens.
        dimension: Length of the vectors; known for the models in `KNOWN_MODELS`.
        document_prefix: Put before documents; the known model's by default.
        query_prefix: Put before queries; the known model's by default.
        timeout: Seconds one batch may take; loading the model is part of the first.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        base_url: str = DEFAULT_BASE_URL,
        dimension: int | None = None,
        document_prefix: str | None = None,
        query_prefix: str | None = None,
        timeout: float = 120.0,
    ) -> None:
        known = KNOWN_MODELS.get(model.partition(":")[0])
        if dimension is None and known is None:
            raise ConfigurationError(
                f"The dimension of the embedding model {model!r} is not known.",
                hint=f"Set it, or use one of: {', '.join(sorted(KNOWN_MODELS))}.",
            )
        default = known or EmbeddingSpec(model, 0)
        self._model = model
        self._base_url = base_url.rstrip("/")
        self._timeout = timeout
        self._spec = EmbeddingSpec(
            model=f"ollama/{model.removesuffix(':latest')}",
            dimension=dimension or default.dimension,
            document_prefix=default.document_prefix if document_prefix is None else document_prefix,
            query_prefix=default.query_prefix if query_prefix is None else query_prefix,
        )

    @property
    def spec(self) -> EmbeddingSpec:
        """Model, dimension and prefixes."""
        return self._spec

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed `texts` in batches; the vectors come in their order.

        Raises:
            EmbeddingError: Ollama is not running, does not have the model, or answers wrongly.
        """
        return await self._embed([self._spec.document_prefix + text for text in texts])

    async def aembed_query(self, text: str) -> list[float]:
        """Embed one query; errors as for `aembed_documents`."""
        return (await self._embed([self._spec.query_prefix + text]))[0]

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `aembed_documents`, for synchronous code."""
        return portal.run(self.aembed_documents, texts)

    def embed_query(self, text: str) -> list[float]:
        """As `aembed_query`, for synchronous code."""
        return portal.run(self.aembed_query, text)

    async def _embed(self, inputs: Sequence[str]) -> list[list[float]]:
        vectors: list[list[float]] = []
        # a client per call: it belongs to one event loop, this object does not.
        # trust_env=False: texts for a server on this machine must not go to a proxy.
        async with httpx.AsyncClient(timeout=self._timeout, trust_env=self._is_remote()) as client:
            for first in range(0, len(inputs), _BATCH):
                vectors += await self._embed_batch(client, inputs[first : first + _BATCH])
        return vectors

    async def _embed_batch(self, client: httpx.AsyncClient, inputs: Sequence[str]) -> list[list[float]]:
        body: dict[str, Any] = {"model": self._model, "input": list(inputs), "truncate": True}
        try:
            response = await client.post(f"{self._base_url}/api/embed", json=body)
        except httpx.TimeoutException as error:
            raise EmbeddingError(
                f"Ollama at {self._base_url} did not embed {len(inputs)} texts within {self._timeout:g} s."
            ) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise EmbeddingError(
                f"Ollama does not answer at {self._base_url}: {error}",
                hint="Start it with: ollama serve. Or use the local embedding model.",
            ) from error
        if response.status_code == _NOT_FOUND:
            raise EmbeddingError(
                f"Ollama at {self._base_url} does not have the model {self._model!r}.",
                hint=f"Get it with: ollama pull {self._model}",
            )
        if response.is_error:
            raise EmbeddingError(
                f"Ollama refuses to embed with {self._model!r}: HTTP {response.status_code} "
                f"{response.text[:300]}"
            )
        try:
            vectors = _Answer.model_validate_json(response.content).embeddings
        except ValidationError as error:
            raise EmbeddingError(f"{self._base_url} does not answer like Ollama: {error}") from error
        if len(vectors) != len(inputs) or any(len(v) != self._spec.dimension for v in vectors):
            lengths = sorted({len(vector) for vector in vectors})
            raise EmbeddingError(
                f"Ollama's {self._model!r} returned {len(vectors)} vectors of dimension {lengths} "
                f"for {len(inputs)} texts; expected {self._spec.dimension}."
            )
        return vectors

    def _is_remote(self) -> bool:
        return urlsplit(self._base_url).hostname not in ("127.0.0.1", "localhost", "::1")


class _Answer(BaseModel):
    """What `/api/embed` returns."""

    embeddings: list[list[float]]
