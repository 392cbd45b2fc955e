"""Prompts by name and version, read from folders of YAML files."""

import difflib
import logging
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agentkit.errors import ConfigurationError, Problem, PromptError, UnknownNameError
from agentkit.prompts.files import read_prompt
from agentkit.prompts.history import LOCK_FILE, Lock, fingerprint, read_lock, write_lock
from agentkit.prompts.models import PromptTemplate, PromptText, PromptVersion

logger = logging.getLogger(__name__)

_REF = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*")

_Stamp = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Loaded:
    stamp: _Stamp
    prompt: PromptTemplate


class PromptManager:
    """Finds, checks and renders prompts; may be used from several threads.

    A prompt's ref is its path below a folder without the suffix: `supervisor`,
    `agents/kubernetes`. A changed file is read again at its next use. While it is faulty or
    gone, or gives a version another text than it had, what was last good stays in use and
    the fault is logged.

    Args:
        search: A folder, or several, most important first: the first that has a ref wins.
            Folders that do not exist are passed over.

    Example:
        >>> prompts = PromptManager("prompts")
        >>> text = prompts.get("supervisor", "^1", agents="- python: Python code")
        >>> text.label
        'supervisor@1'
    """

    def __init__(self, search: Path | str | Sequence[Path | str]) -> None:
        folders = [search] if isinstance(search, (str, Path)) else search
        self._search = tuple(Path(folder) for folder in folders)
        self._loaded: dict[str, _Loaded] = {}
        self._last_good: dict[Path, PromptTemplate] = {}
        self._complained: dict[str, tuple[Path | None, _Stamp]] = {}
        self._locks: dict[Path, tuple[_Stamp, Lock]] = {}
        self._guard = threading.RLock()

    def get(self, ref: str, /, version: int | str | None = None, **variables: object) -> PromptText:
        """Return the text of a prompt with its variables filled in.

        Args:
            ref: The prompt: `agents/kubernetes`.
            version: Number, or range like `^2` or `>=2,<4` (see `agentkit.prompts.ranges`);
                None: its current version.
            variables: A value for each variable of that version.

        Returns:
            The text; its `label` says which version it was made from.

        Raises:
            UnknownNameError: No folder has the ref, or no version fits.
            PromptError: The file is faulty, every fault with its line; or a variable is
                missing or unknown.
            ValueError: `version` is text, but no range.
        """
        return self.version(ref, version).render(**variables)

    def version(self, ref: str, wanted: int | str | None = None) -> PromptVersion:
        """Return one version of a prompt, not rendered; arguments and errors as for `get`."""
        return self.template(ref).version(wanted)

    def template(self, ref: str) -> PromptTemplate:
        """Return a prompt with all its versions; errors as for `get`."""
        with self._guard:
            return self._load(ref)

    def list_prompts(self) -> tuple[PromptTemplate, ...]:
        """Return all prompts, sorted by ref. Faulty files are left to `check`."""
        found: list[PromptTemplate] = []
        for ref in sorted({*self.refs(), *self._loaded}):
            try:
                found.append(self.template(ref))
            except (PromptError, UnknownNameError):  # unknown: its file went away just now
                continue
        return tuple(found)

    def refs(self) -> tuple[str, ...]:
        """Return the ref of every prompt file, sorted, faulty ones included."""
        return tuple(sorted({ref for folder in self._search for ref in _files(folder)}))

    def check(self) -> tuple[Problem, ...]:
        """Return every fault of every prompt file and lock, as they are on disk now.

        That is: what keeps a file from being used, published versions that were changed or
        are gone, and files in use that are gone.
        """
        problems: list[Problem] = []
        with self._guard:
            for ref in self.refs():
                if path := self._find(ref):
                    problems += self._read(ref, path)[1]
            for ref in self._loaded.keys() - set(self.refs()):
                file = str(self._loaded[ref].prompt.file)
                problems.append(Problem("The file is gone; what was last good stays in use.", file))
        for lock in map(read_lock, self._search):
            problems += lock.problems
            for ref in sorted(lock.versions.keys() - set(_files(lock.file.parent))):
                message = f"The prompt {ref!r} is published, but its file is gone: put it back."
                problems.append(Problem(message, str(lock.file), lock.lines[ref], 1))
        return tuple(problems)

    def unlocked(self) -> tuple[str, ...]:
        """Return the labels of all versions that no lock has yet: drafts, still free to change."""
        labels: list[str] = []
        for prompt in self.list_prompts():
            published = self._lock_of(prompt.ref, prompt.file).of(prompt.ref)
            labels += [v.label for number, v in prompt.versions.items() if number not in published]
        return tuple(labels)

    def lock(self) -> tuple[str, ...]:
        """Publish all versions in the most important folder: write those its lock lacks.

        Returns:
            The labels that were added.

        Raises:
            PromptError: Something is wrong in that folder; nothing was written.
            ConfigurationError: The folder does not exist, or cannot be written.
        """
        folder = self._search[0] if self._search else Path("prompts")
        if not folder.is_dir():
            raise ConfigurationError(f"There is no folder {str(folder)!r} with prompts to lock.")
        prompts = PromptManager(folder)
        if problems := prompts.check():
            raise PromptError(f"Nothing was locked in {str(folder)!r}.", problems)
        lock = read_lock(folder)
        versions = {ref: dict(published) for ref, published in lock.versions.items()}
        added = prompts.unlocked()
        for prompt in prompts.list_prompts():
            now = {number: fingerprint(version.content) for number, version in prompt.versions.items()}
            versions[prompt.ref] = {**now, **versions.get(prompt.ref, {})}
        try:
            write_lock(lock.file, versions)
        except OSError as error:
            message = f"{str(lock.file)!r} cannot be written: {error.strerror}."
            raise ConfigurationError(message) from error
        return added

    def diff(self, ref: str, a: int, b: int) -> str:
        """Return the unified diff between two versions' texts; empty if they are equal.

        Raises:
            UnknownNameError: See `get`.
        """
        old, new = self.version(ref, a), self.version(ref, b)
        lines = difflib.unified_diff(
            old.content.splitlines(), new.content.splitlines(), old.label, new.label, lineterm=""
        )
        return "\n".join(lines)

    def _find(self, ref: str) -> Path | None:
        if not _REF.fullmatch(ref):
            return None
        candidates = (folder / f"{ref}.yaml" for folder in self._search)
        return next((path for path in candidates if path.is_file()), None)

    def _load(self, ref: str) -> PromptTemplate:
        path, known = self._find(ref), self._loaded.get(ref)
        stamp = _stamp(path)
        if known and path == known.prompt.file and stamp == known.stamp:
            return known.prompt
        if known and self._complained.get(ref) == (path, stamp):
            return known.prompt
        problems: Sequence[Problem] = ()
        if path is not None:
            prompt, problems = self._read(ref, path)
            if prompt is not None:
                self._loaded[ref] = _Loaded(stamp, prompt)
                self._last_good[path] = prompt
                return prompt
        if known is None and path is None:
            folders = ", ".join(map(str, self._search)) or "(none)"
            raise UnknownNameError("prompt", ref, self.refs(), hint=f"Searched: {folders}.")
        if known is None:
            raise PromptError(f"The prompt {ref!r} is faulty.", problems)
        self._complained[ref] = (path, stamp)
        fault = problems[0] if problems else f"{known.prompt.file} is gone"
        logger.warning("prompt %r: what was last good stays in use: %s", ref, fault)
        return known.prompt

    def _read(self, ref: str, path: Path) -> tuple[PromptTemplate | None, Sequence[Problem]]:
        return read_prompt(ref, path, self._lock_of(ref, path).of(ref), self._last_good.get(path))

    def _lock_of(self, ref: str, path: Path) -> Lock:
        """The lock of the folder that the prompt's file is in."""
        folder = path.parents[ref.count("/")]
        stamp = _stamp(folder / LOCK_FILE)
        with self._guard:
            if folder not in self._locks or self._locks[folder][0] != stamp:
                self._locks[folder] = (stamp, read_lock(folder))
            return self._locks[folder][1]


def _files(folder: Path) -> tuple[str, ...]:
    """The refs of the prompt files in a folder."""
    found = ((path.relative_to(folder).with_suffix("").as_posix(), path) for path in folder.rglob("*.yaml"))
    return tuple(ref for ref, path in found if _REF.fullmatch(ref) and path.is_file())


def _stamp(path: Path | None) -> _Stamp:
    """What changes when a file does; empty when there is none."""
    try:
        status = path.stat() if path else None
    except OSError:  # it went away just now
        return ()
    return (status.st_mtime_ns, status.st_size, status.st_ino) if status else ()
