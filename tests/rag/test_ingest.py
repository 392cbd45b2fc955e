import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg
import pytest

from agentkit.errors import DatabaseError, DocumentError, EmbeddingError
from agentkit.events import DocumentIngested, EventBus
from agentkit.rag.chunking import TextChunker
from agentkit.rag.ingest import Ingestor
from agentkit.rag.vector_store import PgVectorStore


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# Alpha\n\nThe alpha service listens on port 1.\n")
    (folder / "b.txt").write_text("Beta is a queue.\n")
    (folder / "sub" / "c.md").write_text("# Gamma\n\nGamma stores files.\n\n## More\n\nIn buckets.\n")
    (folder / ".hidden.md").write_text("secret")
    (folder / "image.png").write_bytes(b"\x89PNG\x00\x00")
    (tmp_path / "project" / ".git").mkdir()
    return folder


def outcomes(report) -> dict[str, str]:
    return {file.source: file.outcome for file in report.files}


async def test_first_run_adds_second_changes_nothing(store, docs: Path, word_embeddings) -> None:
    ingestor = Ingestor(store)
    report = await ingestor.ingest([docs], scope="s")
    assert outcomes(report) == {"docs/a.md": "added", "docs/b.txt": "added", "docs/sub/c.md": "added"}
    assert report.skipped == ("docs/image.png",)
    assert report.embedded == len(word_embeddings.embedded) == 4
    again = await ingestor.ingest([docs], scope="s")
    assert set(outcomes(again).values()) == {"unchanged"}
    assert not again.changed
    assert [file.chunks for file in again.files] == [1, 1, 2]
    assert len(word_embeddings.embedded) == 4
    (found, *_) = await store.search_chunks("alpha service", k=1)
    assert (found.source_uri, found.title, found.start_line, found.end_line) == ("docs/a.md", "Alpha", 1, 3)


async def test_only_what_changed_is_embedded(store, docs: Path, word_embeddings) -> None:
    ingestor = Ingestor(store)
    await ingestor.ingest([docs], scope="s")
    word_embeddings.embedded.clear()
    file = docs / "sub" / "c.md"
    file.write_text("# Gamma\n\nGamma stores files.\n\n## More\n\nIn boxes.\n")
    report = await ingestor.ingest([docs], scope="s")
    assert outcomes(report)["docs/sub/c.md"] == "updated"
    assert word_embeddings.embedded == ["Gamma > More\n## More\n\nIn boxes."]
    assert "buckets" not in " ".join(chunk.text for chunk in await store.search_chunks("x", k=50))


async def test_another_chunker_or_model_counts_as_a_change(store, pool, docs: Path, other_embeddings) -> None:
    await Ingestor(store).ingest([docs], scope="s")
    report = await Ingestor(store, chunker=TextChunker(size=100)).ingest([docs], scope="s")
    assert set(outcomes(report).values()) == {"updated"}
    assert report.embedded == 0
    report = await Ingestor(PgVectorStore(pool, other_embeddings)).ingest([docs], scope="s")
    assert set(outcomes(report).values()) == {"updated"}
    assert report.embedded == 4


async def test_uris_do_not_depend_on_the_working_directory(store, docs: Path, monkeypatch) -> None:
    ingestor = Ingestor(store)
    await ingestor.ingest([docs], scope="s")
    monkeypatch.chdir(docs)
    report = await ingestor.ingest(["a.md", Path("sub")], scope="s")
    assert outcomes(report) == {"docs/a.md": "unchanged", "docs/sub/c.md": "unchanged"}
    report = await ingestor.ingest([docs], scope="t", root=docs)
    assert set(outcomes(report)) == {"a.md", "b.txt", "sub/c.md"}


async def test_sync_removes_only_what_is_gone_from_these_folders(store, docs: Path) -> None:
    ingestor = Ingestor(store)
    await ingestor.ingest([docs], scope="s")
    await ingestor.ingest([docs], scope="other")
    await store.aadd_texts(["kept"], ids=["docs/added"])
    (docs / "b.txt").unlink()
    (docs / "sub" / "c.md").unlink()
    report = await ingestor.ingest([docs / "sub"], scope="s", sync=True)
    assert outcomes(report) == {"docs/sub/c.md": "removed"}
    assert [d.source_uri for d in await store.list_documents(scopes=["s"])] == ["docs/a.md", "docs/b.txt"]
    assert set(outcomes(await ingestor.ingest([docs], scope="s")).values()) == {"unchanged"}
    assert outcomes(await ingestor.ingest([docs], scope="s", sync=True))["docs/b.txt"] == "removed"
    assert len(await store.list_documents(scopes=["other", "default"])) == 4


async def test_sync_of_a_missing_folder_removes_nothing(store, docs: Path) -> None:
    await Ingestor(store).ingest([docs], scope="s")
    shutil.move(docs, docs.parent / "moved")
    report = await Ingestor(store).ingest([docs], scope="s", sync=True)
    assert [str(error) for error in report.errors] == [f"{docs}: does not exist."]
    assert len(await store.list_documents()) == 3


async def test_a_bad_file_is_reported_and_the_rest_goes_on(store, docs: Path) -> None:
    (docs / "a.md").write_bytes(b"x" * 9000 + b"\x00")
    (docs / "aa.md").write_bytes("Größe".encode("latin-1"))
    (docs / "zz.md").write_bytes(b"\xef\xbb\xbf# T\n" + b"y" * 20_000)
    events: list[DocumentIngested] = []
    bus = EventBus()
    bus.subscribe(events.append)
    report = await Ingestor(store, events=bus, max_bytes=10_000).ingest(
        [docs, docs / "none.md"], scope="s", sync=True
    )
    assert {str(error) for error in report.errors} == {
        "docs/a.md: is binary, not text.\nConvert it to text or Markdown first.",
        "docs/zz.md: is larger than 10,000 bytes.\nSplit it, or raise the limit.",
        f"{docs / 'none.md'}: does not exist.",
    }
    assert report.count("added") == 3
    assert [file.note for file in report.files if file.note] == [
        "not UTF-8, read as Latin-1: check its special characters"
    ]
    assert sorted(event.outcome for event in events) == ["added"] * 3 + ["failed"] * 3


async def test_an_unreadable_file_is_not_removed(store, docs: Path) -> None:
    await Ingestor(store).ingest([docs], scope="s")
    (docs / "a.md").write_bytes(b"x" * 9000 + b"\x00")
    report = await Ingestor(store).ingest([docs], scope="s", sync=True)
    assert outcomes(report)["docs/a.md"] == "failed"
    assert len(await store.list_documents()) == 3


async def test_two_files_of_one_name_are_refused(store, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "docs").mkdir(parents=True)
        (tmp_path / name / "docs" / "a.md").write_text(name)
    folders = [tmp_path / "one" / "docs", tmp_path / "two" / "docs"]
    report = await Ingestor(store).ingest(folders, scope="s")
    assert report.count("added") == 1
    assert "would be called docs/a.md" in str(report.errors[0])
    report = await Ingestor(store).ingest(folders, scope="t", root=tmp_path)
    assert set(outcomes(report)) == {"one/docs/a.md", "two/docs/a.md"}


async def test_progress_ends_at_the_total_and_moves_within_a_file(store, docs: Path) -> None:
    (docs / "big.txt").write_text("\n\n".join(f"Paragraph number {n}. " * 20 for n in range(200)))
    calls: list[tuple[int, int, str]] = []
    await Ingestor(store).ingest([docs], scope="s", progress=lambda *call: calls.append(call))
    total = sum((docs / name).stat().st_size for name in ("a.md", "b.txt", "big.txt", "sub/c.md"))
    assert calls[-1] == (total, total, "docs/sub/c.md")
    assert [done for done, _, _ in calls] == sorted(done for done, _, _ in calls)
    assert len({done for done, _, source in calls if source == "docs/big.txt"}) > 3


async def test_content_that_is_no_file(store) -> None:
    ingestor = Ingestor(store)
    first = await ingestor.ingest_content("upload/x.md", b"# X\n\nText.", scope="s")
    assert (first.outcome, first.chunks) == ("added", 1)
    assert (await ingestor.ingest_content("upload/x.md", b"# X\n\nText.", scope="s")).outcome == "unchanged"
    with pytest.raises(DocumentError, match="upload/x.bin: is binary"):
        await ingestor.ingest_content("upload/x.bin", b"\x00\x01", scope="s")


async def test_two_ingestions_at_once_leave_no_duplicates(store, docs: Path) -> None:
    await asyncio.gather(*(Ingestor(store).ingest([docs], scope="s") for _ in range(4)))
    documents = await store.list_documents()
    assert [(d.source_uri, d.chunks) for d in documents] == [
        ("docs/a.md", 1),
        ("docs/b.txt", 1),
        ("docs/sub/c.md", 2),
    ]
    assert len(await store.search_chunks("x", k=50)) == 4


async def test_a_failing_model_or_database_ends_the_run(pool, docs: Path, word_embeddings) -> None:
    class Broken(type(word_embeddings)):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            raise EmbeddingError("the model is gone")

    with pytest.raises(EmbeddingError, match="the model is gone"):
        await Ingestor(PgVectorStore(pool, Broken())).ingest([docs], scope="s")
    async with pool.connection() as connection:
        await connection.execute("DROP TABLE agentkit_chunks, agentkit_documents CASCADE")
    with pytest.raises(DatabaseError, match="agentkit db migrate"):
        await Ingestor(PgVectorStore(pool, word_embeddings)).ingest([docs], scope="s")


VICTIM = """
import asyncio, sys, time
from pathlib import Path
from langchain_core.embeddings import Embeddings
from agentkit.rag.embeddings.base import EmbeddingSpec
from agentkit.rag.ingest import Ingestor
from agentkit.rag.vector_store import PgVectorStore

class Slow(Embeddings):
    def embed_documents(self, texts):
        print("embedding", flush=True)
        time.sleep(0.05)
        return [[float(len(t)), 1.0, float(hash(t) % 97)] for t in texts]
    def embed_query(self, text):
        return self.embed_documents([text])[0]

store = PgVectorStore.connect(sys.argv[1], Slow(), spec=EmbeddingSpec("test/slow", 3))
report = asyncio.run(Ingestor(store).ingest([Path(sys.argv[2])], scope="s"))
print("done", report.count("added"), report.count("unchanged"), report.count("updated"), flush=True)
store.close()
"""


@pytest.mark.parametrize("kill_after", [1, 7, 15])
def test_killed_in_the_middle_and_run_again(migrated_url: str, tmp_path: Path, kill_after: int) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.txt").write_text(
            "\n\n".join(f"File {number} part {p}. " * 9 for p in range(8))
        )
    script = tmp_path / "victim.py"
    script.write_text(textwrap.dedent(VICTIM))
    command = [sys.executable, str(script), migrated_url, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        for _ in range(kill_after):
            assert victim.stdout.readline() == "embedding\n"
        os.kill(victim.pid, signal.SIGKILL)
    with psycopg.connect(migrated_url) as connection:
        (partial,) = connection.execute("SELECT count(*) FROM agentkit_documents").fetchone()
        (torn,) = connection.execute(
            "SELECT count(*) FROM agentkit_documents d WHERE NOT EXISTS "
            "(SELECT FROM agentkit_chunks WHERE document_id = d.id)"
        ).fetchone()
    assert partial < 20
    assert torn == 0
    second = subprocess.run(command, check=True, capture_output=True, text=True)
    # the victim's last transaction may still have been on its way when we counted
    added = int(second.stdout.splitlines()[-1].split()[1])
    assert 20 - partial - 1 <= added <= 20 - partial
    third = subprocess.run(command, check=True, capture_output=True, text=True)
    assert third.stdout == "done 0 20 0\n"
    with psycopg.connect(migrated_url) as connection:
        (chunks, texts) = connection.execute(
            "SELECT count(*), count(DISTINCT content) FROM agentkit_chunks"
        ).fetchone()
    assert chunks == texts == sum(len(TextChunker().chunk_text(f.read_text())) for f in folder.iterdir())
