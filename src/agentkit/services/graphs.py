"""Which graph a turn runs on."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from agentkit.graphs.bridge import Graph


class Graphs(Protocol):
    """Chooses the graph of each turn, and is told when the turn has ended."""

    @property
    def graph(self) -> Graph:
        """The graph of a new thread's turn; name and checkpointer are those of all."""
        ...

    def for_turn(self, thread_id: str) -> AbstractAsyncContextManager[Graph]:
        """The graph for something new said in a thread."""
        ...

    def for_resume(self, thread_id: str) -> AbstractAsyncContextManager[Graph]:
        """The graph in which a thread waits for an answer."""
        ...


class Always:
    """One graph for every turn.

    Args:
        graph: That graph.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    @property
    def graph(self) -> Graph:
        """See `Graphs`."""
        return self._graph

    @asynccontextmanager
    async def for_turn(self, thread_id: str) -> AsyncGenerator[Graph]:  # noqa: ARG002 - the protocol's
        """See `Graphs`."""
        yield self._graph

    for_resume = for_turn
