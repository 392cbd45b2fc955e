"""What a prompt is: a template with numbered versions, and the text one of them renders to."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Self

from agentkit.errors import PromptError, UnknownNameError
from agentkit.prompts.ranges import choose

_PLACEHOLDER = re.compile(r"\{\{(.*?)\}\}")


class PromptText(str):
    """Rendered text that knows which version of which prompt it was made from.

    Attributes:
        label: `ref@version`, as in traces and answers: `agents/kubernetes@1`.
    """

    __slots__ = ("label",)

    label: str

    def __new__(cls, text: str, label: str) -> Self:
        """Return `text`, made from the version called `label`."""
        made = super().__new__(cls, text)
        made.label = label
        return made

    def __reduce__(self) -> tuple[type["PromptText"], tuple[str, str]]:
        return PromptText, (str(self), self.label)


def labels(*texts: str | None) -> list[str]:
    """Return the labels of those texts that were rendered from prompts, each once, in order."""
    return list(dict.fromkeys(text.label for text in texts if isinstance(text, PromptText)))


@dataclass(frozen=True, slots=True)
class PromptVersion:
    """One version of one prompt, ready to be rendered.

    Attributes:
        ref: Path of its file below the prompt folder, without the suffix: `agents/kubernetes`.
        version: Number of the version, from 1.
        content: Text with `{{name}}` placeholders.
        variables: Declared variables and what each holds; exactly those the content uses.
        created_at: Day it was written, or None.
        notes: Why it exists.
    """

    ref: str
    version: int
    content: str
    variables: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    created_at: date | None = None
    notes: str = ""

    @property
    def label(self) -> str:
        """Its name in traces and answers: `agents/kubernetes@1`."""
        return f"{self.ref}@{self.version}"

    def render(self, **variables: object) -> PromptText:
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
        filled = _PLACEHOLDER.sub(lambda match: str(variables[match.group(1)]), self.content)
        return PromptText(filled, self.label)


@dataclass(frozen=True, slots=True)
class PromptTemplate:
    """One prompt with all its versions.

    Attributes:
        ref: What it is asked for by: `agents/kubernetes`.
        name: Name shown to people.
        description: What it is for.
        versions: Its versions by number, ascending.
        current: Number of the version used when none is asked for.
        file: Where it was read from.
    """

    ref: str
    name: str
    description: str
    versions: Mapping[int, PromptVersion]
    current: int
    file: Path

    def version(self, wanted: int | str | None = None) -> PromptVersion:
        """Return a version by number or range (see `agentkit.prompts.ranges`), or the current one.

        Raises:
            UnknownNameError: No version fits; the text lists those there are.
            ValueError: `wanted` is text, but no range.
        """
        if wanted is None:
            return self.versions[self.current]
        takes = {number: frozenset(version.variables) for number, version in self.versions.items()}
        number = choose(wanted, takes)
        if number is None:
            raise UnknownNameError(
                f"version of the prompt {self.ref!r}", str(wanted), map(str, self.versions)
            )
        return self.versions[number]


def placeholders(template: str) -> tuple[str, ...]:
    """What stands between `{{` and `}}` in the template, in order, repeats included."""
    return tuple(match.group(1) for match in _PLACEHOLDER.finditer(template))
