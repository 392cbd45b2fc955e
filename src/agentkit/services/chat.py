"""Conversations with one compiled blueprint: a turn, what waits in it for a person, and going on."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast
from uuid import uuid4

from agentkit.context import RunContext
from agentkit.graphs.bridge import Graph
from agentkit.graphs.decision import Decision
from agentkit.services.decisions import Answers
from agentkit.services.graph_turns import GraphTurns
from agentkit.services.graphs import Always, Graphs
from agentkit.services.pauses import Pause, Thread, WaitingCall
from agentkit.services.turn import Answer, ChatEvent, ToolCallRecord

__all__ = ["Answer", "ChatEvent", "ChatService", "Decision", "Pause", "ToolCallRecord", "WaitingCall"]


class ChatService:
    """Runs turns on one compiled blueprint.

    Args:
        graph: From `Kit.graph` or `build_supervisor`; or what chooses one for each turn,
            from `Kit.live`.
    """

    def __init__(self, graph: Graph | Graphs) -> None:
        self._graphs = Always(graph) if isinstance(graph, Graph) else graph

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
            BlueprintUnavailableError: It waits in a state of the blueprint that is gone.
            ProviderError: The model failed; where several agents were asked, those of all.
            AgentTimeoutError: The agent took too long; likewise.
            DatabaseError: The store or the checkpointer failed.
        """
        new, thread_id = thread_id is None, thread_id or uuid4().hex
        async with self._graphs.for_turn(thread_id) as graph:
            turn = GraphTurns(graph).stream(message, thread_id, context or RunContext(), new=new)
            async with aclosing(turn):
                async for event in turn:
                    yield event

    async def pending(self, thread_id: str) -> list[Pause]:
        """Return what waits for a person in a thread; nothing for a thread that does not exist.

        Raises:
            ConfigurationError: The graph keeps no conversations.
        """
        async with self._graphs.for_resume(thread_id) as graph:
            return await GraphTurns(graph).pending(thread_id)

    async def thread(self, thread_id: str) -> Thread:
        """Return what was said in a thread and what waits in it. Raises as `pending`."""
        async with self._graphs.for_resume(thread_id) as graph:
            return await GraphTurns(graph).thread(thread_id)

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
        async with self._graphs.for_resume(thread_id) as graph:
            turn = GraphTurns(graph).resume(thread_id, decisions, context or RunContext())
            async with aclosing(turn):
                async for event in turn:
                    yield event

    async def decide(
        self, thread_id: str, decisions: Answers, *, context: RunContext | None = None
    ) -> Answer:
        """Return the answer of a paused turn; arguments and errors as for `resume`."""
        return await _last(self.resume(thread_id, decisions, context=context))


async def _last(events: AsyncGenerator[ChatEvent]) -> Answer:
    async with aclosing(events):
        async for event in events:
            if event.type == "done":
                return cast("Answer", event.data)
    raise AssertionError("a turn ends with `done`")
