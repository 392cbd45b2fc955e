"""The catalogue of model weights: what to fetch, from where, and how to know it is right."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

import yaml

from agentkit.errors import ConfigurationError, UnknownNameError

Kind = Literal["chat", "embedding"]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PINNED = re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!_-]+")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Part:
    """One consecutive piece of a file, stored as a member of a wheel.

    Attributes:
        package: Requirement pinned to one version, `name==version`.
        member: Path of the piece inside the wheel.
        size: Bytes.
        sha256: Checksum of the piece, lower-case hexadecimal.
    """

    package: str
    member: str
    size: int
    sha256: str

    def __post_init__(self) -> None:
        _expect(bool(_PINNED.fullmatch(self.package)), f"package {self.package!r} is not name==version")
        _expect(bool(self.member), f"{self.package}: member is empty")
        _expect(self.size > 0, f"{self.package}: size must be positive")
        _expect(bool(_SHA256.fullmatch(self.sha256)), f"{self.package}: sha256 is not 64 hexadecimal digits")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file of a model: its parts in order, and the checksum of the whole."""

    name: str
    size: int
    sha256: str
    parts: tuple[Part, ...]

    def __post_init__(self) -> None:
        _expect(bool(_PLAIN.fullmatch(self.name)), f"file name {self.name!r} is not a plain name")
        _expect(bool(_SHA256.fullmatch(self.sha256)), f"{self.name}: sha256 is not 64 hexadecimal digits")
        total = sum(part.size for part in self.parts)
        _expect(total == self.size, f"{self.name}: parts have {total} bytes, size says {self.size}")


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One model.

    Attributes:
        name: What users write in YAML and after `agentkit models pull`.
        kind: What it is for.
        description: One line for listings.
        license: SPDX identifier of the weights' licence.
        files: Its files, in catalogue order.
        context_tokens: Longest context a chat model was trained for, else None.
        dimensions: Length of an embedding model's vectors, else None.
    """

    name: str
    kind: Kind
    description: str
    license: str
    files: tuple[WeightFile, ...]
    context_tokens: int | None = None
    dimensions: int | None = None

    def __post_init__(self) -> None:
        _expect(bool(_PLAIN.fullmatch(self.name)), f"model name {self.name!r} is not a plain name")
        _expect(self.kind in ("chat", "embedding"), f"{self.name}: kind must be chat or embedding")
        _expect(bool(self.files), f"{self.name}: no files")

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)


class Catalogue(Mapping[str, CatalogueEntry]):
    """The known models by name, in the order of the file they were read from."""

    def __init__(self, entries: Mapping[str, CatalogueEntry]) -> None:
        self._entries = MappingProxyType(dict(entries))

    def __getitem__(self, name: str) -> CatalogueEntry:
        """Return the entry called `name`.

        Raises:
            UnknownNameError: There is none; the text lists the valid names.
        """
        try:
            return self._entries[name]
        except KeyError:
            raise UnknownNameError(
                "model", name, self._entries, hint="`agentkit models list` shows what each one is."
            ) from None

    def __contains__(self, name: object) -> bool:
        # Mapping's own asks __getitem__ and expects KeyError; UnknownNameError is only a LookupError.
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@cache
def load_catalogue(path: Path | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        path: YAML file; by default the one shipped with agentkit.

    Raises:
        ConfigurationError: The file does not say what a catalogue must say.
    """
    path = path or Path(__file__).with_name("catalogue.yaml")
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Catalogue({name: _entry(name, fields) for name, fields in loaded["models"].items()})
    except (KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise ConfigurationError(f"Catalogue {path.name}: {type(error).__name__}: {error}") from error


def _entry(name: str, fields: dict[str, Any]) -> CatalogueEntry:
    files = cast("dict[str, dict[str, Any]]", fields.pop("files"))
    return CatalogueEntry(name=name, files=tuple(_file(key, value) for key, value in files.items()), **fields)


def _file(name: str, fields: dict[str, Any]) -> WeightFile:
    parts = cast("list[dict[str, Any]]", fields.pop("parts"))
    if len(parts) == 1:
        parts = [{"size": fields["size"], "sha256": fields["sha256"], **parts[0]}]
    return WeightFile(name=name, parts=tuple(Part(**part) for part in parts), **fields)


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
