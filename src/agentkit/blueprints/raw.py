"""Parts of a parsed tree that nothing has checked yet: what they are, or empty."""

from typing import Any, cast


def as_mapping(value: object) -> dict[Any, Any]:
    """Return `value` if it is a mapping, else an empty one."""
    return cast("dict[Any, Any]", value) if isinstance(value, dict) else {}


def as_list(value: object) -> list[Any]:
    """Return `value` if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
