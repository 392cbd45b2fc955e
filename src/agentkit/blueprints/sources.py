"""The files of one blueprint read as one tree, in which every value knows its file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentkit.blueprints.inheritance import MAIN_FILE, Inheritance
from agentkit.blueprints.interpolation import (
    SecretParts,
    Surroundings,
    declared_parameters,
    interpolate,
)
from agentkit.errors import Problem
from agentkit.prompts.yaml_source import KeyPath, YamlDocument

__all__ = ["MAIN_FILE", "SourceTree"]


class SourceTree:
    """`blueprint.yaml` with `agents/*.yaml`, or one file with everything; over all it extends.

    Args:
        path: The folder, or the file; both must exist.
        parameters: Values the caller sets for the blueprint's parameters.
        surroundings: What expressions read.

    Attributes:
        root: Folder of the blueprint itself.
        project: Folder that nothing outside of is read through paths of blueprints.
        documents: The parsed files: the main one, the agents' in order of their names, and
            those of the blueprints it extends.
        files: Their paths.
        readable: Whether there is a tree to validate at all.
        value: The merged and interpolated tree.
        secrets: Places in it that hold secrets, and what those are made of.
    """

    def __init__(self, path: Path, parameters: Mapping[str, object], surroundings: Surroundings) -> None:
        read = Inheritance(path)
        self.documents: Sequence[YamlDocument] = read.documents
        self.files = tuple(Path(document.file) for document in read.documents)
        self.root = self.files[0].parent
        self.project = read.project
        self._layer = read.layer
        # Without a base, most of what could be said about the rest would be wrong.
        self.readable = read.complete and isinstance(read.layer.value, dict)
        self.value: Any = None
        self.secrets: dict[KeyPath, SecretParts] = {}
        if self.readable:
            values = declared_parameters(self._layer, parameters, surroundings)
            self.value = interpolate(self._layer, values, surroundings, self.secrets)

    @property
    def faults(self) -> list[Problem]:
        """What was wrong with the files themselves and their expressions."""
        return [problem for document in self.documents for problem in document.problems]

    def locate(self, path: KeyPath) -> tuple[YamlDocument, KeyPath]:
        """Return the file that holds `path` of the tree, and the path within that file."""
        return self._layer.origin.locate(path)

    def problem(self, message: str, path: KeyPath, *, key: bool = False) -> Problem:
        """Return a problem placed at `path` of the tree."""
        document, inner = self.locate(path)
        return document.problem(message, inner, key=key)

    def resolve(self, text: str, path: KeyPath) -> Path:
        """Return the path that `text` at `path` means: relative ones start at the folder of its file."""
        document, _ = self.locate(path)
        return Path(document.file).parent / text
