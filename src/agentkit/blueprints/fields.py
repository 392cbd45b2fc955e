"""What fields of a blueprint are made of: durations, names, numbers; and their base class."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from agentkit.blueprints.request_values import VariableValue
from agentkit.prompts.ranges import RANGE, WANTED, check_wanted

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


def _prompt_wanted(value: object) -> object:
    if isinstance(value, (int, str)):
        return check_wanted(value)
    raise ValueError(f"{WANTED}.")


SLUG = r"^[a-z][a-z0-9_-]{0,62}$"
_REFERENCE = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
_MODULE = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"
_VISIBLE = r"\S"
PATTERNS = {
    SLUG: "must be lower-case letters, digits, - and _, starting with a letter, at most 63.",
    _REFERENCE: "must be module:attribute, like ourapp.tools:restart_pod.",
    _MODULE: "must be the name of a module, like ourapp.tools.",
    _VISIBLE: "must not be empty.",
}
"""What the regular expressions below mean, in words."""

Slug = Annotated[str, Field(pattern=SLUG)]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$"}),
]
Int = Annotated[int, BeforeValidator(_not_boolean)]
Float = Annotated[float, BeforeValidator(_not_boolean), Field(allow_inf_nan=False)]
Reference = Annotated[str, Field(pattern=_REFERENCE)]
ModuleName = Annotated[str, Field(pattern=_MODULE)]
Text = Annotated[str, Field(min_length=1, pattern=_VISIBLE)]
Scalar = Annotated[
    object, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]

PromptWanted = Annotated[
    int | str,
    BeforeValidator(_prompt_wanted),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": RANGE}]}),
]


class Section(BaseModel):
    """A mapping of the blueprint: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


MIDDLEWARE_ENTRY = {"type": "object", "x-registry": "middleware"}
"""What stands for one middleware in the models' schema; `editor_schema` puts the registered ones there."""

MiddlewareEntry = Annotated[Mapping[str, Any], WithJsonSchema(MIDDLEWARE_ENTRY)]


class PromptRef(Section):
    """A prompt file and the version to use."""

    ref: Text = Field(description="Path below the prompts folder without suffix: agents/kubernetes.")
    version: PromptWanted | None = Field(
        default=None,
        description="Number, or range in quotes: '^2' or '>=2,<4'; the current one if absent.",
    )
    variables: Mapping[str, VariableValue] = Field(
        default_factory=dict[str, Any],
        description="What the prompt's own variables hold; ${param:NAME} may stand in it and, for an agent "
        "or the supervisor, ${context:NAME}.",
    )

    def __hash__(self) -> int:
        """As the base class's, which cannot do mappings."""
        return hash((self.ref, self.version))
