"""What a prompt file holds, and the prompt one version of it is."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from agentkit.errors import PromptError

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")
# `render(ref, version, **variables)` could not pass these.
RESERVED_VARIABLES = frozenset({"self", "ref", "version"})

Variable = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]


class PromptVersion(BaseModel):
    """One version of a prompt, as written in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = Field(min_length=1, description="The text; {{name}} is replaced by that variable.")
    variables: Mapping[Variable, str] = Field(
        default_factory=dict[str, str], description="Every variable of the template and what it holds."
    )
    created: str = Field(default="", description="When this version was written, for example 2026-11-23.")
    notes: str = Field(default="", description="Why this version exists.")


class PromptFile(BaseModel):
    """A prompt file: all versions of one prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Name shown to people.")
    description: str = Field(default="", description="What the prompt is for.")
    versions: Mapping[Annotated[int, Field(ge=1)], PromptVersion] = Field(
        min_length=1, description="Versions by number; a published one is never edited."
    )
    current: int | None = Field(default=None, description="Version used by default; the highest if absent.")

    @property
    def default(self) -> int:
        """The version used when none is asked for."""
        return max(self.versions) if self.current is None else self.current


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of one prompt, ready to be rendered.

    Attributes:
        ref: Path of its file below the prompt folder, without the suffix: `agents/kubernetes`.
        version: Number of the version.
        template: Text with `{{name}}` placeholders.
        variables: Declared variables and what each holds; exactly those the template uses.
    """

    ref: str
    version: int
    template: str
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def render(self, **variables: object) -> str:
        """Return the text with every placeholder replaced.

        Values are inserted as they are: a `{{name}}` inside a value stays as it is.

        Raises:
            PromptError: A variable is missing, or one was given that the prompt does not have.
        """
        missing = sorted(self.variables.keys() - variables.keys())
        unknown = sorted(variables.keys() - self.variables.keys())
        if missing or unknown:
            faults = [
                f"{label}: {', '.join(names)}"
                for label, names in (("missing", missing), ("unknown", unknown))
                if names
            ]
            raise PromptError(
                f"Prompt {self.ref!r} version {self.version} cannot be rendered; {'; '.join(faults)}.",
                hint=f"It takes: {', '.join(sorted(self.variables)) or 'no variables'}.",
            )
        return _PLACEHOLDER.sub(lambda match: str(variables[match.group(1)]), self.template)


def placeholders(template: str) -> tuple[str, ...]:
    """What stands between `{{` and `}}` in the template, in order, repeats included."""
    return tuple(match.group(1) for match in _PLACEHOLDER.finditer(template))
