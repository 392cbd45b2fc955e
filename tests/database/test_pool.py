import asyncio

import psycopg
import pytest

from agentkit.database.embedded import EmbeddedPostgres
from agentkit.database.pool import check, ensure_database, open_pool, redact
from agentkit.errors import DatabaseError


def test_passwords_are_redacted() -> None:
    assert redact("postgresql://u:s3cret@h:5432/db") == "postgresql://u:***@h:5432/db"
    assert redact("postgresql://u@h/db") == "postgresql://u@h/db"


async def test_a_refused_connection_names_the_server_and_the_setting() -> None:
    with pytest.raises(DatabaseError) as caught:
        await check("postgresql://u:s3cret@127.0.0.1:1/db")
    assert "postgresql://u:***@127.0.0.1:1/db" in str(caught.value)
    assert "Check AGENTKIT_DATABASE_URL" in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_a_malformed_url_is_a_database_error() -> None:
    with pytest.raises(DatabaseError, match="refuses"):
        await check("postgresql://h:port/db")


async def test_a_database_is_created_once_by_many(postgres: EmbeddedPostgres) -> None:
    await asyncio.gather(*(ensure_database(postgres.url(), "crowd") for _ in range(8)))
    async with await psycopg.AsyncConnection.connect(postgres.url("crowd")) as connection:
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_the_pool_gives_dictionaries_and_prepares_nothing(database_url: str) -> None:
    async with open_pool(database_url) as pool, pool.connection() as connection:
        for _ in range(10):
            cursor = await connection.execute("SELECT 1 AS one")
        assert await cursor.fetchone() == {"one": 1}
        prepared = await (
            await connection.execute("SELECT count(*) AS n FROM pg_prepared_statements")
        ).fetchone()
        assert prepared == {"n": 0}
