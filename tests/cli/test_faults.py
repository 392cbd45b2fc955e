"""The embedded database under the command line: killed, shared, offline."""

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from agentkit.database.embedded import EmbeddedPostgres

from .conftest import Project

PYTHON = "How do I write a generator in Python?"


@pytest.fixture
def embedded(project: Project) -> Iterator[Project]:
    """The project on an embedded database of its own."""
    data = Path(tempfile.mkdtemp(prefix="agentkit-cli-"))
    data.chmod(0o755)
    (data / "models").symlink_to(project.root / "data" / "models")
    del project.env["AGENTKIT_DATABASE_URL"]
    project.env["AGENTKIT_DATA_DIR"] = str(data)
    yield project
    EmbeddedPostgres(data / "postgres").stop_if_unused()
    shutil.rmtree(data)


def leftovers(project: Project) -> list[list[str]]:
    cluster = str(Path(project.env["AGENTKIT_DATA_DIR"]) / "postgres")
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if cluster in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(command)
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def test_two_first_chats_at_once_share_one_server_and_leave_nothing(embedded: Project) -> None:
    running = [embedded.start("chat", "team", PYTHON, "--json", "--thread", "t") for _ in range(2)]
    for process in running:
        stdout, stderr = process.communicate(timeout=180)
        assert process.returncode == 0, stderr
        assert json.loads(stdout)["answer"] == "Use yield [1]."
    assert eventually(lambda: leftovers(embedded) == [])
    listed = json.loads(embedded.run("documents", "list", "--json").stdout)
    assert [document["chunks"] for document in listed] == [1]


def test_killed_in_the_first_ingest_and_run_again(embedded: Project) -> None:
    for number in range(60):
        text = "\n\n".join(f"Paragraph {number}.{part} " + "word " * 120 for part in range(6))
        (embedded.root / "notes" / f"n{number:02}.md").write_text(text)
    total = len(list((embedded.root / "notes").iterdir()))
    process = embedded.start("ingest", "notes", "--scope", "notes")
    assert eventually(lambda: bool(leftovers(embedded)))
    time.sleep(4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert eventually(lambda: leftovers(embedded) == [])
    again = embedded.run("ingest", "notes", "--scope", "notes", "--json")
    assert again.returncode == 0, again.stderr
    listed = json.loads(embedded.run("documents", "list", "--json").stdout)
    assert len(listed) == len({document["source_uri"] for document in listed}) == total
    third = json.loads(embedded.run("ingest", "notes", "--scope", "notes", "--json").stdout)
    assert {file["outcome"] for file in third} == {"unchanged"}


def test_without_weights_and_network_the_command_that_helps_is_named(embedded: Project) -> None:
    models = Path(embedded.env["AGENTKIT_DATA_DIR"]) / "models"
    models.unlink()
    offline = {"PIP_INDEX_URL": "http://127.0.0.1:1/", "PIP_EXTRA_INDEX_URL": "", "PIP_FIND_LINKS": ""}
    offline |= {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1"}
    done = embedded.run("chat", "team", PYTHON, **offline)
    assert done.returncode == 1
    assert "agentkit models pull all-minilm-l6-v2" in done.stderr
    assert "Traceback" not in done.stderr
    assert eventually(lambda: leftovers(embedded) == [])
