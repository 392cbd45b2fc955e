"""What a person decided about a pause, checked, and turned into what LangGraph resumes with."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from langchain_core.tools import BaseTool
from pydantic import BaseModel, ValidationError

from agentkit.errors import DecisionError, UnknownInterruptError, unknown
from agentkit.graphs.bridge import Graph
from agentkit.graphs.decision import Decision
from agentkit.services.pauses import Pause, WaitingCall

FindTool = Callable[[str, str], BaseTool | None]
"""Finds an agent's tool by the names of both, where it is known."""


Answers = Mapping[str, Any]
"""Decisions by interrupt id: a `Decision` or what `Decision.parse` reads; a list of them for several
calls; whatever it asks for, for a question of a tool's own."""


def resuming(thread_id: str, waits: Iterable[Pause], given: Answers, find: FindTool) -> dict[str, Any]:
    """Return what to resume with, by interrupt id.

    Raises:
        UnknownInterruptError: One does not wait.
        DecisionError: One may not be decided so, its arguments do not fit, or there is none.
    """
    pauses = {asked.id: asked for asked in waits}
    for interrupt in given:
        if interrupt not in pauses:
            raise UnknownInterruptError(interrupt, thread_id=thread_id, pending=pauses)
    if not given:
        said = "There is no decision." if pauses else f"Nothing waits in the thread {thread_id!r}."
        raise DecisionError(said, thread_id=thread_id, pending=pauses)
    answers: dict[str, Any] = {}
    for interrupt, decision in given.items():
        try:
            answers[interrupt] = _answer(pauses[interrupt], decision, find)
        except ValueError as error:
            raise DecisionError(
                f"{error}", interrupt=interrupt, thread_id=thread_id, pending=pauses
            ) from error
    return answers


def decided(pauses: Iterable[Pause], answers: Mapping[str, Any]) -> list[WaitingCall]:
    """Return the calls that `answers` decide on, with the arguments they will run with."""
    calls: list[WaitingCall] = []
    for asked in pauses:
        answer = answers.get(asked.id)
        if len(asked.calls) == 1 and asked.calls[0].id and isinstance(answer, dict):
            call = asked.calls[0]
            edited = cast("dict[str, Any]", answer).get("edited_action")
            args = edited["args"] if edited else call.args
            calls.append(replace(call, args=args))
    return calls


def tools_of(graph: Graph) -> FindTool:
    """Return a finder of the tools of a team's agents, and of the teams among them."""

    def find(agent: str, tool: str) -> BaseTool | None:
        return _tool(graph.agents[agent], tool) if agent in graph.agents else None

    return find


def _tool(graph: Graph, name: str) -> BaseTool | None:
    node = graph.nodes.get("tools")
    own = cast("dict[str, BaseTool]", getattr(node.bound, "tools_by_name", {})) if node else {}
    if name in own:
        return own[name]
    inner = (_tool(agent, name) for agent in graph.agents.values())
    return next((tool for tool in inner if tool is not None), None)


def _answer(asked: Pause, given: object, find: FindTool) -> Any:
    if not asked.calls:
        return given
    listed = cast("list[object]", given) if isinstance(given, (list, tuple)) else [given]
    if len(listed) != len(asked.calls):
        raise ValueError(f"There are {len(asked.calls)} calls to decide on, and {len(listed)} decisions.")
    answers = [
        _checked(call, Decision.parse(decision), find(asked.agent, call.name)).answer(call.name)
        for call, decision in zip(asked.calls, listed, strict=True)
    ]
    return answers[0] if asked.calls[0].id else {"decisions": answers}


def _checked(call: WaitingCall, decision: Decision, tool: BaseTool | None) -> Decision:
    if decision.type not in call.decisions:
        raise ValueError(
            f"A call of {call.name!r} cannot be answered with {decision.type!r}. "
            f"Allowed: {', '.join(call.decisions)}."
        )
    if decision.type == "edit" and tool is not None:
        _fits(call.name, decision.args or {}, tool)
    return decision


def _fits(name: str, args: Mapping[str, Any], tool: BaseTool) -> None:
    """Check edited arguments as strictly as we can: a person's typo must not be passed over.

    Raises:
        ValueError: One is unknown, missing, or of another type.
    """
    schema: object = tool.tool_call_schema
    model = schema if isinstance(schema, type) and issubclass(schema, BaseModel) else None
    shown: dict[str, Any] = schema if isinstance(schema, dict) else {}
    written = model.model_json_schema() if model else shown
    known = written.get("properties")
    for key in args:
        if known is not None and key not in known and not written.get("additionalProperties"):
            raise ValueError(unknown(f"argument of {name!r}", key, sorted(known)))
    faults = [f"{key}: Field required" for key in written.get("required", ()) if key not in args]
    if model is not None:
        try:
            model.model_validate(dict(args))
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
    if faults:
        raise ValueError(f"The arguments do not fit {name!r}: {'; '.join(faults)}.")
