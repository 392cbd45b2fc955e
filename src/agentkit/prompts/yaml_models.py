"""From pydantic's errors to problems an editor can jump to."""

import types
import typing
from collections.abc import Iterable, Mapping, Sequence
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


def describe(details: ErrorDetails, model: type[BaseModel], document: YamlDocument, path: KeyPath) -> Problem:
    """Turn one pydantic error into a problem at `path` of `document`.

    Args:
        details: One entry of `ValidationError.errors()`; its `loc` is relative to `model`.
        model: What the value was validated against.
        document: File that holds the value.
        path: Place of the value in that file.
    """
    kind, location = details["type"], details["loc"]
    if kind == "extra_forbidden":
        owner = model_at(model, location[:-1])
        message = unknown_choice("key", str(location[-1]), keys_of(owner) if owner else ())
        return document.problem(message, path, key=True)
    if kind == "invalid_key":
        return document.problem(f"The key {location[-1]!r} must be text: put it in quotes.", path, key=True)
    if kind == "missing":
        where = ".".join(str(part) for part in path[:-1])
        return document.problem(
            f"{where + ': ' if where else ''}the key {location[-1]!r} is missing.", path[:-1], key=True
        )
    label = ".".join(str(part) for part in path) or "the file"
    return document.problem(f"{label}: {_said(details)}", path)


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
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next((kind for kind in typing.get_args(annotation) if kind is not type(None)), None)
    return annotation


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


def _said(details: ErrorDetails) -> str:
    context = details.get("ctx", {})
    if details["type"] == "value_error":
        return str(context.get("error", details["msg"]))
    wanted = _WANTED.get(details["type"])
    if wanted is None:
        return details["msg"].removeprefix("Input ").rstrip(".") + "."
    given = details["input"]
    return f"{wanted}, not {_kind(given)}."


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
