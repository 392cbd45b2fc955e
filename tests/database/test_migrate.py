import asyncio
import multiprocessing
from pathlib import Path

import psycopg
import pytest

from agentkit.database import migrate
from agentkit.errors import DatabaseError, MigrationError
from agentkit.rag import MIGRATIONS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "001_first.sql").write_text("CREATE TABLE a (x int);\nINSERT INTO a VALUES (1);\n")
    (tmp_path / "002_second.sql").write_text(
        "-- agentkit: no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS a_x ON a (x)"
    )
    return tmp_path


def rows(url: str, query: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchall()


async def test_applies_in_order_once(database_url: str, folder: Path) -> None:
    before = await migrate.status(database_url, [folder])
    assert [entry.applied_at for entry in before] == [None, None]
    assert [m.name for m in await migrate.apply(database_url, [folder])] == ["first", "second"]
    assert await migrate.apply(database_url, [folder]) == ()
    assert rows(database_url, "SELECT x FROM a") == [(1,)]
    assert rows(database_url, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'a_x'::regclass") == [
        (True,)
    ]
    assert all(entry.applied_at for entry in await migrate.status(database_url, [folder]))


async def test_status_changes_nothing(database_url: str, folder: Path) -> None:
    await migrate.status(database_url, [folder])
    assert rows(database_url, "SELECT to_regclass('agentkit_migrations')") == [(None,)]


async def test_a_connection_is_given_back_as_it_was(database_url: str, folder: Path) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await migrate.apply(connection, [folder])
        assert not connection.autocommit
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


def _apply(url: str, folder: Path, start, results) -> None:
    start.wait()
    results.put(len(asyncio.run(migrate.apply(url, [folder]))))


def test_ten_processes_at_once_apply_each_once(database_url: str, folder: Path) -> None:
    (folder / "003_slow.sql").write_text("SELECT pg_sleep(0.3); CREATE TABLE b (y int);")
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    processes = [
        context.Process(target=_apply, args=(database_url, folder, start, results)) for _ in range(10)
    ]
    for process in processes:
        process.start()
    start.set()
    counts = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        process.close()
    results.close()
    results.join_thread()
    assert sorted(counts) == [0] * 9 + [3]
    assert rows(database_url, "SELECT version FROM agentkit_migrations ORDER BY 1") == [(1,), (2,), (3,)]


async def test_an_edited_file_is_named(database_url: str, folder: Path) -> None:
    await migrate.apply(database_url, [folder])
    (folder / "001_first.sql").write_text("CREATE TABLE a (x bigint);")
    for call in (migrate.apply, migrate.status):
        with pytest.raises(MigrationError, match=r"001_first.sql was edited after it was applied on \d{4}-"):
            await call(database_url, [folder])


async def test_line_ends_do_not_count_as_an_edit(database_url: str, folder: Path) -> None:
    await migrate.apply(database_url, [folder])
    file = folder / "001_first.sql"
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert await migrate.apply(database_url, [folder]) == ()


async def test_a_newer_database_is_refused(database_url: str, folder: Path) -> None:
    await migrate.apply(database_url, [folder])
    (folder / "002_second.sql").unlink()
    with pytest.raises(
        MigrationError, match=r"002_second, which this agentkit does not know.\n.*upgrade agentkit"
    ):
        await migrate.apply(database_url, [folder])


async def test_a_failure_keeps_what_came_before_and_nothing_of_itself(
    database_url: str, folder: Path
) -> None:
    (folder / "003_bad.sql").write_text("CREATE TABLE half (x int); SELECT nonsense;")
    with pytest.raises(MigrationError, match=r"003_bad.sql failed: column \"nonsense\" does not exist"):
        await migrate.apply(database_url, [folder])
    assert rows(database_url, "SELECT to_regclass('half'), to_regclass('a')::text") == [(None, "a")]
    (folder / "003_bad.sql").write_text("CREATE TABLE half (x int);")
    assert len(await migrate.apply(database_url, [folder])) == 1


async def test_cancelled_while_waiting_for_the_lock(database_url: str, folder: Path) -> None:
    (folder / "003_slow.sql").write_text("SELECT pg_sleep(1);")
    first = asyncio.create_task(migrate.apply(database_url, [folder]))
    await asyncio.sleep(0.3)
    second = asyncio.create_task(migrate.apply(database_url, [folder]))
    await asyncio.sleep(0.2)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert len(await first) == 3
    assert await migrate.apply(database_url, [folder]) == ()


@pytest.mark.parametrize("extension", ["CREATE EXTENSION vector_that_is_not_there"])
async def test_missing_pgvector_says_what_to_install(
    database_url: str, tmp_path: Path, extension: str
) -> None:
    (tmp_path / "001_x.sql").write_text(extension)
    with pytest.raises(DatabaseError, match=r"no pgvector.*\n.*postgresql-NN-pgvector.*pgvector/pgvector"):
        await migrate.apply(database_url, [tmp_path])


async def test_a_user_without_rights_is_told(database_url: str, tmp_path: Path) -> None:
    (tmp_path / "001_x.sql").write_text("CREATE ROLE another")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS weak")
        connection.execute("CREATE ROLE weak")
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC; GRANT USAGE ON SCHEMA public TO weak")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("SET ROLE weak")
        with pytest.raises(
            DatabaseError, match="may not create agentkit's tables.*\n.*CREATE EXTENSION vector"
        ):
            await migrate.apply(connection, [MIGRATIONS])
        await connection.execute("RESET ROLE; GRANT CREATE ON SCHEMA public TO weak; SET ROLE weak")
        with pytest.raises(DatabaseError, match="may not apply 001_x.sql: permission denied to create role"):
            await migrate.apply(connection, [tmp_path])
        await connection.execute("RESET ROLE")
        await connection.execute("DROP OWNED BY weak; DROP ROLE weak")


async def test_an_unreachable_server_is_named() -> None:
    with pytest.raises(DatabaseError, match="127.0.0.1:1/none refuses"):
        await migrate.apply("postgresql://127.0.0.1:1/none", [MIGRATIONS])


def test_names_and_numbers_are_checked(tmp_path: Path) -> None:
    with pytest.raises(MigrationError, match="no folder of migrations"):
        migrate.find_migrations([tmp_path / "none"])
    (tmp_path / "1_x.sql").touch()
    with pytest.raises(MigrationError, match="1_x.sql is no name.*\n.*001_create_tables.sql"):
        migrate.find_migrations([tmp_path])
    (tmp_path / "1_x.sql").rename(tmp_path / "001_x.sql")
    (tmp_path / "001_y.sql").touch()
    with pytest.raises(MigrationError, match="001_x.sql and 001_y.sql have the same number"):
        migrate.find_migrations([tmp_path])
