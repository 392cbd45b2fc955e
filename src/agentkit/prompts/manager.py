"""Prompts by name and version, read from folders of YAML files."""

import difflib
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pydantic import ValidationError

from agentkit.errors import Problem, PromptError, UnknownNameError
from agentkit.prompts.models import RESERVED_VARIABLES, Prompt, PromptFile, PromptVersion, placeholders
from agentkit.prompts.yaml_models import unknown_choice, validation_problems
from agentkit.prompts.yaml_source import KeyPath, YamlDocument, read_yaml

logger = logging.getLogger(__name__)

_REF = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """One prompt file, for lists: its ref, texts, versions and the version used by default."""

    ref: str
    name: str
    description: str
    versions: tuple[int, ...]
    current: int
    file: Path


@dataclass(frozen=True, slots=True)
class _Loaded:
    stamp: tuple[int, int]
    path: Path
    content: PromptFile


class PromptManager:
    """Finds, checks and renders prompts.

    A prompt's ref is its path below a folder without the suffix: `supervisor`,
    `agents/kubernetes`. A changed file is read again at its next use; while it is
    faulty the last good version stays in use and the fault is logged.

    Args:
        search: Folders, most important first: the first that has a ref wins. Folders
            that do not exist are passed over.

    Example:
        >>> prompts = PromptManager([Path("prompts")])
        >>> text = prompts.render("supervisor", agents="- python: Python code")
    """

    def __init__(self, search: Sequence[Path]) -> None:
        self._search = tuple(search)
        self._loaded: dict[str, _Loaded] = {}
        self._complained: dict[str, tuple[int, int]] = {}

    def get(self, ref: str, version: int | None = None) -> Prompt:
        """Return one version of a prompt, by default its current one.

        Raises:
            UnknownNameError: No folder has the ref, or the file lacks the version.
            PromptError: The file is faulty; the text has every fault with its line.
        """
        content = self._load(ref).content
        number = content.default if version is None else version
        if number not in content.versions:
            raise UnknownNameError(f"version of the prompt {ref!r}", str(number), map(str, content.versions))
        chosen = content.versions[number]
        return Prompt(ref, number, chosen.template, MappingProxyType(dict(chosen.variables)))

    def render(self, ref: str, version: int | None = None, **variables: object) -> str:
        """Return the text of a prompt with its variables filled in.

        Raises:
            UnknownNameError: See `get`.
            PromptError: See `get`; or a variable is missing or unknown.
        """
        return self.get(ref, version).render(**variables)

    def versions(self, ref: str) -> tuple[int, ...]:
        """Return the version numbers of a prompt, ascending. Raises as `get` does."""
        return tuple(sorted(self._load(ref).content.versions))

    def list(self) -> tuple[PromptSummary, ...]:
        """Return all prompts, sorted by ref. Faulty files are left to `check`."""
        found: dict[str, PromptSummary] = {}
        for ref in self.refs():
            try:
                loaded = self._load(ref)
            except PromptError:
                continue
            content = loaded.content
            numbers = tuple(sorted(content.versions))
            found[ref] = PromptSummary(
                ref, content.name, content.description, numbers, content.default, loaded.path
            )
        return tuple(found.values())

    def refs(self) -> tuple[str, ...]:
        """Return the ref of every prompt file, sorted, faulty ones included."""
        found: set[str] = set()
        for folder in self._search:
            for path in folder.rglob("*.yaml"):
                ref = path.relative_to(folder).with_suffix("").as_posix()
                if _REF.fullmatch(ref) and path.is_file():
                    found.add(ref)
        return tuple(sorted(found))

    def check(self) -> tuple[Problem, ...]:
        """Return every fault of every prompt file, as it is on disk now."""
        problems: tuple[Problem, ...] = ()
        for ref in self.refs():
            path = self._find(ref)
            problems += tuple(_read(path)[1]) if path else ()
        return problems

    def diff(self, ref: str, a: int, b: int) -> str:
        """Return the unified diff between two versions' templates; empty if they are equal.

        Raises:
            UnknownNameError: See `get`.
        """
        old, new = self.get(ref, a), self.get(ref, b)
        lines = difflib.unified_diff(
            old.template.splitlines(), new.template.splitlines(), f"{ref}@{a}", f"{ref}@{b}", lineterm=""
        )
        return "\n".join(lines)

    def _find(self, ref: str) -> Path | None:
        if not _REF.fullmatch(ref):
            return None
        candidates = (folder / f"{ref}.yaml" for folder in self._search)
        return next((path for path in candidates if path.is_file()), None)

    def _load(self, ref: str) -> _Loaded:
        path = self._find(ref)
        if path is None:
            folders = ", ".join(map(str, self._search)) or "(none)"
            raise UnknownNameError("prompt", ref, self.refs(), hint=f"Searched: {folders}.")
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        known = self._loaded.get(ref)
        if known and known.path == path and stamp in (known.stamp, self._complained.get(ref)):
            return known
        content, problems = _read(path)
        if content is not None and not problems:
            self._loaded[ref] = _Loaded(stamp, path, content)
            return self._loaded[ref]
        if known is None or known.path != path:
            raise PromptError(f"The prompt {ref!r} is faulty.", problems)
        self._complained[ref] = stamp
        logger.warning("prompt %r is faulty now, the last good version stays in use: %s", ref, problems[0])
        return known


def _read(path: Path) -> tuple[PromptFile | None, Sequence[Problem]]:
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
    return content, problems


def _variable_problems(document: YamlDocument, path: KeyPath, version: PromptVersion) -> Iterable[Problem]:
    """Check the variables both ways: used ones are declared, declared ones are used."""
    template = (*path, "template")
    used = placeholders(version.template)
    for index, name in enumerate(used):
        token = "{{" + name + "}}"
        place = document.locate(template, token, used[:index].count(name))
        if not _NAME.fullmatch(name):
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
