"""Prompt files: their keys, and what must be true of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agentkit.errors import Problem
from agentkit.prompts.history import fingerprint, rewritten
from agentkit.prompts.models import PromptTemplate, PromptVersion, placeholders
from agentkit.prompts.yaml_models import unknown_choice, validation_problems
from agentkit.prompts.yaml_source import KeyPath, YamlDocument, read_yaml

# `get(ref, version=…, **variables)` could not pass these.
RESERVED_VARIABLES = frozenset({"self", "version"})
_VARIABLE = r"[a-z][a-z0-9_]*"

Variable = Annotated[str, Field(pattern=f"^{_VARIABLE}$")]


def _day(value: object) -> object:
    try:
        return date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError("must be a day like 2026-11-23.") from None


class VersionEntry(BaseModel):
    """One version of a prompt, as written in YAML."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    template: str = Field(min_length=1, description="The text; {{name}} is replaced by that variable.")
    variables: Mapping[Variable, str] = Field(
        default_factory=dict[str, str], description="Every variable of the template and what it holds."
    )
    created: Annotated[date, Field(strict=True), BeforeValidator(_day)] | None = Field(
        default=None, description="When this version was written, for example 2026-11-23."
    )
    notes: str = Field(default="", description="Why this version exists.")


class PromptFile(BaseModel):
    """A prompt file: all versions of one prompt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, description="Name shown to people.")
    description: str = Field(default="", description="What the prompt is for.")
    versions: Mapping[Annotated[int, Field(ge=1)], VersionEntry] = Field(
        min_length=1, description="Versions by number; a published one is never edited."
    )
    current: int | None = Field(default=None, description="Version used by default; the highest if absent.")

    @property
    def default(self) -> int:
        """The version used when none is asked for."""
        return max(self.versions) if self.current is None else self.current


def read_prompt(
    ref: str, path: Path, published: Mapping[int, str], before: PromptTemplate | None = None
) -> tuple[PromptTemplate | None, Sequence[Problem]]:
    """Read a prompt file; returns the prompt, or all that is wrong with it.

    Args:
        ref: Its name.
        path: The file.
        published: Hashes of its published texts, by version.
        before: The same file as it was read earlier: what it had must still be there.
    """
    document = read_yaml(path)
    if document.problems:
        return None, document.problems
    try:
        content = PromptFile.model_validate(document.value)
    except ValidationError as error:
        return None, validation_problems(error, document, PromptFile)
    problems: list[Problem] = []
    if content.default not in content.versions:
        message = unknown_choice("version", str(content.current), map(str, content.versions))
        problems.append(document.problem(message, ("current",)))
    for number, version in content.versions.items():
        problems.extend(_variable_problems(document, ("versions", number), version))
    now = {number: fingerprint(version.template) for number, version in content.versions.items()}
    in_use = {number: fingerprint(v.content) for number, v in before.versions.items()} if before else {}
    for number, message in rewritten(now, in_use, published):
        problems.append(document.problem(message, ("versions", number, "template")))
    return (None, problems) if problems else (_template(ref, path, content), [])


def _template(ref: str, path: Path, content: PromptFile) -> PromptTemplate:
    versions = {
        number: PromptVersion(
            ref,
            number,
            entry.template,
            MappingProxyType(dict(entry.variables)),
            entry.created,
            entry.notes,
        )
        for number, entry in sorted(content.versions.items())
    }
    return PromptTemplate(
        ref, content.name, content.description, MappingProxyType(versions), content.default, path
    )


def _variable_problems(document: YamlDocument, path: KeyPath, version: VersionEntry) -> Iterable[Problem]:
    """Check the variables both ways: used ones are declared, declared ones are used."""
    template = (*path, "template")
    used = placeholders(version.template)
    for index, name in enumerate(used):
        token = "{{" + name + "}}"
        place = document.locate(template, token, used[:index].count(name))
        if not re.fullmatch(_VARIABLE, name):
            hint = "write {{name}}: lower-case letters, digits and _, without spaces"
            yield document.problem_at(f"{token!r} is not a variable; {hint}.", place)
        elif name not in version.variables:
            message = unknown_choice("variable", name, version.variables)
            yield document.problem_at(f"{message} Declare it under 'variables'.", place)
    for name in version.variables:
        place = document.position((*path, "variables", name), key=True)
        if name in RESERVED_VARIABLES:
            yield document.problem_at(f"A variable cannot be called {name!r}: choose another name.", place)
        elif name not in used:
            yield document.problem_at(
                f"The variable {name!r} is declared but the template does not use it.", place
            )
