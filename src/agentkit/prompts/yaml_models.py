"""From pydantic's errors to problems an editor can jump to."""

import re
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agentkit.errors import Problem, nearest
from agentkit.prompts.yaml_source import KeyPath, YamlDocument


def unknown_choice(kind: str, name: str, choices: Iterable[str]) -> str:
    """Say that `name` is not one of `choices`, with the nearest and the full list."""
    valid = sorted(choices)
    guess = nearest(name, valid)
    suggestion = f" Did you mean {guess!r}?" if guess else ""
    return f"Unknown {kind} {name!r}.{suggestion} Valid: {', '.join(valid) or '(none)'}."


def validation_problems(
    error: ValidationError, document: YamlDocument, model: type[BaseModel]
) -> list[Problem]:
    """Place every error of one validation of `document` against `model`."""
    return [describe(details, model, document, details["loc"]) for details in error.errors()]


def describe(
    details: ErrorDetails,
    model: type[BaseModel],
    document: YamlDocument,
    path: KeyPath,
    patterns: Mapping[str, str] = MappingProxyType({}),
) -> Problem:
    """Turn one pydantic error into a problem at `path` of `document`.

    Args:
        details: One entry of `ValidationError.errors()`; its `loc` is relative to `model`.
        model: What the value was validated against.
        document: File that holds the value.
        path: Place of the value in that file.
        patterns: What regular expressions of the model mean, in words.
    """
    kind, location = details["type"], details["loc"]
    if kind == "extra_forbidden":
        owner = model_at(model, location[:-1])
        message = unknown_choice("key", str(location[-1]), keys_of(owner) if owner else ())
        if owner and nearest(str(location[-1]), keys_of(owner)) is None:
            message += _belongs(str(location[-1]), owner)
        return document.problem(message, path, key=True)
    if kind == "invalid_key":
        return document.problem(f"The key {location[-1]!r} must be text: put it in quotes.", path, key=True)
    if kind == "missing":
        where = ".".join(str(part) for part in path[:-1])
        return document.problem(
            f"{where + ': ' if where else ''}the key {location[-1]!r} is missing.", path[:-1], key=True
        )
    label = ".".join(str(part) for part in path) or "the file"
    return document.problem(f"{label}: {_said(details, patterns)}{_instead(details, model)}", path)


def keys_of(model: type[BaseModel]) -> tuple[str, ...]:
    """The keys a mapping of this model may have, as written in YAML."""
    return tuple(info.alias or name for name, info in model.model_fields.items())


def model_at(model: type[BaseModel], location: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model that validates the mapping at `location` below `model`, if one does."""
    current: Any = model
    for part in location:
        if isinstance(current, type) and issubclass(current, BaseModel):
            fields = {info.alias or name: info.annotation for name, info in current.model_fields.items()}
            current = fields.get(str(part))
        else:
            arguments = typing.get_args(current)
            current = arguments[-1 if _is_mapping(current) else 0] if arguments else None
        current = _without_none(current)
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _is_mapping(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    return isinstance(origin, type) and issubclass(origin, Mapping)


def _without_none(annotation: Any) -> Any:
    """The type itself: what is annotated, and the first of several that is not None."""
    if typing.get_origin(annotation) is typing.Annotated:
        return _without_none(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        kinds = (kind for kind in typing.get_args(annotation) if kind is not type(None))
        return _without_none(next(kinds, None))
    return annotation


_PLAIN = re.compile(r"[\w./-]{1,60}")
_SHORT = frozenset({"name", "ref", "provider", "path"})
"""Keys an entry may be mistaken for; others come first by chance."""

_WANTED = {
    "string_type": "must be text (put it in quotes)",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "dict_type": "must be a mapping of keys to values",
    "mapping_type": "must be a mapping of keys to values",
    "model_type": "must be a mapping of keys to values",
    "model_attributes_type": "must be a mapping of keys to values",
}


def _said(details: ErrorDetails, patterns: Mapping[str, str]) -> str:
    context, kind, given = details.get("ctx", {}), details["type"], details["input"]
    if kind == "value_error":
        return str(context.get("error", details["msg"]))
    if kind in ("string_pattern_mismatch", "string_too_short"):
        default = "must not be empty." if kind == "string_too_short" else details["msg"]
        return patterns.get(str(context.get("pattern")), default)
    if kind == "literal_error" and isinstance(given, str):
        guess = nearest(given, re.findall("'([^']*)'", str(context.get("expected", ""))))
        suggestion = f" Did you mean {guess!r}?" if guess else ""
        return f"should be {context.get('expected')}, not {given!r}.{suggestion}"
    wanted = _WANTED.get(kind)
    if wanted is None:
        return details["msg"].removeprefix("Input ").rstrip(".") + "."
    return f"{wanted}, not {given if kind == 'int_from_float' else _kind(given)}."


def _instead(details: ErrorDetails, model: type[BaseModel]) -> str:
    """What to write instead, where that is plain."""
    kind, location, given = details["type"], details["loc"], details["input"]
    if kind in ("tuple_type", "list_type"):
        if isinstance(given, dict):
            return " Begin each entry with '- '."
        return f" Write [{given}]." if isinstance(given, str) and _PLAIN.fullmatch(given) else ""
    if kind not in ("model_type", "model_attributes_type", "mapping_type", "dict_type") or not location:
        return ""
    owner = model_at(model, location)
    if owner is not None and str(location[-1]) in keys_of(owner):
        return f" {str(location[-1])!r} is a key of such an entry: indent it below the entry's name."
    first = keys_of(owner)[0] if owner else ""
    if first in _SHORT and isinstance(given, str) and _PLAIN.fullmatch(given):
        return f" Write {{{first}: {given}}}."
    return ""


def _belongs(key: str, owner: type[BaseModel]) -> str:
    """Where an unknown key belongs, if it is one of a section beside it."""
    sections = (
        name for name in keys_of(owner) if (below := model_at(owner, (name,))) and key in keys_of(below)
    )
    section = next(sections, None)
    return f" It belongs under {section!r}." if section else ""


def _kind(value: object) -> str:
    if value is None:
        return "empty"
    names: dict[type, str] = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
    }
    return names.get(type(value), "a mapping")
