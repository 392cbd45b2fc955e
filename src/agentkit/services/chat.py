"""One turn of a conversation: run the graph, tell what happens, return the answer."""

from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from agentkit.context import RunContext
from agentkit.graphs.bridge import Graph
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.state import AgentPart, Hop, RouteDecision, Source, StopReason
from agentkit.services.nested import Namespace, Nested
from agentkit.services.several import Several
from agentkit.services.usage import Usage, UsageCounter


@dataclass(frozen=True, slots=True)
class ToolCallRecord:
    """One tool call and what it returned."""

    id: str
    name: str
    args: dict[str, Any]
    result: str | None = None


_SOMETIMES = frozenset({"teams", "hops", "stopped"})


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a turn: the body of the chat route, and of `agentkit chat --json`."""

    answer: str
    thread_id: str
    request_id: str
    route: RouteDecision
    sources: list[Source]
    tool_calls: list[ToolCallRecord]
    usage: Usage
    model: str
    prompts: list[str] = field(default_factory=list[str])
    teams: dict[str, RouteDecision] = field(default_factory=dict[str, RouteDecision])
    hops: list[Hop] = field(default_factory=list[Hop])
    stopped: StopReason | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the contract; the scores stay in state and traces.

        What only some blueprints have is in it only if there is any.
        """
        body = asdict(self)
        body["route"] = _said(self.route)
        body["teams"] = {team: _said(route) for team, route in self.teams.items()}
        return {key: item for key, item in body.items() if item or key not in _SOMETIMES}


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that happened during a turn.

    Attributes:
        type: `route` (data: RouteDecision), `sources` (list of Source), `token` (str),
            `tool_call` and `tool_result` (ToolCallRecord), `part` (AgentPart, when one of
            several agents is done), `team_route` (TeamRoute, when an agent is a team and its
            supervisor has decided), `handoff` (Hop, when the question goes from one agent to
            another; sources told before are not those of the answer), `usage` (Usage), `done`
            (Answer).
        data: As listed for the type.
    """

    type: Literal[
        "route",
        "sources",
        "token",
        "tool_call",
        "tool_result",
        "part",
        "team_route",
        "handoff",
        "usage",
        "done",
    ]
    data: Any


@dataclass(slots=True)
class _Turn:
    """What has been gathered so far."""

    route: RouteDecision = field(
        default_factory=lambda: RouteDecision(agents=[], method="direct", scores={}, reason="")
    )
    sources: list[Source] = field(default_factory=list[Source])
    tool_calls: dict[str, ToolCallRecord] = field(default_factory=dict[str, ToolCallRecord])
    answers: list[str] = field(default_factory=list[str])
    models: list[str] = field(default_factory=list[str])
    prompts: list[str] = field(default_factory=list[str])
    several: Several | None = None
    nested: Nested = field(default_factory=Nested)
    hops: list[Hop] = field(default_factory=list[Hop])
    stopped: StopReason | None = None


class ChatService:
    """Runs turns on one compiled blueprint.

    Args:
        graph: From `Kit.graph` or `build_supervisor`.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph

    async def ask(
        self, message: str, *, thread_id: str | None = None, context: RunContext | None = None
    ) -> Answer:
        """Return the answer to `message`; arguments and errors as for `stream`."""
        async for event in self.stream(message, thread_id=thread_id, context=context):
            if event.type == "done":
                return cast("Answer", event.data)
        raise AssertionError("a turn ends with `done`")

    async def stream(
        self, message: str, *, thread_id: str | None = None, context: RunContext | None = None
    ) -> AsyncGenerator[ChatEvent]:
        """Run one turn and yield what happens, `done` last.

        Closing the generator cancels the turn; the thread keeps the message and can go on.

        Args:
            message: What the user says.
            thread_id: Conversation to continue; None for a new one.
            context: Who asks; None for the anonymous default.

        Raises:
            ProviderError: The model failed; where several agents were asked, those of all.
            AgentTimeoutError: The agent took too long; likewise.
            DatabaseError: The store or the checkpointer failed.
        """
        context = context or RunContext()
        thread_id = thread_id or uuid4().hex
        counter = UsageCounter()
        config: RunnableConfig = {
            "configurable": {"thread_id": thread_id},
            "callbacks": [counter],
            "metadata": {"request_id": context.request_id},
            "run_name": self._graph.name,
        }
        turn = _Turn()
        parts = self._graph.astream(
            {"messages": [("user", message)]},
            config,
            context=context,
            stream_mode=["messages", "custom", "updates"],
            subgraphs=True,
        )
        async for namespace, mode, part in parts:
            for event in _events(turn, cast("tuple[str, ...]", namespace), cast("str", mode), part):
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
            teams=turn.nested.routes,
            hops=turn.hops,
            stopped=turn.stopped,
        )
        yield ChatEvent("done", answer)


def _events(turn: _Turn, namespace: tuple[str, ...], mode: str, part: Any) -> list[ChatEvent]:
    """Note one part of the graph's stream, and say it in our words."""
    if mode == "messages":
        return _words(turn, namespace, cast("BaseMessage", part[0]))
    if mode == "custom":
        return _announced(turn, namespace, cast("dict[str, Any]", part))
    events: list[ChatEvent] = []
    if sources := turn.nested.joined(namespace, cast("dict[str, Any]", part)):
        events += _sources(turn, namespace, sources)
    for update in cast("dict[str, Any]", part).values():
        if not isinstance(update, dict):  # nothing, or an interrupt
            continue
        changed = cast("dict[str, Any]", update)
        messages = cast("list[BaseMessage]", changed.get("messages") or [])
        if namespace:
            events += [event for message in messages for event in _tool_events(turn, message)]
        else:
            events += _own_events(turn, messages, changed)
    return events


def _own_events(turn: _Turn, messages: list[BaseMessage], update: dict[str, Any]) -> list[ChatEvent]:
    """What there is to say of a change of the graph's own state."""
    for message in messages:
        if isinstance(message, AIMessage):
            turn.answers.append(message.text)
            turn.models.append(str(message.response_metadata.get("model_name", "")))
            turn.prompts += prompts_of(message)
    turn.hops = update.get("hops") or turn.hops
    turn.stopped = update.get("stopped") or turn.stopped
    return _part_events(turn, turn.several, update) if turn.several else []


def _words(turn: _Turn, namespace: Namespace, message: BaseMessage) -> list[ChatEvent]:
    if not isinstance(message, (AIMessage, AIMessageChunk)) or not message.text:
        return []
    if not turn.nested.heard(namespace):
        return []
    said = turn.several.token(_node(namespace), message.text) if turn.several else message.text
    return [ChatEvent("token", said)] if said else []


def _announced(turn: _Turn, namespace: Namespace, part: dict[str, Any]) -> list[ChatEvent]:
    if part.get("type") == "route" and namespace:
        return [ChatEvent("team_route", turn.nested.routed(namespace, part["route"]))]
    if part.get("type") == "route":
        turn.route = part["route"]
        if len(turn.route["agents"]) > 1:
            turn.several = Several(turn.route["agents"], combined=part["combined"])
        return [ChatEvent("route", turn.route)]
    if part.get("type") == "handoff":
        if turn.several is None:  # of several, their sources come later
            turn.sources = []
        return [ChatEvent("handoff", turn.nested.hop(namespace, part["hop"]))] if not part["stopped"] else []
    return _sources(turn, namespace, part["sources"]) if part.get("type") == "sources" else []


def _sources(turn: _Turn, namespace: Namespace, sources: list[Source]) -> list[ChatEvent]:
    if turn.several is not None or not turn.nested.heard(namespace):  # of several, numbers come later
        return []
    turn.sources += sources
    return [ChatEvent("sources", sources)]


def _said(route: RouteDecision) -> dict[str, Any]:
    return {key: route[key] for key in ("agents", "method", "reason")}


def _part_events(turn: _Turn, several: Several, update: dict[str, Any]) -> list[ChatEvent]:
    """What there is to say of several agents: some are done, or all are and their answer is made."""
    events: list[ChatEvent] = []
    if isinstance(update.get("parts"), list):
        done = cast("list[AgentPart]", update["parts"])
        events += [ChatEvent("part", part) for part in done]
        for sources, words in several.finished(done):
            events += [ChatEvent("sources", sources)] if sources else []
            events += [ChatEvent("token", words)] if words else []
        turn.sources = several.sources
        turn.models = several.models
    elif turn.answers and (rest := several.rest(turn.answers[-1])):
        events.append(ChatEvent("token", rest))
    return events


def _node(namespace: tuple[str, ...]) -> str:
    return namespace[0].partition(":")[0] if namespace else ""


def _tool_events(turn: _Turn, message: BaseMessage) -> list[ChatEvent]:
    if isinstance(message, ToolMessage):
        call = turn.tool_calls.get(message.tool_call_id)
        name = call.name if call else message.name or ""
        record = ToolCallRecord(message.tool_call_id, name, call.args if call else {}, message.text)
        turn.tool_calls[record.id] = record
        return [ChatEvent("tool_result", record)]
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    records = [ToolCallRecord(call["id"] or "", call["name"], call["args"]) for call in calls]
    turn.tool_calls.update({record.id: record for record in records})
    return [ChatEvent("tool_call", record) for record in records]
