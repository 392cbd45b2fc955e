"""The key `decisions` of a test: what a person decides when a turn of it waits."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import BeforeValidator, WithJsonSchema

from agentkit.graphs.decision import DECISIONS, Decision

_decision_schema: dict[str, Any] = {
    "anyOf": [
        {"enum": ["approve", "reject"]},
        {
            "type": "object",
            "properties": {
                "type": {"enum": list(DECISIONS)},
                "args": {"type": "object"},
                "message": {"type": "string"},
            },
            "required": ["type"],
            "additionalProperties": False,
        },
    ]
}
_step_schema: dict[str, Any] = {
    "type": "object",
    "additionalProperties": _decision_schema,
    "minProperties": 1,
}


def _steps(value: object) -> tuple[dict[str, Decision], ...]:
    """Steps, each a mapping of tools to decisions; one mapping is one step."""
    steps = cast("list[object]", value) if isinstance(value, (list, tuple)) else [value]
    found: list[dict[str, Decision]] = []
    for step in steps:
        if not isinstance(step, Mapping) or not step:
            raise ValueError(
                "must be names of tools with a decision each, or a list of such mappings, one a step."
            )
        given = cast("Mapping[object, object]", step)
        found.append({str(tool): Decision.parse(decision) for tool, decision in given.items()})
    return tuple(found)


Decisions = Annotated[
    tuple[dict[str, Decision], ...],
    BeforeValidator(_steps),
    WithJsonSchema({"anyOf": [_step_schema, {"type": "array", "items": _step_schema}]}),
]
