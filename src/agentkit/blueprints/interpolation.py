"""`${param:NAME}`, `${env:…}`, `${secret:…}` and `${context:…}` in the parsed tree, never in the text.

A value put in place of an expression is not looked at again, so neither a parameter nor
an environment variable can add keys, or further expressions, to a blueprint. A text with
a secret in it becomes a `SecretStr`: neither its representation nor its JSON tells it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr

from agentkit.blueprints.layers import Layer
from agentkit.blueprints.raw import as_mapping
from agentkit.blueprints.request_values import BUILT_IN, ContextText
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath

_EXPRESSION = re.compile(r"\$(\$\{)|\$\{([^}]*)\}")
_BODY = re.compile(r"(param|env|secret|context):([A-Za-z_][A-Za-z0-9_-]*)(?::-(.*))?", re.DOTALL)

Parameters = Mapping[str, object]

SecretParts = tuple[str, ...]
"""A text with secrets in it: by turns what stands between them, and the name of a secret."""

SECRETS = Path("/run/secrets")
"""Where Docker, Podman and Kubernetes mount secrets by convention."""

_MAX_SECRET = 1 << 16


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What expressions read: the environment, and a folder with one file a secret."""

    env: Mapping[str, str]
    secrets: Path = SECRETS

    def secret(self, name: str) -> SecretStr | str:
        """Return the secret called `name`, or why there is none."""
        if found := self.env.get(name):
            return SecretStr(found)
        file = self.secrets / name
        try:
            with file.open("rb") as stream:
                text = stream.read(_MAX_SECRET).decode().rstrip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            return f"neither the environment variable {name} is set nor is there a file {str(file)!r}"
        except OSError as error:
            return f"the file {str(file)!r} cannot be read: {error.strerror}"
        except UnicodeDecodeError:
            return f"the file {str(file)!r} is not UTF-8 text"
        return SecretStr(text) if text else f"the file {str(file)!r} is empty"


def declared_parameters(
    layer: Layer, given: Mapping[str, object], surroundings: Surroundings
) -> dict[str, object]:
    """Return the value of every parameter the blueprint declares; None for one without a value.

    Args:
        layer: The blueprint; faults are added to the problems of the files they are in.
        given: Values set by the caller; they win over defaults.
        surroundings: What the defaults may refer to.
    """
    declared = as_mapping(as_mapping(layer.value).get("parameters"))
    for name in given.keys() - declared.keys():
        message = unknown_choice("parameter", name, map(str, declared))
        document, place = layer.origin.locate(("parameters",))
        document.problems.append(document.problem(message, place, key=True))
    values: dict[str, object] = {}
    for name, spec in declared.items():
        if name in given:
            values[str(name)] = given[name]
        else:
            default = as_mapping(spec).get("default")
            path = ("parameters", name, "default")
            values[str(name)] = _Interpolation(layer, None, surroundings).value(default, path)
    return values


def interpolate(
    layer: Layer,
    parameters: Parameters,
    surroundings: Surroundings,
    secrets: dict[KeyPath, SecretParts] | None = None,
) -> Any:
    """Return the layer's value with every expression replaced.

    To `secrets` are added the places of texts with secrets in them, for `fill_secrets`.

    An expression that is the whole text keeps the type of a parameter's value; text from
    the environment stays text. `$${` stands for a literal `${`. Faults are added to the
    problems of the files they are in. `parameters` itself is left as written, its defaults have been used
    by `declared_parameters`; so is `extends`, which has been followed.
    """
    replace = _Interpolation(layer, parameters, surroundings, secrets)
    as_written = ("extends", "parameters")
    tree = cast(dict[str | int, Any], layer.value)
    return {key: item if key in as_written else replace.value(item, (key,)) for key, item in tree.items()}


def fill_secrets(parts: SecretParts, surroundings: Surroundings) -> SecretStr | str:
    """Return the text with its secrets filled in, or why one of them is missing."""
    filled: list[str] = []
    for index, part in enumerate(parts):
        if index % 2 == 0:
            filled.append(part)
        elif isinstance(secret := surroundings.secret(part), SecretStr):
            filled.append(secret.get_secret_value())
        else:
            return secret
    return SecretStr("".join(filled))


def _may_be_secret(path: KeyPath) -> bool:
    return (path[:1], path[2:3]) == (("models",), ("options",)) or (
        path[:1] == ("mcp_servers",) and path[2:3] in (("headers",), ("env",))
    )


def _may_be_context(path: KeyPath) -> bool:
    return path[0] in ("agents", "supervisor") and path[-3:-1] == ("prompt", "variables")


class _Interpolation:
    def __init__(
        self,
        layer: Layer,
        parameters: Parameters | None,
        surroundings: Surroundings,
        secrets: dict[KeyPath, SecretParts] | None = None,
    ) -> None:
        self._secrets = {} if secrets is None else secrets
        self._origin = layer.origin
        self._declared = {*BUILT_IN, *map(str, as_mapping(as_mapping(layer.value).get("context")))}
        self._parameters = parameters
        self._surroundings = surroundings

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
            value = self._resolve(whole, path)
            if isinstance(value, SecretStr):
                self._secrets[path] = ("", whole.group(2).removeprefix("secret:"), "")
            return value
        parts = [""]  # as `SecretParts`; what `ContextText` holds looks the same
        later = False
        end = 0
        for match in _EXPRESSION.finditer(text):
            parts[-1] += text[end : match.start()]
            end = match.end()
            value = "${" if match.group(1) else self._resolve(match, path)
            if isinstance(value, SecretStr):
                parts += [match.group(2).removeprefix("secret:"), ""]
            elif isinstance(value, ContextText):
                parts += value.parts[1:]
                later = True
            else:
                parts[-1] += str(value)
        parts[-1] += text[end:]
        if len(parts) == 1:
            return parts[0]
        if later:  # no secret may stand where this may
            return ContextText(tuple(parts))
        self._secrets[path] = tuple(parts)
        return fill_secrets(tuple(parts), self._surroundings)

    def _resolve(self, match: re.Match[str], path: KeyPath) -> object:
        body = _BODY.fullmatch(match.group(2))
        if body is None:
            return self._fault(
                match,
                path,
                "is not an expression: write ${param:NAME}, ${env:NAME}, ${env:NAME:-default}, "
                "${secret:NAME} or ${context:NAME}",
            )
        kind, name, default = body.groups()
        if kind == "secret":
            return self._secret(match, path, name, default)
        if kind == "context":
            return self._context(match, path, name, default)
        if kind == "env":
            # As in a shell, :- also covers a variable that is set but empty.
            found = self._surroundings.env.get(name) or default
            return (
                found
                if found is not None
                else self._fault(
                    match,
                    path,
                    f"the environment variable {name} is not set: set it, or write ${{env:{name}:-DEFAULT}}",
                )
            )
        return self._parameter(match, path, name, default)

    def _secret(self, match: re.Match[str], path: KeyPath, name: str, default: str | None) -> object:
        if not _may_be_secret(path):
            return self._fault(
                match,
                path,
                "a secret may stand only under models.NAME.options, and in headers and env of an MCP server",
            )
        if path[3:4] == ("base_url",):
            return self._fault(match, path, "an address is no secret: health checks and errors show it")
        if default is not None:
            return self._fault(match, path, "a secret has no default")
        found = self._surroundings.secret(name)
        return found if isinstance(found, SecretStr) else self._fault(match, path, found)

    def _context(self, match: re.Match[str], path: KeyPath, name: str, default: str | None) -> object:
        if not _may_be_context(path):
            return self._fault(
                match,
                path,
                "a value of the request may stand only in the variables of an agent's prompt or the "
                "supervisor's; all else is built once, before anybody asks",
            )
        if default is not None:
            return self._fault(match, path, f"its default belongs under 'context: {name}: default:'")
        if name not in self._declared:
            return self._fault(match, path, unknown_choice("value of the request", name, self._declared))
        return ContextText(("", name, ""))

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
