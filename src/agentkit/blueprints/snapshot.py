"""A loaded blueprint as text, from which the same graph can be built in another process.

It holds what the files, parameters and environment variables came to, and the prompts in
full. Secrets stay names: they are looked up again when the blueprint is built again.
"""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import date
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from pydantic import TypeAdapter, ValidationError

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.interpolation import SECRETS, SecretParts, Surroundings, fill_secrets
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.blueprints.mcp import mcp_servers
from agentkit.blueprints.nested import completed
from agentkit.blueprints.request_values import ContextText
from agentkit.blueprints.schema import Blueprint
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import BlueprintError
from agentkit.prompts import PromptVersion
from agentkit.prompts.yaml_source import KeyPath

_FORMAT = 1
_CONTEXT = "\0context"  # a key nobody writes
_PROMPT: Final = TypeAdapter(PromptVersion)


def freeze(loaded: LoadedBlueprint) -> str:
    """Return the blueprint as JSON without the values of its secrets."""
    value = copy.deepcopy(dict(loaded.value))
    for path in loaded.secrets:
        _put(value, path, None)
    prompts = [
        [
            {name: getattr(ref, name) for name in PromptRef.model_fields},
            {field.name: getattr(prompt, field.name) for field in fields(prompt)},
        ]
        for ref, prompt in loaded.prompts.items()
    ]
    secrets = [[list(path), list(parts)] for path, parts in loaded.secrets.items()]
    content = {
        "format": _FORMAT,
        "digest": loaded.digest,
        "root": str(loaded.root),
        "files": [str(file) for file in loaded.files],
        "value": value,
        "secrets": secrets,
        "prompts": prompts,
        "schemas": loaded.schemas,
        "teams": {name: freeze(team) for name, team in loaded.teams.items()},
        "folders": {name: str(getattr(server, "cwd", "")) for name, server in loaded.mcp_servers.items()},
    }
    return json.dumps(content, default=_plain)


def thaw(text: str, *, env: Mapping[str, str], secrets: Path = SECRETS) -> LoadedBlueprint:
    """Return the blueprint that `freeze` wrote.

    Args:
        text: The JSON.
        env: Where secrets are looked up first.
        secrets: Folder with one file a secret.

    Raises:
        BlueprintError: Another version of agentkit wrote it and this one cannot read it, or a
            secret is missing.
    """
    content = cast("dict[str, Any]", json.loads(text, object_hook=_object))
    if content.get("format") != _FORMAT:
        raise BlueprintError("Another version of agentkit wrote it, in a form this one does not know.")
    value = cast("dict[str, Any]", content["value"])
    places: dict[KeyPath, SecretParts] = {tuple(path): tuple(parts) for path, parts in content["secrets"]}
    surroundings = Surroundings(env, secrets)
    for path, parts in places.items():
        filled = fill_secrets(parts, surroundings)
        if isinstance(filled, str):
            raise BlueprintError(f"A secret it needs is missing: {filled}.")
        _put(value, path, filled)
    try:
        spec = Blueprint.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise BlueprintError(f"This version of agentkit cannot read it: {where}: {fault['msg']}.") from error
    teams = {name: thaw(team, env=env, secrets=secrets) for name, team in content["teams"].items()}
    return LoadedBlueprint(
        spec=completed(spec, teams),
        digest=content["digest"],
        root=Path(content["root"]),
        files=tuple(map(Path, content["files"])),
        prompts=MappingProxyType(dict(_prompts(content["prompts"]))),
        schemas=content["schemas"],
        sources=(),
        mcp_servers=MappingProxyType(
            mcp_servers(spec.mcp_servers, cast("SourceTree", _Folders(content["folders"])))
        ),
        warnings=(),
        teams=MappingProxyType(teams),
        value=value,
        secrets=MappingProxyType(places),
    )


class _Folders:
    """Where the commands of MCP servers were to run: all that is left of the files' places.

    Args:
        folders: By the server's name.
    """

    def __init__(self, folders: Mapping[str, str]) -> None:
        self._folders = folders

    def resolve(self, text: str, path: KeyPath) -> Path:  # noqa: ARG002 - as `SourceTree.resolve`
        """Return the folder of the server that `path` is of."""
        return Path(self._folders[str(path[1])])


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, Any]", value))
    if isinstance(value, ContextText):
        return {_CONTEXT: value.parts}
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be kept in a blueprint's snapshot")


def _object(value: dict[str, Any]) -> object:
    return ContextText(tuple(value[_CONTEXT])) if value.keys() == {_CONTEXT} else value


def _prompts(pairs: list[Any]) -> Iterator[tuple[PromptRef, PromptVersion]]:
    for ref, prompt in pairs:
        yield PromptRef.model_validate(ref), _PROMPT.validate_python(prompt)


def _put(value: Any, path: KeyPath, part: object) -> None:
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = part
