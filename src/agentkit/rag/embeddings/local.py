"""Embeddings on this machine: all-MiniLM-L6-v2, 8-bit, by onnxruntime; no server and no network."""

import asyncio
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from agentkit.errors import EmbeddingError
from agentkit.extras import require
from agentkit.rag.embeddings.base import EmbeddingModel, EmbeddingSpec

if TYPE_CHECKING:
    from tokenizers import Encoding

MAX_TOKENS: Final = 512
"""All the position embeddings the model has. Its tokenizer.json says 128, which would
silently ignore the second half of most chunks; sentence-transformers says 256."""

_BATCH_TOKENS: Final = 1024  # larger ones were slower: the activations leave the cache
_MAX_THREADS: Final = 4


class LocalEmbeddings(EmbeddingModel):
    """Sentence vectors of all-MiniLM-L6-v2: mean over the tokens, length 1, 384 numbers.

    Files are loaded at first use. One instance serves any number of threads and loops.

    Args:
        model_file: The ONNX model.
        tokenizer_file: The model's tokenizer.json.
        threads: Threads one batch may use; default: the cores, at most 4.
    """

    def __init__(self, model_file: Path, tokenizer_file: Path, *, threads: int | None = None) -> None:
        self._model_file = model_file
        self._tokenizer_file = tokenizer_file
        self._threads = threads or min(_MAX_THREADS, os.cpu_count() or 1)
        self._lock = threading.Lock()
        self._loaded: tuple[Any, Any] | None = None

    @property
    def spec(self) -> EmbeddingSpec:
        """384 dimensions, no prefixes."""
        return EmbeddingSpec(model="local/all-minilm-l6-v2-int8", dimension=384)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed `texts`; the vectors come in their order.

        Raises:
            MissingExtraError: onnxruntime or tokenizers is not installed.
            EmbeddingError: The files are missing or are not this model.
        """
        vectors: list[list[float]] = [[] for _ in texts]
        for batch in self._batches(texts):
            for (place, _), vector in zip(batch, self._embed([e for _, e in batch]), strict=True):
                vectors[place] = vector
        return vectors

    def embed_query(self, text: str) -> list[float]:
        """Embed one query; same vectors as `embed_documents`."""
        return self.embed_documents([text])[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """As `embed_documents`, in a thread; a cancellation takes effect between batches."""
        vectors: list[list[float]] = [[] for _ in texts]
        batches = await asyncio.to_thread(lambda: list(self._batches(texts)))
        for batch in batches:
            computed = await asyncio.to_thread(self._embed, [e for _, e in batch])
            for (place, _), vector in zip(batch, computed, strict=True):
                vectors[place] = vector
        return vectors

    async def aembed_query(self, text: str) -> list[float]:
        """As `embed_query`, in a thread."""
        return (await self.aembed_documents([text]))[0]

    def count_tokens(self, text: str) -> int:
        """Number of tokens `text` has for this model, special ones left out, never truncated."""
        encoding = self._load()[1].encode(text, add_special_tokens=False)
        return len(encoding.ids) + sum(len(rest.ids) for rest in encoding.overflowing)

    def _batches(self, texts: Sequence[str]) -> Iterator[list[tuple[int, "Encoding"]]]:
        """Group texts of like length, so that little of a batch is padding."""
        _, tokenizer = self._load()
        encodings: list[Encoding] = tokenizer.encode_batch(list(texts))
        order = sorted(enumerate(encodings), key=lambda item: len(item[1].ids))
        batch: list[tuple[int, Encoding]] = []
        for item in order:
            # the list is ascending, so the newest member is the longest of its batch
            if batch and (len(batch) + 1) * len(item[1].ids) > _BATCH_TOKENS:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    def _embed(self, encodings: Sequence["Encoding"]) -> list[list[float]]:
        session, _ = self._load()
        longest = max(len(encoding.ids) for encoding in encodings)
        ids = np.zeros((len(encodings), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, encoding in enumerate(encodings):
            ids[row, : len(encoding.ids)] = encoding.ids
            mask[row, : len(encoding.ids)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        hidden: NDArray[np.float32] = session.run(None, inputs)[0]
        weights = mask[:, :, None].astype(np.float32)
        mean = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        unit: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True).clip(min=1e-12)
        return unit.tolist()

    def _load(self) -> tuple[Any, Any]:
        """Return (session, tokenizer), made once even when several threads ask at once."""
        with self._lock:
            if self._loaded is None:
                self._loaded = (self._session(), self._tokenizer())
            return self._loaded

    def _session(self) -> Any:
        onnxruntime = require("onnxruntime", extra="local", purpose="The local embedding model")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        # idle worker threads would otherwise spin and take the cores from everything else
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(
                str(self._model_file), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime raises a class of its own per status code
            raise self._unusable(self._model_file, error) from error

    def _tokenizer(self) -> Any:
        tokenizers = require("tokenizers", extra="local", purpose="The local embedding model")
        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(self._tokenizer_file))
        except Exception as error:  # tokenizers raises bare Exception
            raise self._unusable(self._tokenizer_file, error) from error
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        return tokenizer

    @staticmethod
    def _unusable(file: Path, error: Exception) -> EmbeddingError:
        return EmbeddingError(
            f"The embedding model's file {file.name} cannot be loaded: {error}",
            hint="Fetch it again with: agentkit models pull all-minilm-l6-v2",
        )
