import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator

import pytest

from agentkit import portal
from agentkit.errors import ConfigurationError


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        await asyncio.sleep(0)
        yield number


async def failing() -> AsyncIterator[int]:
    yield 1
    raise ValueError("broke")


async def where() -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()


def test_synchronous_calls_share_one_loop() -> None:
    assert portal.run(where) is portal.run(where) is portal.loop()


def test_iterate_yields_in_order_and_passes_errors() -> None:
    assert list(portal.iterate(lambda: numbers(100))) == list(range(100))
    with pytest.raises(ValueError, match="broke"):
        list(portal.iterate(failing))


def test_leaving_early_cancels_the_producer() -> None:
    ended = threading.Event()

    async def endless() -> AsyncIterator[int]:
        try:
            while True:
                yield 1
                await asyncio.sleep(0.001)
        finally:
            ended.set()

    stream = portal.iterate(endless)
    assert next(stream) == 1
    stream.close()
    assert ended.wait(5)


def test_what_is_left_to_the_end_may_still_use_threads() -> None:
    code = (
        "import asyncio; from agentkit import portal\n"
        "async def close(): print(await asyncio.to_thread(lambda: 'closed'))\n"
        "portal.at_end(close)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("closed\n", "")


async def test_a_loop_is_not_asked_to_wait_for_itself() -> None:
    with pytest.raises(ConfigurationError, match="cannot wait for the event loop it stands on"):
        portal.run(where, on=asyncio.get_running_loop())


async def test_calls_are_carried_to_another_loop_and_back() -> None:
    other = portal.loop()
    assert await portal.arun(where, on=other) is other
    assert await portal.arun(where, on=None) is asyncio.get_running_loop()
    assert [item async for item in portal.aiterate(lambda: numbers(20), on=other)] == list(range(20))
    with pytest.raises(ValueError, match="broke"):
        [item async for item in portal.aiterate(failing, on=other)]
