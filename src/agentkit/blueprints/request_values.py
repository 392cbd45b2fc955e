"""What `${context:NAME}` becomes: text with places for values of the request, filled in as data."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from agentkit.context import RunContext
from agentkit.errors import ConfigurationError

BUILT_IN = ("request_id", "tenant", "user")
"""Fields of `RunContext` that need no declaration."""

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


@dataclass(frozen=True, slots=True)
class ContextText:
    """A text with values of the request in it: by turns what stands between them, and a name."""

    parts: tuple[str, ...]

    def fill(self, context: RunContext, defaults: Mapping[str, str | None]) -> str:
        """Return the text for one request.

        Args:
            context: Who asks, and with which values.
            defaults: Declared names and their defaults.

        Raises:
            ConfigurationError: The request lacks a value that has no default.
        """
        return "".join(
            part if index % 2 == 0 else as_data(_value(part, context, defaults))
            for index, part in enumerate(self.parts)
        )


def _value(name: str, context: RunContext, defaults: Mapping[str, str | None]) -> str:
    if name in BUILT_IN:
        return str(getattr(context, name))
    value = context.values.get(name, defaults.get(name))
    if value is None:
        raise ConfigurationError(
            f"The request has no value {name!r}, which a prompt of the blueprint needs.",
            hint=f"Give it, as RunContext(values={{{name!r}: …}}), or a default under 'context: {name}:'.",
        )
    return str(value)


def as_data(value: str) -> str:
    """Return a value as text that can only be data in a prompt: one line, and no tag opens or closes in it.

    Characters that are not seen, and could hide something, become spaces.
    """
    return " ".join(_UNSEEN.sub(" ", value).split()).replace("<", "&lt;")


def _variable(value: object) -> object:
    if isinstance(value, ContextText):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int, float)):
        return str(value)
    raise ValueError("must be text, a number, true or false; ${param:…} and ${context:…} may stand in it.")


VariableValue = Annotated[
    Any, BeforeValidator(_variable), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
"""Value of a prompt's variable: text, or a `ContextText`."""
