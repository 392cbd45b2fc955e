"""Conversations with one compiled blueprint: a turn, what waits in it for a person, and going on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing, nullcontext
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from agentkit.context import RunContext
from agentkit.errors import ConfigurationError, DecisionError, ThreadPausedError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.decision import Decision
from agentkit.graphs.state import RouteDecision, Source
from agentkit.services.decisions import Answers, decided, resuming, tools_of
from agentkit.services.pauses import Message, Pause, Thread, WaitingCall, waiting
from agentkit.services.turn import Answer, ChatEvent, ToolCallRecord, Turn
from agentkit.services.turn_lock import alone
from agentkit.services.usage import UsageCounter

__all__ = ["Answer", "ChatEvent", "ChatService", "Decision", "Pause", "ToolCallRecord", "WaitingCall"]


class ChatService:
    """Runs turns on one compiled blueprint.

    Args:
        graph: From `Kit.graph` or `build_supervisor`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._keeps = bool(cast("Any", graph.checkpointer))

    async def ask(
        self, message: str, *, thread_id: str | None = None, context: RunContext | None = None
    ) -> Answer:
        """Return the answer to `message`; arguments and errors as for `stream`."""
        return await _last(self.stream(message, thread_id=thread_id, context=context))

    async def stream(
        self, message: str, *, thread_id: str | None = None, context: RunContext | None = None
    ) -> AsyncGenerator[ChatEvent]:
        """Run one turn and yield what happens, `done` last.

        Turns of one thread run one after another. Closing the generator cancels the turn; the
        thread keeps the message and can go on. A turn that has to wait for a person ends as
        well: its answer has `interrupts`, and `resume` goes on with it.

        Args:
            message: What the user says.
            thread_id: Conversation to continue; None for a new one.
            context: Who asks; None for the anonymous default.

        Raises:
            ThreadPausedError: The thread waits for a person; the message is not taken.
            ProviderError: The model failed; where several agents were asked, those of all.
            AgentTimeoutError: The agent took too long; likewise.
            DatabaseError: The store or the checkpointer failed.
        """
        known = thread_id is not None and self._keeps
        thread_id = thread_id or uuid4().hex
        async with alone(self._graph, thread_id) if known else nullcontext():
            if known and (pauses := await self.pending(thread_id)):
                raise ThreadPausedError(thread_id, [pause.id for pause in pauses])
            given = {"messages": [("user", message)]}
            async with aclosing(self._run(given, thread_id, context or RunContext(), Turn())) as events:
                async for event in events:
                    yield event

    async def pending(self, thread_id: str) -> list[Pause]:
        """Return what waits for a person in a thread; nothing for a thread that does not exist.

        Raises:
            ConfigurationError: The graph keeps no conversations.
        """
        return waiting(await self._snapshot(thread_id))

    async def thread(self, thread_id: str) -> Thread:
        """Return what was said in a thread and what waits in it. Raises as `pending`."""
        snapshot = await self._snapshot(thread_id)
        said = cast("list[BaseMessage]", snapshot.values.get("messages") or [])
        messages = [Message(message.type, message.name or "", message.text) for message in said]
        return Thread(thread_id, messages, waiting(snapshot))

    async def _stopped(self, thread_id: str, turn: Turn) -> list[Pause]:
        """What the turn that just ended waits for, in order."""
        if not turn.pauses or not self._keeps:
            return list(turn.pauses.values())
        return await self.pending(thread_id)

    async def resume(
        self, thread_id: str, decisions: Answers, *, context: RunContext | None = None
    ) -> AsyncGenerator[ChatEvent]:
        """Go on with a paused turn, in this process or another one, and yield what happens.

        The events are those of `stream`, and complete: the route comes first, and the tokens make
        up the whole answer, what other agents said before the pause included. What is not decided
        on goes on waiting: `done` lists it again. Where two answer the same interrupt at the same
        time, one is first; the other waits and then gets `UnknownInterruptError`.

        A tool runs once for each approval, unless it fails or the process ends while it runs. Then
        nobody knows what it did: after a crash its call waits again; after an error the turn has
        failed, a new message may follow, and `resume` without decisions tries that call again.

        Args:
            thread_id: The conversation.
            decisions: By interrupt id: a `Decision`, or what `Decision.parse` reads; for a
                question of a tool's own, whatever it asks for. None at all: a turn that failed
                after its pauses were answered goes on from there, without asking again.
            context: For whom the rest is run: who asked, as a rule, not who decides.

        Raises:
            UnknownInterruptError: An interrupt does not wait there, or no longer.
            DecisionError: A decision is not allowed, or its arguments do not fit. Nothing is
                lost then, and everything waits as before.
            ConfigurationError: The graph keeps no conversations.
            AgentKitError: As for `stream`.
        """
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
                async with aclosing(self._run(command, thread_id, context or RunContext(), turn)) as events:
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

    async def decide(
        self, thread_id: str, decisions: Answers, *, context: RunContext | None = None
    ) -> Answer:
        """Return the answer of a paused turn; arguments and errors as for `resume`."""
        return await _last(self.resume(thread_id, decisions, context=context))

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


async def _last(events: AsyncGenerator[ChatEvent]) -> Answer:
    async with aclosing(events):
        async for event in events:
            if event.type == "done":
                return cast("Answer", event.data)
    raise AssertionError("a turn ends with `done`")


def _found(snapshot: StateSnapshot, route: RouteDecision) -> list[Source]:
    """What the only agent of a paused turn had found; several bring theirs when they are done."""
    if len(route["agents"]) != 1:
        return []
    for task in snapshot.tasks:
        if isinstance(task.state, StateSnapshot):
            return list(task.state.values.get("sources") or [])
    return []
