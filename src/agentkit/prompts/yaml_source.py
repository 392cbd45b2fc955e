"""YAML that remembers where every key and value was written.

Reads the scalars of the YAML 1.2 core schema (https://yaml.org/spec/1.2.2/#103-core-schema)
with PyYAML's parser: `no`, `on`, `010` and `12:30` mean what they look like, only
`true` and `false` are booleans. Tags, merge keys, duplicate keys and documents that are
huge, deep, or made huge by aliases are refused; all faults are collected, none is raised.
"""

import errno
import math
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from agentkit.errors import Problem
from agentkit.prompts.yaml_faults import explain

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1 << 20
MAX_DEPTH = 40
MAX_VALUES = 50_000
MAX_PROBLEMS = 100
_EXCERPT_CHARS = 200

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
# 18 digits: Python refuses to parse very long ones, and nothing here counts further.
_INT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


@dataclass(frozen=True, slots=True)
class Position:
    """A place in a file: 1-based line and column, and character offsets of the value."""

    line: int
    column: int
    start: int = 0
    end: int = 0


@dataclass(slots=True)
class YamlDocument:
    """One parsed file: its plain value, the place of everything in it, and its faults.

    Attributes:
        file: Name shown in problems.
        text: The text that was parsed.
        value: Dictionaries, lists, strings, numbers, booleans and None.
        problems: Faults found while parsing; `value` holds what could be read.
    """

    file: str
    text: str = ""
    value: Any = None
    problems: list[Problem] = field(default_factory=list[Problem])
    _values: dict[KeyPath, Position] = field(default_factory=dict[KeyPath, Position])
    _keys: dict[KeyPath, Position] = field(default_factory=dict[KeyPath, Position])
    _lines: list[str] | None = None

    def position(self, path: KeyPath, *, key: bool = False) -> Position:
        """Return where `path` is written: its value, or its key if `key` is true.

        A path that is not in the file gives the nearest enclosing thing that is.
        """
        while path:
            table = (self._keys, self._values) if key else (self._values, self._keys)
            for places in table:
                if path in places:
                    return places[path]
            path, key = path[:-1], True
        return self._values.get((), Position(1, 1))

    def locate(self, path: KeyPath, needle: str, occurrence: int = 0) -> Position:
        """Return the place of the n-th `needle` inside the scalar at `path`, as written in the file."""
        value = self.position(path)
        index = value.start
        for _ in range(occurrence + 1):
            index = self.text.find(needle, index, value.end)
            if index < 0:
                return value
            index += len(needle)
        return self._at(index - len(needle))

    def problem(self, message: str, path: KeyPath = (), *, key: bool = False) -> Problem:
        """Return a problem placed at `path`."""
        return self.problem_at(message, self.position(path, key=key))

    def problem_at(self, message: str, place: Position) -> Problem:
        """Return a problem at `place`, with the line as its excerpt."""
        if self._lines is None:
            self._lines = _LINE_BREAK.split(self.text)
        line = self._lines[place.line - 1] if place.line <= len(self._lines) else ""
        excerpt = line[:_EXCERPT_CHARS] if place.column <= _EXCERPT_CHARS else ""
        return Problem(message, self.file, place.line, place.column, excerpt)

    def report(self, message: str, place: Position) -> None:
        """Add a problem at `place`; of very many, the first are enough."""
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(self.problem_at(message, place))

    def record(self, path: KeyPath, place: Position, *, key: bool = False) -> None:
        """Remember where `path` (or its key) is written."""
        (self._keys if key else self._values)[path] = place

    def _at(self, index: int) -> Position:
        breaks = list(_LINE_BREAK.finditer(self.text, 0, index))
        start = breaks[-1].end() if breaks else 0
        return Position(len(breaks) + 1, index - start + 1, index, index)


def read_yaml(path: Path, *, display: str | None = None) -> YamlDocument:
    """Read and parse a file. Never raises for what the file holds or lacks.

    Args:
        path: File to read, UTF-8 with or without a byte-order mark, at most 1 MiB.
        display: Name for problems; the path as given by default.
    """
    document = YamlDocument(display or str(path))
    try:
        data = _content(path)
    except OSError as error:
        document.problems.append(
            Problem(f"The file cannot be read: {error.strerror or error}.", document.file)
        )
        return document
    if len(data) > MAX_BYTES:
        document.problems.append(
            Problem(f"The file is larger than {MAX_BYTES >> 20} MiB: split it.", document.file)
        )
        return document
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        document.problems.append(Problem("The file is not UTF-8: save it as UTF-8.", document.file, line))
        return document
    return parse_yaml(text, document.file)


def _content(path: Path) -> bytes:
    """The first bytes of a regular file, one more than are allowed; a pipe would keep us waiting.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
            raise OSError(errno.EINVAL, "It is not a regular file")
        return stream.read(MAX_BYTES + 1)


def parse_yaml(text: str, file: str) -> YamlDocument:
    """Parse YAML text; `file` is the name for problems."""
    document = YamlDocument(file, text.removeprefix("\ufeff"))
    loader = _Loader(document.text) if _readable(document) else None
    if loader is None:
        return document
    try:
        node = loader.get_single_node()
    except _TooMuchError as error:
        document.report(error.message, error.place)
    except yaml.MarkedYAMLError as error:
        fault = explain(error, document.text)
        place = Position(fault.line + 1, fault.column + 1, fault.index, fault.index)
        document.report(f"Invalid YAML: {fault.message}.", place)
    else:
        if node is not None:
            _Builder(document).build(node)
    finally:
        loader.dispose()  # pyright: ignore[reportUnknownMemberType] - untyped in the stubs
    return document


def resolve_scalar(text: str) -> str | int | float | bool | None:
    """Return what an unquoted scalar means in the YAML 1.2 core schema.

    Numbers with leading zeros, infinities and NaN stay text.

    Example:
        >>> [resolve_scalar(text) for text in ("no", "true", "8", "010", "0.5")]
        ['no', True, 8, '010', 0.5]
    """
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not _LEADING_ZERO.fullmatch(text):
        number = float(text)
        return number if math.isfinite(number) else text
    return text


def _readable(document: YamlDocument) -> bool:
    """Report a character YAML does not allow; the parser gives no line for it."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(document.text)
    if found is None:
        return True
    place = document._at(found.start())  # noqa: SLF001 - same module  # pyright: ignore[reportPrivateUsage] - same module
    document.report(f"Character {found.group()!r} is not allowed in YAML.", place)
    return False


def _place(start: yaml.Mark, end: yaml.Mark) -> Position:
    return Position(start.line + 1, start.column + 1, start.index, end.index)


class _TooMuchError(Exception):
    def __init__(self, message: str, place: Position) -> None:
        super().__init__(message)
        self.message = message
        self.place = place


class _Loader(yaml.SafeLoader):
    """PyYAML's parser and composer; scalars are left to `resolve_scalar`."""

    # Every plain scalar is composed as text: YAML 1.1's guesses never run.
    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - PyYAML's own declaration
    _depth = 0
    _left = 2 * MAX_VALUES  # keys are nodes as well

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        self._left -= 1
        if self._depth > MAX_DEPTH or self._left < 0:
            event = cast(yaml.Event, self.peek_event())  # pyright: ignore[reportUnknownMemberType] - no stub
            mark = cast(yaml.Mark, event.start_mark)
            deep, many = f"Nested deeper than {MAX_DEPTH} levels.", f"More than {MAX_VALUES} values."
            raise _TooMuchError(many if self._left < 0 else deep, _place(mark, mark))
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Builder:
    """Turns composed nodes into plain values and records every position on the way."""

    def __init__(self, document: YamlDocument) -> None:
        self._document = document
        self._open: list[int] = []
        self._left = MAX_VALUES

    def build(self, node: yaml.Node) -> None:
        self._document.value = self._value(node, ())
        if self._left < 0:
            self._document.value = None
            self._document.problems[:] = [
                self._document.problem(f"More than {MAX_VALUES} values once aliases are expanded.")
            ]

    def _value(self, node: yaml.Node, path: KeyPath) -> Any:
        self._left -= 1
        place = _place(node.start_mark, node.end_mark)
        self._document.record(path, place)
        if self._left < 0:
            return None
        if id(node) in self._open:
            self._document.report("An alias refers to something that contains it.", place)
            return None
        self._open.append(id(node))
        value = self._content(node, path, place)
        self._open.pop()
        return value

    def _content(self, node: yaml.Node, path: KeyPath, place: Position) -> Any:
        if isinstance(node, yaml.MappingNode):
            self._refuse_tag(node, "map", place)
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            self._refuse_tag(node, "seq", place)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        self._refuse_tag(node, "str", place)
        text = str(node.value)
        return resolve_scalar(text) if getattr(node, "style", None) is None else text

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str | int, Any]:
        result: dict[str | int, Any] = {}
        for key_node, value_node in node.value:
            place = _place(key_node.start_mark, key_node.end_mark)
            key = self._key(key_node, place)
            if key is None:
                continue
            if key in result:
                first = self._document.position((*path, key), key=True)
                self._document.report(f"Key {key!r} is here twice, first in line {first.line}.", place)
                continue
            self._document.record((*path, key), place, key=True)
            result[key] = self._value(value_node, (*path, key))
        return result

    def _key(self, node: yaml.Node, place: Position) -> str | int | None:
        if not isinstance(node, yaml.ScalarNode):
            self._document.report("A key must be text or a whole number; put {{…}} in quotes.", place)
            return None
        if node.value == "<<" and node.style is None:
            self._document.report("Merge keys (<<) are not supported: write the keys out.", place)
            return None
        self._refuse_tag(node, "str", place)
        key = resolve_scalar(node.value) if node.style is None else str(node.value)
        if isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
            return key
        self._document.report(f"Key {node.value!r} must be text: put it in quotes.", place)
        return None

    def _refuse_tag(self, node: yaml.Node, expected: str, place: Position) -> None:
        if node.tag != f"tag:yaml.org,2002:{expected}":
            written = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._document.report(f"Tags are not supported: remove {written!r}.", place)
