"""A compiled graph that any caller can use: async on any loop, or synchronous.

Our nodes are async, and what they hold (connections, a checkpointer) belongs to the
event loop it was opened on, the graph's home. Calls from that loop go straight to
LangGraph; calls from another loop, or from no loop at all, are carried over.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Self, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Durability

from agentkit import portal
from agentkit.graphs import failures
from agentkit.graphs.pins import pinned_to
from agentkit.graphs.prompted import noting
from agentkit.graphs.routing.base import AgentCard
from agentkit.llm.budgets import Limits, limited

AnyGraph = CompiledStateGraph[Any, Any, Any, Any]

NO_LIMITS = Limits()


class Graph(AnyGraph):
    """A `CompiledStateGraph` whose sync and async methods work from every thread and loop.

    Attributes:
        home: Loop its connections live on; None when it holds none, as a graph
            without checkpointer and retriever does.
        about: What a supervisor knows of it; None for a graph that is no agent.
        limits: What the model calls of one run may spend together.
        team: Whether it is several agents, of which one may fail without the others.
        digest: Digest of the blueprint it was compiled from, or an empty string. It is in the
            metadata of every trace and checkpoint of its runs; see `agentkit.graphs.pins`.
        prompts: Labels of the prompt versions it uses; in the metadata of its runs.
        combines: Whether a team's supervisor makes one answer of several in its own words.
        durability: When its checkpoints are written, unless a call says otherwise; None: as
            LangGraph does.
        agents: The graphs of a team's agents, by name.
    """

    home: asyncio.AbstractEventLoop | None
    about: AgentCard | None
    limits: Limits
    team: bool
    digest: str
    prompts: tuple[str, ...]
    combines: bool
    durability: Durability | None
    agents: "Mapping[str, Graph]"

    @classmethod
    def adopt(
        cls,
        graph: AnyGraph,
        *,
        home: asyncio.AbstractEventLoop | None = None,
        about: AgentCard | None = None,
        limits: Limits = NO_LIMITS,
        team: bool = False,
        prompts: Sequence[str] = (),
        combines: bool = False,
        durability: Durability | None = None,
        agents: "Mapping[str, Graph] | None" = None,
    ) -> Self:
        """Return `graph` as a `Graph`; LangGraph's builders only compile to its own class."""
        adopted = cls.__new__(cls)
        vars(adopted).update(vars(graph))
        adopted.home = home
        adopted.about = about
        adopted.limits = limits
        adopted.team = team
        adopted.digest = ""
        adopted.prompts = tuple(prompts)
        adopted.combines = combines
        adopted.durability = durability
        adopted.agents = agents or {}
        return adopted

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """Return a copy with some attributes changed; `with_config` and LangGraph's server use it."""
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self), **(update or {}))
        return copied

    def astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """See `CompiledStateGraph.astream`; `ainvoke` is built on it."""
        stream = self._streamer(*args, **kwargs)
        if self.home is None or self.home is asyncio.get_running_loop():
            return stream()
        return portal.aiterate(stream, on=self.home)

    def stream(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """See `CompiledStateGraph.stream`; `invoke` is built on it."""
        return portal.iterate(self._streamer(*args, **kwargs), on=self.home)

    async def aget_state(self, *args: Any, **kwargs: Any) -> Any:
        """See `CompiledStateGraph.aget_state`."""
        return await portal.arun(partial(super().aget_state, **kwargs), *args, on=self.home)

    async def aupdate_state(self, config: RunnableConfig, *args: Any, **kwargs: Any) -> Any:
        """See `CompiledStateGraph.aupdate_state`."""
        config = pinned_to(self.digest, config)
        return await portal.arun(partial(super().aupdate_state, **kwargs), config, *args, on=self.home)

    def aget_state_history(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """See `CompiledStateGraph.aget_state_history`."""
        history = partial(super().aget_state_history, *args, **kwargs)
        if self.home is None or self.home is asyncio.get_running_loop():
            return history()
        return portal.aiterate(history, on=self.home)

    def _streamer(
        self,
        input: Any,  # noqa: A002 - LangGraph's name
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Callable[[], AsyncIterator[Any]]:
        if self.limits:
            config = limited(config, self.limits, run=self.name, owner="team" if self.team else "agent")
        config = noting(config, self.prompts)
        if self.team:
            config = failures.collecting(config)
        if self.durability is not None and self.checkpointer and kwargs.get("durability") is None:
            kwargs["durability"] = self.durability
        config = pinned_to(self.digest, config)
        return cast("Callable[[], AsyncIterator[Any]]", partial(super().astream, input, config, **kwargs))
