"""The files of one blueprint read as one tree, in which every value knows its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from agentkit.blueprints.interpolation import declared_parameters, interpolate
from agentkit.errors import Problem
from agentkit.prompts.yaml_source import KeyPath, YamlDocument, read_yaml

MAIN_FILE = "blueprint.yaml"


class SourceTree:
    """`blueprint.yaml` with `agents/*.yaml`, or one file with everything.

    Args:
        path: The folder, or the file; both must exist.
        parameters: Values the caller sets for the blueprint's parameters.
        env: Environment that `${env:NAME}` reads.

    Attributes:
        root: Folder that relative paths in the blueprint start from.
        files: Every file read, the main one first, then the agents' in order of their names.
        value: The merged and interpolated tree.
    """

    def __init__(self, path: Path, parameters: Mapping[str, object], env: Mapping[str, str]) -> None:
        folder = path.is_dir()
        main = path / MAIN_FILE if folder else path
        self.root = main.parent
        self._main = read_yaml(main)
        agents = sorted(self.root.glob("agents/*.yaml")) if folder else []
        self._agents = [read_yaml(file) for file in agents]
        self.files = (main, *agents)
        self.value = self._merge(parameters, env)
        if folder:
            self._refuse_other_suffix()

    @property
    def documents(self) -> Sequence[YamlDocument]:
        """The parsed files, in the order of `files`."""
        return (self._main, *self._agents)

    @property
    def faults(self) -> list[Problem]:
        """What was wrong with the files themselves and their expressions."""
        return [problem for document in self.documents for problem in document.problems]

    @property
    def readable(self) -> bool:
        """Whether there is a tree to validate at all."""
        return isinstance(self._main.value, dict)

    def locate(self, path: KeyPath) -> tuple[YamlDocument, KeyPath]:
        """Return the file that holds `path` of the tree, and the path within that file."""
        match path:
            case ("agents", int(index), *rest) if index < len(self._agents):
                return self._agents[index], tuple(rest)
            case _:
                return self._main, path

    def problem(self, message: str, path: KeyPath, *, key: bool = False) -> Problem:
        """Return a problem placed at `path` of the tree."""
        document, inner = self.locate(path)
        return document.problem(message, inner, key=key)

    def _merge(self, parameters: Mapping[str, object], env: Mapping[str, str]) -> Any:
        if not self.readable:
            if not self._main.problems:
                self._main.problems.append(
                    self._main.problem("A blueprint is a mapping of keys to values; see docs/blueprints.md.")
                )
            return None
        values = declared_parameters(self._main, parameters, env)
        tree = cast(dict[str | int, Any], interpolate(self._main, values, env))
        if not self._agents:
            return tree
        if "agents" in tree:
            message = "Agents are either here or in agents/*.yaml, not both: move them into files."
            self._main.problems.append(self._main.problem(message, ("agents",), key=True))
        tree["agents"] = [interpolate(document, values, env) for document in self._agents]
        return tree

    def _refuse_other_suffix(self) -> None:
        for file in sorted(self.root.glob("agents/*.yml")):
            self._main.problems.append(Problem("Agent files end in .yaml: rename it.", str(file)))
