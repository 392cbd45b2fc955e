"""Locks by name that end with their holder."""

import asyncio

import psycopg
import pytest

from agentkit.database.advisory import AdvisoryLocks


async def connections(url: str) -> int:
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        row = await found.fetchone()
        assert row is not None
        return row[0]


async def gone(url: str) -> bool:
    """Whether no other connection is left; a closed one takes the server a moment."""
    for _ in range(100):
        if not await connections(url):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_one_holds_a_name_until_it_lets_go(database_url: str) -> None:
    here, there = AdvisoryLocks(database_url), AdvisoryLocks(database_url)
    assert await here.try_acquire("a")
    assert not await here.try_acquire("a")
    assert not await there.try_acquire("a")
    assert await there.try_acquire("b")
    await here.release("a")
    assert await there.try_acquire("a")
    await there.release("a")
    await there.release("b")
    assert await gone(database_url)


async def test_many_names_need_one_connection_and_none_when_nothing_is_held(database_url: str) -> None:
    locks = AdvisoryLocks(database_url)
    names = [f"n{number}" for number in range(50)]
    assert all(await asyncio.gather(*(locks.try_acquire(name) for name in names)))
    assert await connections(database_url) == 1
    await asyncio.gather(*(locks.release(name) for name in names))
    assert await gone(database_url)


async def test_a_cancelled_attempt_holds_nothing(database_url: str) -> None:
    locks = AdvisoryLocks(database_url)
    for delay in (0.0, 0.001, 0.003, 0.01, 0.03):
        attempt = asyncio.create_task(locks.try_acquire("a"))
        await asyncio.sleep(delay)
        if attempt.cancel():
            with pytest.raises(asyncio.CancelledError):
                await attempt
        else:
            await locks.release("a")
        other = AdvisoryLocks(database_url)
        assert await other.try_acquire("a")
        await other.release("a")
    assert await gone(database_url)


async def test_a_database_that_is_not_there_is_an_error_and_nothing_is_held() -> None:
    locks = AdvisoryLocks("postgresql://u@127.0.0.1:1/x")
    for _ in range(2):
        with pytest.raises(psycopg.OperationalError):
            await locks.try_acquire("a")
