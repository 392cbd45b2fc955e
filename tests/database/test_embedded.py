"""The embedded server's life: shared, never orphaned, never half made."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from agentkit.database.embedded import EmbeddedPostgres
from agentkit.errors import DatabaseError

USER = """
import sys, time
from pathlib import Path
from agentkit.database.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1])); server.start()
print("up", server.url(), flush=True)
sys.stdin.readline()
server.stop()
print("left", flush=True)
"""


@pytest.fixture
def cluster() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="agentkit-pg-"))
    root.chmod(0o755)
    yield root / "postgres"
    EmbeddedPostgres(root / "postgres").stop_if_unused()
    shutil.rmtree(root)


def user(cluster: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", USER, str(cluster)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().startswith("up postgresql://")
    return process


def leave(process: subprocess.Popen[str]) -> None:
    assert process.communicate("\n", timeout=30)[0] == "left\n"


def processes(cluster: Path) -> list[str]:
    """Servers and watchdogs of this cluster that are alive."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        command = process.info["cmdline"] or []
        if str(cluster) in command and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(command))
    return found


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_the_last_user_stops_it_and_nothing_is_left(cluster: Path) -> None:
    first, second = user(cluster), user(cluster)
    leave(first)
    assert processes(cluster)
    leave(second)
    assert processes(cluster) == []


def test_data_survives_a_restart(cluster: Path) -> None:
    for statement in ("CREATE TABLE kept AS SELECT 42 AS answer", "SELECT answer FROM kept"):
        with EmbeddedPostgres(cluster) as server, psycopg.connect(server.url()) as connection:
            cursor = connection.execute(statement)
    assert cursor.fetchone() == (42,)


def test_a_killed_user_leaves_no_orphan(cluster: Path) -> None:
    process = user(cluster)
    process.kill()
    process.communicate()
    assert eventually(lambda: processes(cluster) == [])


def test_a_killed_user_does_not_take_it_from_the_others(cluster: Path) -> None:
    killed, other = user(cluster), user(cluster)
    killed.kill()
    killed.communicate()
    time.sleep(0.5)
    with EmbeddedPostgres(cluster) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    leave(other)
    assert processes(cluster) == []


def test_a_server_that_was_killed_is_started_again(cluster: Path) -> None:
    process = user(cluster)
    with EmbeddedPostgres(cluster) as server, psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    os.kill(int((cluster / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    process.kill()
    process.communicate()
    with EmbeddedPostgres(cluster) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_many_first_starts_at_once_make_one_cluster(cluster: Path) -> None:
    command = [sys.executable, "-c", USER, str(cluster)]
    crowd = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(5)
    ]
    for process in crowd:
        output, _ = process.communicate("\n", timeout=60)
        assert output.startswith("up postgresql://")
        assert output.endswith("left\n")
    assert eventually(lambda: processes(cluster) == [])


def test_an_unfinished_first_start_is_thrown_away(cluster: Path) -> None:
    half = cluster.with_name("postgres.initdb")
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(cluster) as server, psycopg.connect(server.url()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_folder_of_something_else_is_refused(cluster: Path) -> None:
    cluster.mkdir()
    (cluster / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DatabaseError, match="is not empty and holds no PostgreSQL cluster"):
        EmbeddedPostgres(cluster).start()


def test_another_postgresql_version_is_refused(cluster: Path) -> None:
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("13\n")
    with pytest.raises(DatabaseError, match="was written by PostgreSQL 13"):
        EmbeddedPostgres(cluster).start()


def test_a_broken_cluster_says_what_the_server_said(cluster: Path) -> None:
    with EmbeddedPostgres(cluster):
        pass
    with (cluster / "postgresql.conf").open("a") as config:
        config.write("no_such_setting = 1\n")
    with pytest.raises(DatabaseError, match="did not start: .*no_such_setting"):
        EmbeddedPostgres(cluster).start()
    assert processes(cluster) == []


def test_a_place_that_cannot_be_written_is_a_clear_error() -> None:
    with pytest.raises(DatabaseError, match="Set AGENTKIT_DATA_DIR to a writable directory"):
        EmbeddedPostgres(Path("/proc/agentkit/postgres")).start()
