"""Tests in the YAML, as frozen models: what is said, what the models reply, what must come of it."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from agentkit.blueprints.case_decisions import Decisions
from agentkit.blueprints.fields import Section, Slug, Text
from agentkit.blueprints.raw import as_mapping
from agentkit.errors import AgentKitError
from agentkit.prompts.yaml_models import unknown_choice

_CALL_KEYS = frozenset({"tool", "arguments", "expect", "seen"})


_WANTED = (("expect", str, "text"), ("seen", str, "text"))


def _listed(value: object) -> object:
    """One text is a list of one."""
    return [value] if isinstance(value, str) else value


def _reply(value: object) -> object:
    """Check what `Script` would accept, so that a mistake shows before anything runs."""
    if isinstance(value, list) and value:
        calls = cast("list[object]", value)
        if all(isinstance(call, dict) and "tool" in call for call in calls):
            return [_reply(call) for call in calls]
        raise ValueError("a reply that is a list holds tool calls: {tool: NAME, arguments: {…}}.")
    if not isinstance(value, str | dict):
        raise ValueError(  # noqa: TRY004 - pydantic's protocol
            "a reply is text, {tool: NAME, arguments: {…}}, a list of those, or data said as JSON."
        )
    if isinstance(value, dict) and "tool" in value:
        _check_call(cast("dict[object, object]", value))
    return cast("object", value)


def _check_call(call: dict[object, object]) -> None:
    for key in call:
        if key not in _CALL_KEYS:
            raise ValueError(unknown_choice("key", str(key), _CALL_KEYS))
    for key, kind, said in (("tool", str, "text"), ("arguments", dict, "a mapping"), *_WANTED):
        if key in call and not isinstance(call[key], kind):
            raise ValueError(f"{key} must be {said}.")


def _calls(value: object) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Tool calls in order, from `{name: arguments}` or a list of such mappings."""
    groups = cast("list[object]", value) if isinstance(value, list) else [value]
    calls: list[tuple[str, dict[str, Any]]] = []
    for group in groups:
        if not isinstance(group, dict):
            raise ValueError(  # noqa: TRY004 - pydantic's protocol
                "must be names of tools with the arguments to look for, or a list of such mappings."
            )
        for name, arguments in cast("dict[object, object]", group).items():
            if not isinstance(arguments, dict | None):
                raise ValueError(f"the arguments of {name!r} must be a mapping.")  # noqa: TRY004 - as above
            calls.append((str(name), cast("dict[str, Any]", arguments or {})))
    return tuple(calls)


def _regular_expression(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}.") from None
    return value


def error_codes(kind: type[AgentKitError] = AgentKitError) -> Iterator[str]:
    """Codes of all errors raised on purpose."""
    yield kind.code
    for child in kind.__subclasses__():
        yield from error_codes(child)


def _code(value: str) -> str:
    codes = set(error_codes())
    if value not in codes:
        raise ValueError(unknown_choice("error code", value, codes))
    return value


_texts_schema = WithJsonSchema(
    {
        "anyOf": [
            {"type": "string", "minLength": 1},
            {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1},
        ]
    }
)
_calls_schema: dict[str, Any] = {
    "type": "object",
    "additionalProperties": {"anyOf": [{"type": "object"}, {"type": "null"}]},
}
Texts = Annotated[tuple[Text, ...], BeforeValidator(_listed), Field(min_length=1), _texts_schema]
Reply = Annotated[
    Any,
    BeforeValidator(_reply),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array", "minItems": 1}]}),
]
Calls = Annotated[
    tuple[tuple[str, Mapping[str, Any]], ...],
    BeforeValidator(_calls),
    WithJsonSchema({"anyOf": [_calls_schema, {"type": "array", "items": _calls_schema}]}),
]


def _named(value: object) -> object:
    """A tool's name alone stands for a call with any arguments."""
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, list):
        return [_named(item) for item in cast("list[object]", value)]
    return value


_waiting_schema: dict[str, Any] = {"anyOf": [{"type": "string", "minLength": 1}, _calls_schema]}
Waiting = Annotated[
    tuple[tuple[str, dict[str, Any]], ...],
    BeforeValidator(lambda value: _calls(_named(value))),
    WithJsonSchema({"anyOf": [*_waiting_schema["anyOf"], {"type": "array", "items": _waiting_schema}]}),
]
Regex = Annotated[str, Field(min_length=1), AfterValidator(_regular_expression)]


class ExpectSpec(Section):
    """What must come of the last turn of a test; what is left out is not looked at."""

    route: tuple[Text, ...] | None = Field(
        default=None, description="Agents in order; an empty list: the supervisor answers itself."
    )
    via: Literal["rules", "semantic", "llm", "direct"] | None = Field(
        default=None, description="Method that decided."
    )
    hops: tuple[Text, ...] | None = Field(
        default=None, description="Agents that were asked one after another, handed-over ones included."
    )
    teams: Mapping[Text, tuple[Text, ...]] | None = Field(
        default=None, description="Agents that a team asked, by the team: {cluster: [kubernetes]}."
    )
    answer_contains: Texts | None = Field(
        default=None, description="Text the answer contains, or several; upper and lower case are alike."
    )
    answer_matches: Regex | None = Field(default=None, description="Regular expression found in the answer.")
    tools: Calls | None = Field(
        default=None,
        description="Tools called in this order, each with at least these arguments; {}: none is called.",
    )
    interrupts: Waiting = Field(
        default=(),
        description="Tools whose calls wait for a person in the end, in order, as names or as in tools.",
    )
    sources: tuple[Text, ...] | None = Field(
        default=None, description="Patterns (* and ?), each fitting a document found; an empty list: none is."
    )
    limit: Literal["tool_iterations", "model_calls", "tokens", "cost_usd"] | None = Field(
        default=None, description="Limit that cuts the answer short."
    )
    error: Annotated[Text, AfterValidator(_code)] | None = Field(
        default=None, description="Code of the error the turn ends with: provider_error."
    )


class CaseSpec(Section):
    """One test of the blueprint: `agentkit blueprint test` runs it."""

    name: Text = Field(description="Unique in the blueprint.")
    input: Texts = Field(description="What the user says, or a list of turns on one thread.")
    mock: Mapping[Text, tuple[Reply, ...]] | None = Field(
        default=None,
        description="Replies by agent, supervisor or model; nothing else may be called then. "
        "The real models if absent.",
    )
    user: Text = Field(default="anonymous", description="Who asks.")
    scopes: tuple[Slug, ...] | None = Field(
        default=None, description="Knowledge scopes the user may read; all if absent."
    )
    decisions: Decisions = Field(
        default=(),
        description="What a person decides when a turn waits: {TOOL: approve}, or a list, one a step.",
    )
    context: Mapping[Slug, Text] = Field(
        default_factory=dict[str, str], description="Values of the request, for ${context:NAME}."
    )
    expect: ExpectSpec = Field(default=ExpectSpec(), description="What must come of it.")


def case_faults(
    tests: list[Any], agents: list[str], models: list[str]
) -> Iterator[tuple[str, tuple[str | int, ...]]]:
    """Yield what a schema cannot say about `tests`: each fault with its path below them.

    Args:
        tests: The list as written; what is not even shaped like a test is passed over.
        agents: Names of the blueprint's agents.
        models: Names of its models.
    """
    first: dict[str, int] = {}
    for index, test in enumerate(tests):
        case = cast("dict[str, Any]", test) if isinstance(test, dict) else {}
        name = case.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield f"The test name {name!r} is taken already, by test {first[name] + 1}.", (index, "name")
        for speaker in as_mapping(case.get("mock")):
            known = ["supervisor", *agents, *models]
            if speaker not in known and "/" not in str(speaker):  # in a team: `Teams` knows them
                yield unknown_choice("agent or model", str(speaker), known), (index, "mock", speaker)
        for key in ("route", "hops"):
            route = as_mapping(case.get("expect")).get(key)
            for number, agent in enumerate(cast("list[object]", route) if isinstance(route, list) else ()):
                if isinstance(agent, str) and agent not in agents:
                    yield unknown_choice("agent", agent, agents), (index, "expect", key, number)
