"""Files into the store: only what changed is cut and embedded, each document whole or not at all."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentkit.errors import DocumentError
from agentkit.events import DocumentIngested, EventBus
from agentkit.rag.chunking import TextChunker
from agentkit.rag.loaders import MAX_BYTES, load, read_bytes
from agentkit.rag.loaders.files import Found, SourceFile, find_files
from agentkit.rag.records import WHOLE_TEXT, DocumentState, NewDocument
from agentkit.rag.store import ChunkStore, WriteProgress
from agentkit.rag.writing import document_id

Outcome = Literal["added", "updated", "unchanged", "removed", "failed"]

IngestProgress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in total and the file at work; moves within a large file too."""


@dataclass(frozen=True, slots=True)
class FileOutcome:
    """What happened to one source.

    Attributes:
        source: Its URI in the store, or the path as given when it has none.
        outcome: What happened.
        chunks: Chunks it has now.
        embedded: Chunks that had to be embedded; the rest kept their vectors.
        error: Why it failed.
        note: Something its owner should know, or an empty string.
    """

    source: str
    outcome: Outcome
    chunks: int = 0
    embedded: int = 0
    error: DocumentError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What an ingestion did.

    Attributes:
        files: One outcome per source, in the order they were looked at.
        skipped: URIs of files in folders that are not text.
    """

    files: tuple[FileOutcome, ...]
    skipped: tuple[str, ...] = ()

    def count(self, outcome: Outcome) -> int:
        """How many sources had this outcome."""
        return sum(file.outcome == outcome for file in self.files)

    @property
    def changed(self) -> bool:
        """Whether the store is different from before."""
        return any(file.outcome in ("added", "updated", "removed") for file in self.files)

    @property
    def embedded(self) -> int:
        """Chunks that had to be embedded."""
        return sum(file.embedded for file in self.files)

    @property
    def errors(self) -> tuple[DocumentError, ...]:
        """Why sources failed."""
        return tuple(file.error for file in self.files if file.error)


class Ingestor:
    """Brings a scope of the store up to date with files.

    May be killed at any moment and run again: every document is written in one
    transaction. May run several times at once: the same document is written by one
    after the other.

    Args:
        store: Where documents go; it embeds them.
        chunker: How they are cut.
        events: Where `DocumentIngested` goes.
        max_bytes: Larger files are refused.
    """

    def __init__(
        self,
        store: ChunkStore,
        *,
        chunker: TextChunker | None = None,
        events: EventBus | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._store = store
        self._chunker = chunker or TextChunker()
        self._events = events or EventBus()
        self._max_bytes = max_bytes

    async def ingest(
        self,
        paths: Sequence[Path | str],
        *,
        scope: str,
        tenant: str | None = None,
        root: Path | None = None,
        sync: bool = False,
        progress: IngestProgress | None = None,
    ) -> IngestReport:
        """Ingest files and folders; a file that fails is reported and the rest goes on.

        Args:
            paths: Files, and folders with everything beneath.
            scope: Knowledge scope the documents belong to.
            tenant: Whose they are; the store's own by default.
            root: What URIs are relative to, see `find_files`. Within a tenant and scope
                a URI is the document's identity.
            sync: Remove documents whose file is gone from the folders given.
            progress: Called as work gets done.

        Raises:
            DatabaseError: PostgreSQL is away or has no tables.
            EmbeddingError: The embedding model failed.
        """
        found = await asyncio.to_thread(find_files, paths, root)
        states = await self._store.document_states(scope=scope, tenant=tenant)
        outcomes = [
            self._emit(FileOutcome(error.source, "failed", error=error), scope, 0.0) for error in found.errors
        ]
        meter = _Meter(sum(file.size for file in found.files), progress)
        for file in found.files:
            outcomes.append(await self._file(file, states.get(file.uri), scope, tenant, meter))
            meter.finish(file)
        if sync:
            outcomes += await self._remove_gone(found, states, scope, tenant)
        report = IngestReport(tuple(outcomes), tuple(found.skipped))
        if report.changed:
            await self._store.optimize()
        return report

    async def ingest_content(
        self, source_uri: str, content: bytes, *, scope: str, tenant: str | None = None
    ) -> FileOutcome:
        """Ingest one document that is no file, for example an upload; its suffix says what it is.

        Raises:
            DocumentError: It is too large, or no text can be made of it.
            DatabaseError: PostgreSQL is away or has no tables.
            EmbeddingError: The embedding model failed.
        """
        if len(content) > self._max_bytes:
            raise DocumentError(source_uri, f"is larger than {self._max_bytes:,} bytes.", hint="Split it.")
        states = await self._store.document_states(scope=scope, tenant=tenant)
        started = time.perf_counter()
        outcome = await self._content(source_uri, content, states.get(source_uri), scope=scope, tenant=tenant)
        return self._emit(outcome, scope, time.perf_counter() - started)

    async def _file(
        self, file: SourceFile, state: DocumentState | None, scope: str, tenant: str | None, meter: "_Meter"
    ) -> FileOutcome:
        started = time.perf_counter()
        meter.start(file)
        try:
            content = await asyncio.to_thread(read_bytes, file.path, file.uri, self._max_bytes)
            outcome = await self._content(
                file.uri, content, state, scope=scope, tenant=tenant, progress=meter.within(file)
            )
        except DocumentError as error:
            outcome = FileOutcome(file.uri, "failed", error=error)
        return self._emit(outcome, scope, time.perf_counter() - started)

    async def _content(
        self,
        uri: str,
        content: bytes,
        state: DocumentState | None,
        *,
        scope: str,
        tenant: str | None,
        progress: WriteProgress | None = None,
    ) -> FileOutcome:
        digest = hashlib.sha256(content).hexdigest()
        if state is not None and self._is_current(state, digest):
            return FileOutcome(uri, "unchanged", chunks=state.chunks)
        document, note = await asyncio.to_thread(self._cut, uri, content, digest)
        written = await self._store.write([document], scope=scope, tenant=tenant, progress=progress)
        outcome: Outcome = "added" if state is None else "updated"
        return FileOutcome(uri, outcome, chunks=written.chunks, embedded=written.embedded, note=note)

    def _is_current(self, state: DocumentState, digest: str) -> bool:
        chunker = self._chunker.for_mime(state.mime)
        return (state.sha256, state.chunker, state.spec) == (digest, chunker.signature, self._store.spec)

    def _cut(self, uri: str, content: bytes, digest: str) -> tuple[NewDocument, str]:
        loaded = load(uri, content)
        chunker = self._chunker.for_mime(loaded.mime)
        document = NewDocument(
            source_uri=uri,
            sha256=digest,
            chunks=chunker.chunk(loaded.text),
            title=loaded.title,
            mime=loaded.mime,
            chunker=chunker.signature,
            metadata={"encoding": loaded.encoding},
        )
        return document, loaded.note

    async def _remove_gone(
        self, found: Found, states: Mapping[str, DocumentState], scope: str, tenant: str | None
    ) -> list[FileOutcome]:
        """Delete documents of the searched folders that are there no more; unreadable ones stay."""
        present = {file.uri for file in found.files} | {error.source for error in found.errors}
        gone = [
            uri
            for uri, state in states.items()
            if uri not in present
            and state.chunker != WHOLE_TEXT
            and any(uri.startswith(folder) for folder in found.folders)
        ]
        owner = tenant or self._store.tenant
        await self._store.delete_documents([document_id(owner, scope, uri) for uri in gone], tenant=owner)
        return [self._emit(FileOutcome(uri, "removed"), scope, 0.0) for uri in gone]

    def _emit(self, outcome: FileOutcome, scope: str, duration: float) -> FileOutcome:
        self._events.emit(
            DocumentIngested(
                outcome.source, scope, outcome.outcome, outcome.chunks, outcome.embedded, duration
            )
        )
        return outcome


class _Meter:
    """Counts bytes of all files for one progress callback."""

    def __init__(self, total: int, progress: IngestProgress | None) -> None:
        self._total = total
        self._done = 0
        self._progress = progress

    def start(self, file: SourceFile) -> None:
        self._report(self._done, file)

    def within(self, file: SourceFile) -> WriteProgress:
        """Return a callback that turns a file's chunks into bytes."""
        return lambda done, total: self._report(self._done + file.size * done // max(1, total), file)

    def finish(self, file: SourceFile) -> None:
        self._done += file.size
        self._report(self._done, file)

    def _report(self, done: int, file: SourceFile) -> None:
        if self._progress is not None:
            self._progress(done, self._total, file.uri)
