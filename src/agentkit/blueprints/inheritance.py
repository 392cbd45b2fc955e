"""Reading a blueprint with everything it extends: bases first, each file once.

`extends` reaches only files below the blueprint's project: the nearest folder called
`blueprints` around it, else the folder it lies in. Paths are relative, and symbolic
links are followed before that is checked.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from agentkit.blueprints.layers import Layer, Origin, merge
from agentkit.errors import Problem, nearest
from agentkit.prompts.yaml_source import KeyPath, YamlDocument, read_yaml

MAIN_FILE = "blueprint.yaml"
MAX_DEPTH = 8
MAX_LAYERS = 64

_Files = tuple[YamlDocument, tuple[YamlDocument, ...]]


class Inheritance:
    """Reads layers and keeps every document read, in order.

    Args:
        path: The blueprint's folder or file.

    Attributes:
        documents: The blueprint's own main file, its agents', then those it extends.
        project: Folder that nothing outside of is read through `extends`.
        complete: Whether all that is extended could be read.
    """

    def __init__(self, path: Path) -> None:
        self.project = _project(_real(path))
        self.documents: list[YamlDocument] = []
        self._read: dict[Path, _Files] = {}
        self._layers = 0
        self.complete = True
        self.layer = self._layer(path, ())

    def _layer(self, path: Path, chain: tuple[Path, ...]) -> Layer:
        """The blueprint at `path` over all it extends; `chain` led here."""
        self._layers += 1
        main, agents = self._files(path)
        if not isinstance(main.value, dict):
            if not main.problems:
                text = (
                    "A blueprint is a mapping of keys to values; see docs/blueprints.md."
                    if main.value is not None
                    else "There is nothing in this file. A blueprint begins with 'apiVersion: agentkit/v1'."
                )
                main.problems.append(main.problem(text))
            return Layer(None, Origin(main))
        own = _own_layer(main, agents)
        chain = (*chain, _real(main_file(path)))
        inherited: Layer | None = None
        for text, place in _extended(main):
            base = self._base(main, text, place, chain)
            if base is not None:
                inherited = base if inherited is None else merge(inherited, base)
        return own if inherited is None else merge(inherited, own)

    def _base(self, main: YamlDocument, text: str, place: KeyPath, chain: tuple[Path, ...]) -> Layer | None:
        """The layer that `extends: text` names, without what is only its own; None if it is refused."""
        path = Path(main.file).parent / text
        if path.name == MAIN_FILE:
            path = path.parent
        try:
            target = _real(main_file(path))
        except (OSError, ValueError) as error:  # too long, a NUL
            target, refused = path, f"{text!r} is not a path: {error}."
        else:
            refused = self._refused(text, target, chain)
        if refused:
            problem = main.problem(f"extends: {refused}", place)
            if problem not in main.problems:  # a base may be reached in two ways
                main.problems.append(problem)
            self.complete = False
            return None
        layer = self._layer(plain(path), chain)
        if not isinstance(layer.value, dict):
            self.complete = False
            return None
        inherited = cast("dict[str | int, Any]", layer.value)
        return Layer({key: item for key, item in inherited.items() if key != "extends"}, layer.origin)

    def _refused(self, text: str, target: Path, chain: tuple[Path, ...]) -> str | None:
        """Why `text` is not followed, or None."""
        if "${" in text:
            return "an expression cannot stand here; files are read before values are known."
        return out_of_reach(text, target, self.project, "extend from") or self._endless(target, chain)

    def _endless(self, target: Path, chain: tuple[Path, ...]) -> str | None:
        """Why following would not end, or not soon, or None."""
        if said := cycle(target, chain, self.project):
            return said
        if len(chain) > MAX_DEPTH:
            return f"more than {MAX_DEPTH} blueprints below one another."
        if self._layers >= MAX_LAYERS:
            return f"more than {MAX_LAYERS} blueprints in all."
        return None

    def _files(self, path: Path) -> _Files:
        main = main_file(path)
        key = _real(main)
        if key not in self._read:
            folder = path.is_dir()
            agents = sorted(path.glob("agents/*.yaml")) if folder else []
            document = read_yaml(main)
            self._read[key] = (document, tuple(read_yaml(file) for file in agents))
            self.documents += [document, *self._read[key][1]]
            for file in sorted(path.glob("agents/*.yml")) if folder else ():
                document.problems.append(Problem("Agent files end in .yaml: rename it.", str(file)))
        return self._read[key]


def out_of_reach(text: str, target: Path, project: Path, purpose: str) -> str | None:
    """Why a file may not be read from another one, or None.

    Args:
        text: Its path as written.
        target: The file meant, resolved.
        project: Folder that nothing outside of is read.
        purpose: What blueprints do with files of this folder, for the text.
    """
    if Path(text).is_absolute():
        return f"the path {text!r} must be relative to this file."
    if not target.is_relative_to(project):
        return f"{text!r} is outside of {str(project)!r}, the folder blueprints may {purpose}."
    if not target.is_file():
        guess = nearest_file(target)
        return f"there is no file {text!r}, nor a folder of that name with {MAIN_FILE}.{guess}"
    return None


def cycle(target: Path, chain: Sequence[Path], project: Path) -> str | None:
    """How `target` leads to itself when the files of `chain` led to it, or None."""
    if target not in chain:
        return None
    names = [str(file.relative_to(project)) for file in (*chain[chain.index(target) :], target)]
    return f"a cycle: {' → '.join(names)}."


def main_file(path: Path) -> Path:
    """The file a blueprint's folder or file begins with."""
    return path / MAIN_FILE if path.is_dir() else path


def plain(path: Path) -> Path:
    """The path without `..` to be read in problems, unless a symbolic link makes it another."""
    shorter = Path(os.path.normpath(path))
    return shorter if _real(shorter) == _real(path) else path


def _own_layer(main: YamlDocument, agents: Sequence[YamlDocument]) -> Layer:
    value = cast("dict[str | int, Any]", main.value)
    if not agents:
        return Layer(value, Origin(main))
    if "agents" in value:
        message = "Agents are either here or in agents/*.yaml, not both: move them into files."
        problem = main.problem(message, ("agents",), key=True)
        if problem not in main.problems:
            main.problems.append(problem)
    listed = Origin(main, ("agents",), {index: Origin(agent) for index, agent in enumerate(agents)})
    return Layer({**value, "agents": [agent.value for agent in agents]}, Origin(main, (), {"agents": listed}))


def _extended(main: YamlDocument) -> list[tuple[str, KeyPath]]:
    """The texts under `extends` with their places; what is no text is left to the schema's checks."""
    value = cast("dict[str | int, Any]", main.value).get("extends")
    if isinstance(value, list):
        items = enumerate(cast("list[object]", value))
        return [(item, ("extends", index)) for index, item in items if isinstance(item, str) and item]
    return [(value, ("extends",))] if isinstance(value, str) and value else []


def nearest_file(path: Path) -> str:
    """Return " Did you mean 'NAME'?" for the name in the same folder most like this one, or nothing."""
    try:
        guess = nearest(path.name, [entry.name for entry in path.parent.iterdir()])
    except (OSError, ValueError):  # no such folder; a NUL in its name
        return ""
    return f" Did you mean {guess!r}?" if guess else ""


def _real(path: Path) -> Path:
    """The path with symbolic links followed; as it is where they go in a circle."""
    return Path(os.path.realpath(path))


def _project(path: Path) -> Path:
    return next((folder for folder in path.parents if folder.name == "blueprints"), path.parent)
