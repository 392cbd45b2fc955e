"""The key `context`, and prompts whose text depends on the request."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, Field

from agentkit.blueprints.fields import Section, Text
from agentkit.blueprints.request_values import BUILT_IN, ContextText
from agentkit.context import RunContext
from agentkit.prompts import PromptVersion

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class ContextSpec(Section):
    """A value the application gives with each request, as `RunContext.values`."""

    default: Text | None = Field(
        default=None, description="Value of a request that gives none; required if absent."
    )
    description: str = Field(default="", description="What it holds.")


def _context_name(value: object) -> object:
    if isinstance(value, str) and value in BUILT_IN:
        raise ValueError(f"{value} is always there: no declaration is needed.")
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and _, starting with a letter.")
    return value


ContextName = Annotated[str, BeforeValidator(_context_name)]


@dataclass(frozen=True)
class RequestPrompt:
    """A prompt whose text depends on the request.

    Attributes:
        prompt: The prompt.
        values: What its variables hold: texts, or `ContextText`.
        defaults: Declared context names and their defaults.
    """

    prompt: PromptVersion
    values: Mapping[str, str | ContextText]
    defaults: Mapping[str, str | None] = field(default_factory=dict[str, str | None])

    @property
    def label(self) -> str:
        """Name of the prompt's version in traces and answers."""
        return self.prompt.label

    def __call__(self, context: RunContext) -> str:
        """Return the text for one request. Raises as `ContextText.fill`."""
        return self.prompt.render(
            **{
                name: value.fill(context, self.defaults) if isinstance(value, ContextText) else value
                for name, value in self.values.items()
            }
        )


def fill(
    prompt: PromptVersion,
    given: Mapping[str, str | ContextText],
    declared: Mapping[str, ContextSpec],
    **offered: str,
) -> str | RequestPrompt:
    """Return a prompt's text, or what makes it for each request if it holds values of the request.

    Args:
        prompt: The prompt.
        given: What the blueprint says its variables hold.
        declared: The blueprint's key `context`.
        offered: What its role fills in, for the variables it has.
    """
    values = {name: value for name, value in {**offered, **given}.items() if name in prompt.variables}
    if not any(isinstance(value, ContextText) for value in values.values()):
        return prompt.render(**values)
    return RequestPrompt(prompt, values, {name: spec.default for name, spec in declared.items()})
