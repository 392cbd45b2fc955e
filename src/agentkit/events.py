"""What happened, as frozen records; parts emit them, sinks subscribe.

The parts (gateway, graphs, retrieval, ingestion) never learn a metric name or a log
format: `wiring` subscribes the sinks. A sink that fails is logged, never raised.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

logger = logging.getLogger(__name__)

Status = Literal["ok", "error", "cancelled"]


@dataclass(frozen=True, slots=True)
class Event:
    """Base of all event records."""


@dataclass(frozen=True, slots=True)
class ModelCallFinished(Event):
    """One call of a chat model ended, however it ended.

    Attributes:
        provider: Provider that answered, for example `local`.
        model: Model name from the configuration.
        agent: Agent on whose behalf the call was made, or an empty string.
        streaming: Whether the caller consumed a stream.
        status: How the call ended.
        duration: Seconds from request to the last chunk.
        time_to_first_token: Seconds to the first content, or None when none came.
        input_tokens: Tokens read, or None when the provider did not say.
        output_tokens: Tokens written, or None when the provider did not say.
        error_type: Class name of the error, or an empty string.
        cost_usd: US dollars, or None when the price or the usage is unknown.
        usage_estimated: Whether the token counts are the provider's estimate.
        cached: Whether the response cache answered; tokens and cost are 0 then.
    """

    provider: str
    model: str
    agent: str
    streaming: bool
    status: Status
    duration: float
    time_to_first_token: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    error_type: str = ""
    usage_estimated: bool = False
    cost_usd: float | None = None
    cached: bool = False


@dataclass(frozen=True, slots=True)
class AttemptFinished(Event):
    """One request to one provider ended; a model call may take several.

    Attributes:
        provider: Who was asked.
        model: For which model.
        status: How it ended.
        duration: Seconds.
        error_type: Class name of the error, or an empty string.
        timeout_kind: Which timeout ended it, or an empty string.
    """

    provider: str
    model: str
    status: Status
    duration: float
    error_type: str = ""
    timeout_kind: str = ""


@dataclass(frozen=True, slots=True)
class QueueLeft(Event):
    """A call that had to wait for its turn at a provider whose concurrency is limited waits no more.

    Attributes:
        provider: Who is asked.
        model: For which model.
        status: `ok` when its turn came, `error` when it had waited for `timeout.queue` in vain.
        duration: Seconds it waited.
    """

    provider: str
    model: str
    status: Status
    duration: float


@dataclass(frozen=True, slots=True)
class RetryScheduled(Event):
    """A failed attempt will be repeated after `delay` seconds; `attempt` is the one that failed, from 1."""

    provider: str
    model: str
    attempt: int
    delay: float
    reason: str


@dataclass(frozen=True, slots=True)
class FellBack(Event):
    """A model could not answer, and the next of its chain is asked; `reason` is an error class."""

    from_model: str
    to_model: str
    reason: str


@dataclass(frozen=True, slots=True)
class CircuitChanged(Event):
    """A provider's circuit breaker went to another state."""

    provider: str
    model: str
    to: Literal["closed", "half_open", "open"]


@dataclass(frozen=True, slots=True)
class CacheLooked(Event):
    """A model with a response cache was asked; a hit makes no request and costs nothing.

    Attributes:
        provider: Who would have answered.
        model: With which model.
        outcome: `error` when the cache itself could not be read or written.
    """

    provider: str
    model: str
    outcome: Literal["hit", "miss", "error"]


@dataclass(frozen=True, slots=True)
class RouteDecided(Event):
    """The supervisor chose who answers.

    Attributes:
        blueprint: Name of the blueprint.
        agents: Chosen agents; empty when the supervisor answers itself.
        method: Strategy that decided, for example `semantic`.
        duration: Seconds the decision took.
        request_id: The run's request id.
        scores: Score of each agent and of `supervisor`, where a strategy computed them.
        reason: Why, in one sentence.
    """

    blueprint: str
    agents: tuple[str, ...]
    method: str
    duration: float
    request_id: str
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    reason: str = ""


@dataclass(frozen=True, slots=True)
class HandedOver(Event):
    """An agent handed the question to another one.

    Attributes:
        blueprint: Name of the blueprint.
        by: Who did.
        to: Who was to answer.
        stopped: Why it went no further, `loop` or `max_hops`; empty when it did.
        request_id: The run's request id.
    """

    blueprint: str
    by: str
    to: str
    stopped: str
    request_id: str


@dataclass(frozen=True, slots=True)
class LimitReached(Event):
    """An agent or a team spent what one turn may, and ended it with an answer that says so.

    Attributes:
        agent: Who stopped: an agent, or `supervisor`.
        limit: Which limit: `tool_iterations`, `model_calls`, `tokens` or `cost_usd`.
        of: Whose limit it is: the agent's own or its team's.
        request_id: The run's request id.
    """

    agent: str
    limit: str
    of: Literal["agent", "team"]
    request_id: str


@dataclass(frozen=True, slots=True)
class BlueprintReloaded(Event):
    """A blueprint's files changed, and turns that begin now run on what they say.

    Attributes:
        blueprint: Its name.
        digest: SHA-256 of what turns run on now, hexadecimal.
        previous: That of what they ran on before; the same when a fault has only been undone.
        duration: Seconds it took to read, check and build.
    """

    blueprint: str
    digest: str
    previous: str
    duration: float


@dataclass(frozen=True, slots=True)
class BlueprintRefused(Event):
    """A blueprint's files changed, and cannot be used: turns stay on the last good state.

    Attributes:
        blueprint: Its name.
        digest: SHA-256 of what turns stay on, hexadecimal.
        reason: What is wrong, in one sentence.
        problems: Every fault, as `file:line:column: what`.
    """

    blueprint: str
    digest: str
    reason: str
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetrievalFinished(Event):
    """A knowledge search ended.

    Attributes:
        scopes: Scopes that were searched.
        found: Number of chunks returned.
        duration: Seconds, embedding of the query included.
        request_id: The run's request id, or an empty string outside a run.
        status: How the search ended; `found` is 0 when it failed.
    """

    scopes: tuple[str, ...]
    found: int
    duration: float
    request_id: str = ""
    status: Status = "ok"


@dataclass(frozen=True, slots=True)
class DocumentIngested(Event):
    """One document was looked at by an ingestion.

    Attributes:
        source: File path or URI.
        scope: Knowledge scope it belongs to.
        outcome: What happened to it.
        chunks: Chunks it has now.
        embedded: Chunks that had to be embedded; the rest kept their vector.
        duration: Seconds spent on it.
    """

    source: str
    scope: str
    outcome: Literal["added", "updated", "unchanged", "removed", "failed"]
    chunks: int
    embedded: int
    duration: float


@dataclass(frozen=True, slots=True)
class StageStarted(Event):
    """Something that takes a while begins; for progress displays.

    Attributes:
        text: What it is, for a person: "Starting PostgreSQL".
    """

    text: str


@dataclass(frozen=True, slots=True)
class DownloadProgressed(Event):
    """A download of model weights got further.

    Attributes:
        name: Name of the model.
        done: Bytes so far.
        total: Bytes in all.
    """

    name: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class IngestProgressed(Event):
    """An ingestion got further.

    Attributes:
        source: Document that was finished last, or an empty string.
        done: Units of work done.
        total: Units of work known so far.
    """

    source: str
    done: int
    total: int


Sink = Callable[[Event], None]


class EventBus:
    """Hands every emitted event to every subscribed sink, in order of subscription."""

    def __init__(self) -> None:
        self._sinks: tuple[Sink, ...] = ()

    def subscribe(self, sink: Sink) -> Callable[[], None]:
        """Add a sink; the returned function removes it again.

        A sink is called on the emitting thread and must not block.
        """
        self._sinks = (*self._sinks, sink)

        def unsubscribe() -> None:
            self._sinks = tuple(kept for kept in self._sinks if kept is not sink)

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Hand `event` to all sinks. Never raises."""
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                logger.exception("event sink %r failed on %s", sink, type(event).__name__)
