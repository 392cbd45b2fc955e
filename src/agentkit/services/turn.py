"""What has happened in a turn so far, from the graph's stream, in the words of `ChatEvent`."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, RemoveMessage, ToolMessage
from langgraph.types import Interrupt

from agentkit.graphs.limits import REACHED, sentence
from agentkit.graphs.prompted import prompts_of
from agentkit.graphs.state import AgentPart, Hop, ReachedLimit, RouteDecision, Source, StopReason
from agentkit.services.nested import Namespace, Nested
from agentkit.services.pauses import Pause, WaitingCall, pause
from agentkit.services.several import Several
from agentkit.services.usage import Usage


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
    """The outcome of a turn: the body of the chat route, and of `agentkit chat --json`.

    A turn that waits for a person has `interrupts`, and mostly no `answer` yet. `limits_reached`
    names the limits that cut it short; the text says so too. `output` is the object that the
    answer is, where one agent with an output schema gave it.
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
    interrupts: list[Pause] = field(default_factory=list[Pause])
    teams: dict[str, RouteDecision] = field(default_factory=dict[str, RouteDecision])
    hops: list[Hop] = field(default_factory=list[Hop])
    stopped: StopReason | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON object of the contract; the scores stay in state and traces.

        What only some blueprints have is in it only if there is any.
        """
        body = asdict(self)
        body["route"] = _told(self.route)
        body["teams"] = {team: _told(route) for team, route in self.teams.items()}
        return {key: item for key, item in body.items() if item or key not in _SOMETIMES}


def _told(route: RouteDecision) -> dict[str, Any]:
    return {key: route[key] for key in ("agents", "method", "reason")}


@dataclass(frozen=True, slots=True)
class ChatEvent:
    """Something that happened during a turn.

    Attributes:
        type: `route` (data: RouteDecision), `sources` (list of Source), `token` (str),
            `tool_call` and `tool_result` (ToolCallRecord), `part` (AgentPart, when one of
            several agents is done), `limit` (ReachedLimit, when one ends somebody's work),
            `interrupt` (Pause), `team_route` (TeamRoute, when an agent is a team and its
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
        "limit",
        "interrupt",
        "team_route",
        "handoff",
        "usage",
        "done",
    ]
    data: Any


def _undecided() -> RouteDecision:
    return RouteDecision(agents=[], method="direct", scores={}, reason="")


@dataclass(slots=True)
class Turn:
    """What has been gathered so far."""

    route: RouteDecision = field(default_factory=_undecided)
    sources: list[Source] = field(default_factory=list[Source])
    tool_calls: dict[str, ToolCallRecord] = field(default_factory=dict[str, ToolCallRecord])
    answers: list[str] = field(default_factory=list[str])
    models: list[str] = field(default_factory=list[str])
    prompts: list[str] = field(default_factory=list[str])
    limits: list[ReachedLimit] = field(default_factory=list[ReachedLimit])
    output: Any = None
    pauses: dict[str, Pause] = field(default_factory=dict[str, Pause])
    several: Several | None = None
    nested: Nested = field(default_factory=Nested)
    hops: list[Hop] = field(default_factory=list[Hop])
    stopped: StopReason | None = None
    _spoke: bool = False
    _waiting: dict[str, str] = field(default_factory=dict[str, str])
    """Agents by the interrupts they wait for."""

    def resumed(
        self, route: RouteDecision, sources: list[Source], calls: Iterable[WaitingCall], *, combined: bool
    ) -> list[ChatEvent]:
        """Take up a turn that was paused; returns what whoever goes on with it must be told first.

        Args:
            route: Who was chosen.
            sources: What the only agent found; empty where there are several.
            calls: What was decided on, as it will run.
            combined: Whether the supervisor makes one answer of several in its own words.
        """
        for call in calls:
            self.tool_calls[call.id] = ToolCallRecord(call.id, call.name, call.args)
        return self._announced((), {"type": "route", "route": route, "combined": combined}) + (
            self._announced((), {"type": "sources", "sources": sources}) if sources else []
        )

    def events(self, namespace: tuple[str, ...], mode: str, part: Any) -> list[ChatEvent]:
        """Note one part of the graph's stream, and say it in our words."""
        if mode == "messages":
            return self._spoken(namespace, cast("BaseMessage", part[0]))
        if mode == "custom":
            return self._announced(namespace, cast("dict[str, Any]", part))
        updates = dict(cast("dict[str, Any]", part))
        # What a paused run had done already is repeated when it goes on; an agent's tools were told.
        if updates.pop("__metadata__", {}).get("cached") and namespace:
            return []
        events: list[ChatEvent] = []
        if sources := self.nested.joined(namespace, updates):
            events += self._found(namespace, sources)
        for name, update in updates.items():
            if name == "__interrupt__":
                events += self._interrupted(namespace, cast("Sequence[Interrupt]", update))
            elif isinstance(update, dict):
                events += self._updated(namespace, cast("dict[str, Any]", update))
        return events

    def _spoken(self, namespace: tuple[str, ...], message: BaseMessage) -> list[ChatEvent]:
        """The words of a model, if a user may hear them now."""
        if not isinstance(message, (AIMessage, AIMessageChunk)) or not message.text:
            return []
        if not self.nested.heard(namespace):
            return []
        if REACHED in message.response_metadata:  # told when it was reached, without what was heard already
            return []
        said = self.several.token(_node(namespace), message.text) if self.several else message.text
        self._spoke = self._spoke or bool(said)
        return [ChatEvent("token", said)] if said else []

    def _interrupted(self, namespace: tuple[str, ...], interrupts: Sequence[Interrupt]) -> list[ChatEvent]:
        """An agent's graph says first that it waits, then the graph around it."""
        if namespace:
            self._waiting |= {interrupt.id: _node(namespace) for interrupt in interrupts}
            return []
        found = [
            pause(interrupt, self._waiting.get(interrupt.id, ""))
            for interrupt in interrupts
            if interrupt.id not in self.pauses
        ]
        self.pauses |= {it.id: it for it in found}
        return [ChatEvent("interrupt", it) for it in found]

    def _updated(self, namespace: tuple[str, ...], update: dict[str, Any]) -> list[ChatEvent]:
        events: list[ChatEvent] = []
        messages = cast("list[BaseMessage]", update.get("messages") or [])
        for message in _since_the_question(messages):
            if namespace:
                events += self._tool_events(message)
            elif isinstance(message, AIMessage) and not message.tool_calls:
                self.answers.append(message.text)
                self.models.append(str(message.response_metadata.get("model_name", "")))
                self.prompts += prompts_of(message)
        if not namespace and "limits_reached" in update:
            self.limits = list(getattr(update["limits_reached"], "value", update["limits_reached"]))
        if not namespace:
            self.output = update.get("output", self.output)
            self.hops = update.get("hops") or self.hops
            self.stopped = update.get("stopped") or self.stopped
        if self.several and not namespace:
            events += self._part_events(self.several, update)
        return events

    def _announced(self, namespace: Namespace, part: dict[str, Any]) -> list[ChatEvent]:
        kind = part.get("type")
        if kind == "route" and namespace:
            return [ChatEvent("team_route", self.nested.routed(namespace, part["route"]))]
        if kind == "route":
            self.route = part["route"]
            if len(self.route["agents"]) > 1:
                self.several = Several(self.route["agents"], combined=part["combined"])
            return [ChatEvent("route", self.route)]
        if kind == "handoff":
            if self.several is None:  # of several, their sources come later
                self.sources = []
            hop = self.nested.hop(namespace, part["hop"])
            return [] if part["stopped"] else [ChatEvent("handoff", hop)]
        if kind == "sources":
            return self._found(namespace, part["sources"])
        if kind == "limit":
            return self._limited(part["limit"], said=part["said"])
        return []

    def _found(self, namespace: Namespace, sources: list[Source]) -> list[ChatEvent]:
        if self.several is not None or not self.nested.heard(namespace):  # of several, numbers come later
            return []
        self.sources += sources
        return [ChatEvent("sources", sources)]

    def _limited(self, limit: ReachedLimit, *, said: bool) -> list[ChatEvent]:
        events = [ChatEvent("limit", limit)]
        if self.several is None and said:  # of several, the part says it
            events.append(ChatEvent("token", f"\n\n{sentence(limit)}" if self._spoke else sentence(limit)))
        return events

    def _part_events(self, several: Several, update: dict[str, Any]) -> list[ChatEvent]:
        """What there is to say of several agents: some are done, or all are and their answer is made."""
        events: list[ChatEvent] = []
        if isinstance(update.get("parts"), list):
            done = cast("list[AgentPart]", update["parts"])
            events += [ChatEvent("part", part) for part in done]
            for sources, words in several.finished(done):
                events += [ChatEvent("sources", sources)] if sources else []
                events += [ChatEvent("token", words)] if words else []
            self.sources = several.sources
            self.models = several.models
        elif self.answers and (rest := several.rest(self.answers[-1])):
            events.append(ChatEvent("token", rest))
        return events

    def _tool_events(self, message: BaseMessage) -> list[ChatEvent]:
        if isinstance(message, ToolMessage):
            call = self.tool_calls.get(message.tool_call_id)
            if call and call.result is not None:  # told already; a middleware has changed it since
                return []
            name = call.name if call else message.name or ""
            record = ToolCallRecord(message.tool_call_id, name, call.args if call else {}, message.text)
            self.tool_calls[record.id] = record
            return [ChatEvent("tool_result", record)]
        said = message.tool_calls if isinstance(message, AIMessage) else []
        calls = [call for call in said if call["id"] not in self.tool_calls]
        records = [ToolCallRecord(call["id"] or "", call["name"], call["args"]) for call in calls]
        self.tool_calls.update({record.id: record for record in records})
        return [ChatEvent("tool_call", record) for record in records]


def _since_the_question(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """What is of this turn, where a middleware has written the whole history anew."""
    if not messages or not isinstance(messages[0], RemoveMessage):
        return messages
    last = max((index for index, message in enumerate(messages) if message.type == "human"), default=0)
    return messages[last + 1 :]


def _node(namespace: tuple[str, ...]) -> str:
    return namespace[0].partition(":")[0] if namespace else ""
