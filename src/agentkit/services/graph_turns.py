"""The turns of conversations on one graph."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from agentkit.context import RunContext
from agentkit.errors import ConfigurationError, DecisionError, ThreadPausedError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.state import RouteDecision, Source
from agentkit.services.decisions import Answers, decided, resuming, tools_of
from agentkit.services.pauses import Message, Pause, Thread, waiting
from agentkit.services.turn import Answer, ChatEvent, Turn
from agentkit.services.turn_lock import alone
from agentkit.services.usage import UsageCounter


class GraphTurns:
    """Runs turns on one graph; `ChatService` says what each does, and raises.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keeps = bool(cast("Any", graph.checkpointer))

    async def stream(
        self, message: str, thread_id: str, context: RunContext, *, new: bool
    ) -> AsyncGenerator[ChatEvent]:
        """Run a turn; in a `new` thread nothing can wait, and nobody else can be at it."""
        known = self._keeps and not new
        async with alone(self._graph, thread_id) if known else nullcontext():
            if known and (pauses := await self.pending(thread_id)):
                raise ThreadPausedError(thread_id, [pause.id for pause in pauses])
            given = {"messages": [("user", message)]}
            async with aclosing(self._run(given, thread_id, context, Turn())) as events:
                async for event in events:
                    yield event

    async def resume(
        self, thread_id: str, decisions: Answers, context: RunContext
    ) -> AsyncGenerator[ChatEvent]:
        """Go on with a paused turn."""
        async with alone(self._graph, thread_id):
            snapshot = await self._snapshot(thread_id)
            pauses = waiting(snapshot)
            broke_off = bool(snapshot.next) and not pauses and not decisions
            answers = {} if broke_off else resuming(thread_id, pauses, decisions, tools_of(self._graph))
            turn = Turn()
            route = cast("RouteDecision", snapshot.values.get("route") or turn.route)
            for event in turn.resumed(
                route, _found(snapshot, route), decided(pauses, answers), combined=self._graph.combines
            ):
                yield event
            command: Command[Any] | None = Command(resume=answers) if answers else None
            try:
                async with aclosing(self._run(command, thread_id, context, turn)) as events:
                    async for event in events:
                        yield event
            except ValidationError as error:
                if not is_invalid_resume(error):
                    raise
                ids = [pause.id for pause in pauses]
                faults = "; ".join(fault["msg"] for fault in error.errors())
                raise DecisionError(
                    f"A decision does not fit: {faults}.", thread_id=thread_id, pending=ids
                ) from error

    async def pending(self, thread_id: str) -> list[Pause]:
        """What waits for a person in a thread."""
        return waiting(await self._snapshot(thread_id))

    async def thread(self, thread_id: str) -> Thread:
        """What was said in a thread and what waits in it."""
        snapshot = await self._snapshot(thread_id)
        said = cast("list[BaseMessage]", snapshot.values.get("messages") or [])
        messages = [Message(message.type, message.name or "", message.text) for message in said]
        return Thread(thread_id, messages, waiting(snapshot))

    async def _stopped(self, thread_id: str, turn: Turn) -> list[Pause]:
        """What the turn that just ended waits for, in order."""
        if not turn.pauses or not self._keeps:
            return list(turn.pauses.values())
        return await self.pending(thread_id)

    async def _snapshot(self, thread_id: str) -> StateSnapshot:
        if not self._keeps:
            raise ConfigurationError(
                f"{self._graph.name} keeps no conversations, so nothing can wait in one.",
                hint="Give it a checkpointer: runtime.checkpointer in a blueprint.",
            )
        return await self._graph.aget_state({"configurable": {"thread_id": thread_id}}, subgraphs=True)

    async def _run(
        self, given: Any, thread_id: str, context: RunContext, turn: Turn
    ) -> AsyncGenerator[ChatEvent]:
        counter = UsageCounter()
        config: RunnableConfig = {
            "configurable": {"thread_id": thread_id},
            "callbacks": [counter],
            "metadata": {"request_id": context.request_id},
            "run_name": self._graph.name,
        }
        parts = self._graph.astream(
            given, config, context=context, stream_mode=["messages", "custom", "updates"], subgraphs=True
        )
        # Closed here: the graph is in use until its last node has ended.
        async with aclosing(cast("AsyncGenerator[Any]", parts)):
            async for namespace, mode, part in parts:
                for event in turn.events(cast("tuple[str, ...]", namespace), cast("str", mode), part):
                    yield event
        usage = counter.usage
        yield ChatEvent("usage", usage)
        answer = Answer(
            answer="\n\n".join(turn.answers),
            thread_id=thread_id,
            request_id=context.request_id,
            route=turn.route,
            sources=turn.sources,
            tool_calls=list(turn.tool_calls.values()),
            usage=usage,
            model=", ".join(dict.fromkeys(model for model in turn.models if model)),
            prompts=list(dict.fromkeys(turn.prompts)),
            limits_reached=turn.limits,
            output=turn.output,
            interrupts=await self._stopped(thread_id, turn),
            teams=turn.nested.routes,
            hops=turn.hops,
            stopped=turn.stopped,
        )
        yield ChatEvent("done", answer)


def _found(snapshot: StateSnapshot, route: RouteDecision) -> list[Source]:
    """What the only agent of a paused turn had found; several bring theirs when they are done."""
    if len(route["agents"]) != 1:
        return []
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot):
            return list(task.state.values.get("sources") or [])
    return []
