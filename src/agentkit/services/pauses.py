"""What waits for a person in a paused turn, in our words."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from langgraph.types import Interrupt, PregelTask, StateSnapshot

from agentkit.graphs.decision import DECISIONS


@dataclass(frozen=True, slots=True)
class WaitingCall:
    """A tool call that runs only if a person says so.

    Attributes:
        id: The model's id of the call; empty where the interrupt does not say it.
        name: The tool.
        args: What the model wants to call it with.
        description: What the person is told about it.
        decisions: What may be decided: `approve`, `edit`, `reject`, `respond`.
    """

    id: str
    name: str
    args: dict[str, Any]
    description: str
    decisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """One interrupt that waits; each is answered on its own.

    Attributes:
        id: LangGraph's id of the interrupt.
        agent: Agent that waits.
        calls: The calls to decide on; empty where a tool or node asks something of its own.
        question: What that is; None for calls.
    """

    id: str
    agent: str
    calls: tuple[WaitingCall, ...] = ()
    question: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something that was said: by a person (`human`), or by an agent or the supervisor (`ai`)."""

    role: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation as its user sees it; without messages there is none.

    Attributes:
        thread_id: Its name.
        messages: What was said, oldest first.
        interrupts: What waits in it for a person.
    """

    thread_id: str
    messages: list[Message]
    interrupts: list[Pause]


def waiting(snapshot: StateSnapshot) -> list[Pause]:
    """Return what waits in a thread, in the order of its agents and their calls.

    Args:
        snapshot: Of the thread, with its subgraphs. A graph goes on listing what an agent inside it
            waited for when that was answered and the agent then failed; the agent's own does not.
    """
    return [
        pause(interrupt, task.name)
        for task in snapshot.tasks
        for leaf in _leaves(task)
        if leaf.error is None  # else the answer is stored, and would not be asked for again
        for interrupt in leaf.interrupts
    ]


def _leaves(task: PregelTask) -> Iterator[PregelTask]:
    """The tasks inside a task that are no graphs themselves; those of one graph in their order."""
    if not isinstance(task.state, StateSnapshot):
        yield task
        return
    for inner in task.state.tasks:
        yield from _leaves(inner)


def pause(interrupt: Interrupt, agent: str) -> Pause:
    """Return an interrupt in our words."""
    value: object = interrupt.value
    asked = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    if asked.get("type") == "tool_approval":
        return Pause(interrupt.id, agent, (_call(asked, _allowed(interrupt.response_schema)),))
    if isinstance(asked.get("action_requests"), list) and isinstance(asked.get("review_configs"), list):
        reviews = {review["action_name"]: review["allowed_decisions"] for review in asked["review_configs"]}
        calls = (_call(request, reviews.get(request["name"], ())) for request in asked["action_requests"])
        return Pause(interrupt.id, agent, tuple(calls))
    return Pause(interrupt.id, agent, question=value)


def _call(asked: Mapping[str, Any], decisions: Iterable[str]) -> WaitingCall:
    return WaitingCall(
        id=str(asked.get("tool_call_id") or ""),
        name=asked["name"],
        args=asked["args"],
        description=asked.get("description", ""),
        decisions=tuple(decisions),
    )


def _allowed(schema: object) -> list[str]:
    """The decisions a `tool_approval` allows: its JSON Schema is one object a decision."""
    fields = cast("dict[str, Any]", schema) if isinstance(schema, dict) else {}
    if "discriminator" in fields:
        return list(fields["discriminator"]["mapping"])
    kind = fields.get("properties", {}).get("type", {})
    return [kind["const"]] if "const" in kind else list(DECISIONS)
