"""Blueprints for LangGraph's own server (`langgraph dev`): see docs/langgraph-dev.md."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from agentkit.settings import Settings

if TYPE_CHECKING:
    from agentkit.graphs.bridge import AnyGraph
    from agentkit.wiring.kit import Kit

_kits: "WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[Kit]]" = WeakKeyDictionary()
"""One kit for each event loop of the server. Its processes end with this one."""

_FRESH = 2.0


def served(name_or_path: str | Path) -> "Callable[[], Awaitable[AnyGraph]]":
    """Return a factory of a blueprint's graph, to be named in `langgraph.json`.

    The server brings its own checkpointer and store; the graph is compiled without ours. The
    server asks for a graph at every access, so the files are looked at every two seconds at most.

    Args:
        name_or_path: Name of a blueprint, or path of its folder or file.
    """
    made: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[float, AnyGraph]] = WeakKeyDictionary()

    async def make() -> "AnyGraph":
        loop = asyncio.get_running_loop()
        at, graph = made.get(loop, (0.0, None))
        if graph is None or loop.time() > at + _FRESH:
            graph = await (await _kit()).graph(name_or_path, checkpointer=False)
            made[loop] = loop.time(), graph
        return graph

    return make


devassist = served("devassist")


async def _kit() -> "Kit":
    loop = asyncio.get_running_loop()
    opening = _kits.get(loop)
    if opening is None or (opening.done() and opening.exception() is not None):
        opening = _kits[loop] = loop.create_task(_open(), name="open agentkit")
    return await asyncio.shield(opening)


async def _open() -> "Kit":
    # In a thread: the server refuses calls that block its loop, such as looking at files.
    return await asyncio.to_thread(_made, asyncio.get_running_loop())


def _made(home: asyncio.AbstractEventLoop) -> "Kit":
    from agentkit.events import EventBus
    from agentkit.observability.logging import log_event
    from agentkit.wiring.kit import Kit

    events = EventBus()
    events.subscribe(log_event)
    return Kit(Settings.load(), events, home=home)
