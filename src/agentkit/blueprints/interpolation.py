"""`${param:NAME}` and `${env:NAME:-default}` in the parsed tree, never in the text.

A value put in place of an expression is not looked at again, so neither a parameter nor
an environment variable can add keys, or further expressions, to a blueprint.
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from agentkit.blueprints.layers import Layer
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath

_EXPRESSION = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_BODY = re.compile(r"(param|env):([A-Za-z_][A-Za-z0-9_-]*)(?::-(.*))?", re.DOTALL)

Parameters = Mapping[str, object]


def declared_parameters(
    layer: Layer, given: Mapping[str, object], env: Mapping[str, str]
) -> dict[str, object]:
    """Return the value of every parameter the blueprint declares; None for one without a value.

    Args:
        layer: The blueprint; faults are added to the problems of the files they are in.
        given: Values set by the caller; they win over defaults.
        env: Environment the defaults may refer to.
    """
    declared = _mapping(_mapping(layer.value).get("parameters"))
    for name in given.keys() - declared.keys():
        message = unknown_choice("parameter", name, map(str, declared))
        document, place = layer.origin.locate(("parameters",))
        document.problems.append(document.problem(message, place, key=True))
    values: dict[str, object] = {}
    for name, spec in declared.items():
        if name in given:
            values[str(name)] = given[name]
        else:
            default = _mapping(spec).get("default")
            path = ("parameters", name, "default")
            values[str(name)] = _Interpolation(layer, None, env).value(default, path)
    return values


def interpolate(layer: Layer, parameters: Parameters, env: Mapping[str, str]) -> Any:
    """Return the layer's value with every expression replaced.

    An expression that is the whole text keeps the type of a parameter's value; text from
    the environment stays text. `$${` stands for a literal `${`. Faults are added to the
    problems of the files they are in. `parameters` itself is left as written, its defaults have been used
    by `declared_parameters`; so is `extends`, which has been followed.
    """
    replace = _Interpolation(layer, parameters, env)
    as_written = ("extends", "parameters")
    tree = cast(dict[str | int, Any], layer.value)
    return {key: item if key in as_written else replace.value(item, (key,)) for key, item in tree.items()}


def _mapping(value: object) -> dict[Any, Any]:
    return cast(dict[Any, Any], value) if isinstance(value, dict) else {}


class _Interpolation:
    def __init__(self, layer: Layer, parameters: Parameters | None, env: Mapping[str, str]) -> None:
        self._origin = layer.origin
        self._parameters = parameters
        self._env = env

    def value(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            items = cast(dict[str | int, Any], value).items()
            return {key: self.value(item, (*path, key)) for key, item in items}
        if isinstance(value, list):
            items_ = cast(list[Any], value)
            return [self.value(item, (*path, index)) for index, item in enumerate(items_)]
        return self._text(value, path) if isinstance(value, str) and "${" in value else value

    def _text(self, text: str, path: KeyPath) -> object:
        whole = _EXPRESSION.fullmatch(text)
        if whole and whole.group(1) is None:
            return self._resolve(whole, path)
        return _EXPRESSION.sub(
            lambda match: "${" if match.group(1) else str(self._resolve(match, path)), text
        )

    def _resolve(self, match: re.Match[str], path: KeyPath) -> object:
        body = _BODY.fullmatch(match.group(2))
        if body is None:
            return self._fault(
                match, path, "is not an expression: write ${param:NAME}, ${env:NAME} or ${env:NAME:-default}"
            )
        kind, name, default = body.groups()
        if kind == "env":
            # As in a shell, :- also covers a variable that is set but empty.
            found = self._env.get(name) or default
            return (
                found
                if found is not None
                else self._fault(
                    match, path, f"the environment variable {name} is not set and has no default (:-…)"
                )
            )
        return self._parameter(match, path, name, default)

    def _parameter(self, match: re.Match[str], path: KeyPath, name: str, default: str | None) -> object:
        if self._parameters is None:
            return self._fault(match, path, "a parameter's default cannot refer to another parameter")
        if default is not None:
            return self._fault(match, path, f"its default belongs under 'parameters: {name}: default:'")
        if name not in self._parameters:
            return self._fault(match, path, unknown_choice("parameter", name, self._parameters))
        if self._parameters[name] is None:
            return self._fault(match, path, f"the parameter {name!r} has no default and was not set")
        return self._parameters[name]

    def _fault(self, match: re.Match[str], path: KeyPath, message: str) -> str:
        document, inner = self._origin.locate(path)
        place = document.locate(inner, match.group())
        document.report(f"{match.group()}: {message.rstrip('.')}.", place)
        return match.group()
