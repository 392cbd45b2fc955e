"""One turn of a conversation: run the graph, tell what happens, return the answer."""

from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast
from uuid import uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, RemoveMessage, ToolMessage
from langchain_core.runnables import RunnableConfig

from agentkit.context import RunContext
from agentkit.graphs.bridge import Graph
from agentkit.graphs.limits import REACHED, sentence
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.state import AgentPart, ReachedLimit, RouteDecision, Source
from agentkit.llm.base import closing
from agentkit.services.graphs import Always, Graphs
from agentkit.services.several import Several
from agentkit.services.usage import Usage, UsageCounter


@dataclass(frozen=True, slots=True)
class ToolCallRecord:
    """One tool call and what it returned."""

    id: str
    name: str
    args: dict[str, Any]
    result: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The outcome of a turn: the body of the chat route, and of `agentkit chat --json`.

    `limits_reached` names the limits that cut it short; the text says so too. `output` is the
    object that the answer is, where one agent with an output schema gave it.
    """

    answer: str
    thread_id: str
    request_id: str
    route: RouteDecision
    sources: list[Source]
    tool_calls: list[ToolCallRecord]
    usage: Usage
    model: str
    prompts: list[str] = field(default_factory=list[str])
    limits_reached: list[ReachedLimit] = field(default_factory=list[ReachedLimit])
    output: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the contract; the scores stay in state and traces."""
        body = asdict(self)
        body["route"] = {key: self.route[key] for key in ("agents", "method", "reason")}
        return body


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that happened during a turn.

    Attributes:
        type: `route` (data: RouteDecision), `sources` (list of Source), `token` (str),
            `tool_call` and `tool_result` (ToolCallRecord), `part` (AgentPart, when one of
            several agents is done), `limit` (ReachedLimit, when one ends somebody's work),
            `usage` (Usage), `done` (Answer).
        data: As listed for the type.
    """

    type: Literal["route", "sources", "token", "tool_call", "tool_result", "part", "limit", "usage", "done"]
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
    limits: list[ReachedLimit] = field(default_factory=list[ReachedLimit])
    spoke: bool = False
    output: Any = None


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
        }
        turn = _Turn()
        async with self._graphs.for_turn(thread_id) as graph:
            config["run_name"] = graph.name
            parts = graph.astream(
                {"messages": [("user", message)]},
                config,
                context=context,
                stream_mode=["messages", "custom", "updates"],
                subgraphs=True,
            )
            async with closing(parts):  # the graph is in use until its last node has ended
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
            limits_reached=turn.limits,
            output=turn.output,
        )
        yield ChatEvent("done", answer)


def _events(turn: _Turn, namespace: tuple[str, ...], mode: str, part: Any) -> list[ChatEvent]:
    """Note one part of the graph's stream, and say it in our words."""
    if mode == "messages":
        return _spoken(turn, namespace, cast("BaseMessage", part[0]))
    if mode == "custom":
        return _announced(turn, cast("dict[str, Any]", part))
    events: list[ChatEvent] = []
    for update in cast("dict[str, Any]", part).values():
        if not isinstance(update, dict):  # nothing, or an interrupt
            continue
        events += _updated(turn, namespace, cast("dict[str, Any]", update))
    return events


def _updated(turn: _Turn, namespace: tuple[str, ...], changed: dict[str, Any]) -> list[ChatEvent]:
    """What one node's update of the state tells."""
    events: list[ChatEvent] = []
    messages = cast("list[BaseMessage]", changed.get("messages") or [])
    if messages and isinstance(messages[0], RemoveMessage):  # the history, written anew
        return []
    for message in messages:
        if namespace:
            events += _tool_events(turn, message)
        elif isinstance(message, AIMessage) and not message.tool_calls:
            turn.answers.append(message.text)
            turn.models.append(str(message.response_metadata.get("model_name", "")))
            turn.prompts += prompts_of(message)
    if not namespace and "output" in changed:
        turn.output = changed["output"]
    if turn.several and not namespace:
        events += _part_events(turn, turn.several, changed)
    return events


def _spoken(turn: _Turn, namespace: tuple[str, ...], message: BaseMessage) -> list[ChatEvent]:
    """The words of a model, if a user may hear them now."""
    if not isinstance(message, (AIMessage, AIMessageChunk)) or not message.text:
        return []
    if REACHED in message.response_metadata:  # told when it was reached, without what was heard already
        return []
    said = turn.several.token(_node(namespace), message.text) if turn.several else message.text
    turn.spoke = turn.spoke or bool(said)
    return [ChatEvent("token", said)] if said else []


def _announced(turn: _Turn, part: dict[str, Any]) -> list[ChatEvent]:
    if part.get("type") == "route":
        turn.route = part["route"]
        if len(turn.route["agents"]) > 1:
            turn.several = Several(turn.route["agents"], combined=part["combined"])
        return [ChatEvent("route", turn.route)]
    if part.get("type") == "sources" and turn.several is None:  # of several, their numbers come later
        turn.sources += part["sources"]
        return [ChatEvent("sources", part["sources"])]
    if part.get("type") == "limit":
        turn.limits.append(part["limit"])
        events = [ChatEvent("limit", part["limit"])]
        if turn.several is None and part["said"]:  # of several, the part says it
            text = sentence(part["limit"])
            events.append(ChatEvent("token", f"\n\n{text}" if turn.spoke else text))
        return events
    return []


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
    said = message.tool_calls if isinstance(message, AIMessage) else []
    calls = [call for call in said if call["id"] not in turn.tool_calls]
    records = [ToolCallRecord(call["id"] or "", call["name"], call["args"]) for call in calls]
    turn.tool_calls.update({record.id: record for record in records})
    return [ChatEvent("tool_call", record) for record in records]
