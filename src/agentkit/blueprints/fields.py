"""What fields of a blueprint are made of: durations, names, numbers; and their base class."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentkit.blueprints.request_values import VariableValue

DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: object) -> float:
    """Return the seconds of a duration like `500ms`, `30s`, `2m` or `1h`.

    Raises:
        ValueError: It is not a duration, or it is zero.
    """
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = float(match.group(1)) * _SECONDS[match.group(2)] if match else 0.0
    if not seconds:
        raise ValueError("must be a duration with a unit, longer than zero: 500ms, 30s, 2m or 1h.")
    return seconds


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not a boolean.")  # noqa: TRY004 - pydantic's protocol
    return value


def _scalar(value: object) -> object:
    if isinstance(value, (str, int, float)):
        return value
    raise ValueError("must be text, a number, true or false.")


SLUG = r"^[a-z][a-z0-9_-]{0,62}$"
Slug = Annotated[str, Field(pattern=SLUG)]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$"}),
]
Int = Annotated[int, BeforeValidator(_not_boolean)]
Float = Annotated[float, BeforeValidator(_not_boolean), Field(allow_inf_nan=False)]
Reference = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Scalar = Annotated[
    object, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


class Section(BaseModel):
    """A mapping of the blueprint: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class PromptRef(Section):
    """A prompt file and the version to use."""

    ref: Text = Field(description="Path below the prompts folder without suffix: agents/kubernetes.")
    version: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Version; the current one if absent."
    )
    variables: Mapping[str, VariableValue] = Field(
        default_factory=dict[str, Any],
        description="What the prompt's own variables hold; ${param:NAME} may stand in it and, for an agent "
        "or the supervisor, ${context:NAME}.",
    )

    def __hash__(self) -> int:
        """As the base class's, which cannot do mappings."""
        return hash((self.ref, self.version))
