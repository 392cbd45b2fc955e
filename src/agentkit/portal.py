"""Bridges between event loops and threads, so that async parts serve every caller.

Everything in agentkit is async; a script or a notebook is not. `run` and `iterate` serve
synchronous callers, by default on one background loop per process, so that connections
opened by one synchronous call can be used by the next. `arun` and `aiterate` serve callers
on another loop than the one that owns the connections.
"""

import asyncio
import atexit
import queue
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from importlib import import_module
from typing import TypeVar

from agentkit.errors import ConfigurationError

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def loop() -> asyncio.AbstractEventLoop:
    """Return the background loop, started in a thread at first use and stopped at exit."""
    global _loop
    with _lock:
        if _loop is None:
            started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

            async def live() -> None:
                stop = asyncio.Event()
                started.set_result((asyncio.get_running_loop(), stop))
                await stop.wait()

            thread = threading.Thread(target=lambda: asyncio.run(live()), name="agentkit-loop", daemon=True)
            thread.start()
            _loop, stop = started.result()
            _at_exit(_end, thread, _loop, stop)
        return _loop


def at_end(function: Callable[[], Awaitable[None]]) -> None:
    """Run `function` on the background loop when the interpreter exits, before the loop stops."""
    loop()  # its own end is registered first, so that it comes last
    _at_exit(run, function)


def run(
    function: Callable[..., Awaitable[T]], *args: object, on: asyncio.AbstractEventLoop | None = None
) -> T:
    """Run `function(*args)` on a loop of another thread and return its result.

    Ctrl-C in the calling thread cancels it before it is raised here.

    Args:
        function: An async callable.
        args: Its arguments.
        on: Loop to run on; None for the background loop.

    Raises:
        ConfigurationError: The caller stands on that very loop, and would wait for itself for ever.
    """
    target = _target(on)

    async def call() -> T:
        return await function(*args)

    future = asyncio.run_coroutine_threadsafe(call(), target)
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


def iterate(
    source: Callable[[], AsyncIterator[T]], *, on: asyncio.AbstractEventLoop | None = None
) -> Iterator[T]:
    """Iterate over `source()` from synchronous code; arguments and errors as for `run`.

    Closing the iterator, or an exception in its consumer, cancels the producer.
    """
    target = _target(on)
    items: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
    future = asyncio.run_coroutine_threadsafe(_produce(source, items.put), target)
    try:
        while not isinstance(item := items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        future.cancel()


async def arun(
    function: Callable[..., Awaitable[T]], *args: object, on: asyncio.AbstractEventLoop | None
) -> T:
    """Await `function(*args)` on the loop `on`, from whichever loop the caller is on."""
    if on is None or on is asyncio.get_running_loop():
        return await function(*args)

    async def call() -> T:
        return await function(*args)

    work = call()
    try:
        future = asyncio.run_coroutine_threadsafe(work, on)
    except RuntimeError:  # that loop is closed
        work.close()
        raise
    return await asyncio.wrap_future(future)


async def aiterate(
    source: Callable[[], AsyncIterator[T]], *, on: asyncio.AbstractEventLoop
) -> AsyncIterator[T]:
    """Iterate over `source()` on the loop `on`, from another loop."""
    here = asyncio.get_running_loop()
    items: asyncio.Queue[T | _End] = asyncio.Queue()

    def put(item: T | _End) -> None:
        here.call_soon_threadsafe(items.put_nowait, item)

    future = asyncio.run_coroutine_threadsafe(_produce(source, put), on)
    try:
        while not isinstance(item := await items.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        future.cancel()


@dataclass(frozen=True, slots=True)
class _End:
    """The last item of a bridged stream, with the error that ended it, if any."""

    error: BaseException | None


async def _produce(source: Callable[[], AsyncIterator[T]], put: Callable[[T | _End], None]) -> None:
    end = _End(None)
    try:
        async for item in source():
            put(item)
    except BaseException as error:
        end = _End(error)
        if not isinstance(error, Exception):
            raise
    finally:
        put(end)


def _at_exit(function: Callable[..., None], *args: object) -> None:
    """Run at exit while threads can still be started.

    `atexit` comes too late: by then `asyncio.to_thread` refuses. concurrent.futures ends its
    workers through the same hook, which runs what was registered last first, and registers
    when it is imported.
    """
    import_module("concurrent.futures.thread")
    register = getattr(threading, "_register_atexit", atexit.register)
    register(function, *args)


def _target(on: asyncio.AbstractEventLoop | None) -> asyncio.AbstractEventLoop:
    target = on or loop()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return target
    if running is target:
        raise ConfigurationError(
            "A synchronous call cannot wait for the event loop it stands on.",
            hint="Use the async method: ainvoke, astream, ….",
        )
    return target


def _end(thread: threading.Thread, target: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    target.call_soon_threadsafe(stop.set)
    thread.join(timeout=5)
