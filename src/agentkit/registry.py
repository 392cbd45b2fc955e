"""Names to things: one small table per kind of part, open to other packages.

A registry holds factories by name. A name that is registered twice is refused; a name
that is missing is looked up among the entry points of installed packages before the
answer is "unknown", with the valid names and the nearest one.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar, cast

from agentkit.errors import DuplicateNameError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table from names to parts of one kind.

    Args:
        kind: What the entries are, in the singular: "provider", "chunker".
        group: Entry-point group consulted on a miss, for example `agentkit.providers`.
        table: Built-in entries as `name: "module:attribute"`, imported at first use.

    Example:
        >>> sizes = Registry[int]("size")
        >>> sizes.register("small", 1)
        >>> sizes.get("small")
        1
    """

    def __init__(
        self, kind: str, *, group: str | None = None, table: Mapping[str, str] | None = None
    ) -> None:
        self.kind = kind
        self.group = group
        self._lazy = dict(table or {})
        self._entries: dict[str, T] = {}
        self._found: dict[str, T] = {}

    def register(self, name: str, entry: T) -> None:
        """Add `entry` under `name`.

        Raises:
            DuplicateNameError: The name is taken, by a built-in or by an earlier call.
        """
        if name in self._entries or name in self._lazy:
            raise DuplicateNameError(self.kind, name)
        self._entries[name] = entry

    def get(self, name: str) -> T:
        """Return the entry called `name`, importing it if need be.

        Raises:
            UnknownNameError: Neither the table nor an installed package has it.
        """
        if name in self._entries:
            return self._entries[name]
        if name in self._found:
            return self._found[name]
        if name in self._lazy:
            module, _, attribute = self._lazy[name].partition(":")
            entry = cast(T, getattr(import_module(module), attribute))
        elif (point := self._entry_points().get(name)) is not None:
            self._found[name] = cast(T, point.load())
            return self._found[name]
        else:
            raise UnknownNameError(self.kind, name, self.names())
        self._entries[name] = entry
        return entry

    def names(self) -> tuple[str, ...]:
        """All valid names, sorted; nothing is imported for it."""
        return tuple(sorted({*self._entries, *self._lazy, *self._entry_points()}))

    def is_own(self, name: str) -> bool:
        """Whether `name` is built in or was registered: getting it runs no other package's code."""
        return name in self._entries or name in self._lazy

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _entry_points(self) -> dict[str, EntryPoint]:
        if self.group is None:
            return {}
        return {point.name: point for point in entry_points(group=self.group)}
