"""The JSON Schema editors check blueprint files with."""

from typing import Any, cast

from agentkit.blueprints.agents import AgentSpec
from agentkit.blueprints.fields import MIDDLEWARE_ENTRY
from agentkit.blueprints.middleware import MIDDLEWARE, own_type
from agentkit.blueprints.schema import Blueprint
from agentkit.blueprints.teams import TeamSpec

_EXPRESSION = {"type": "string", "pattern": r"\$\{(param|env):"}

# An entry of `agents`. Not `oneOf`, so that an editor says what is wrong with the one it is.
_MEMBER: dict[str, Any] = {
    "if": {"required": ["blueprint"]},
    "then": {"$ref": "#/$defs/TeamSpec"},
    "else": {"$ref": "#/$defs/AgentSpec"},
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of `blueprint.yaml` and of `agents/*.yaml`.

    One schema serves both kinds of file: what has a key `kind` or `apiVersion` is a
    blueprint, what has `blueprint` a team, anything else an agent. Wherever text is not expected anyway, an
    expression `${param:…}` or `${env:…}` is accepted too.
    """
    blueprint = Blueprint.model_json_schema()
    agent = AgentSpec.model_json_schema()
    team = TeamSpec.model_json_schema()
    definitions: dict[str, Any] = {**blueprint.pop("$defs"), **agent.pop("$defs"), **team.pop("$defs")}
    blueprint["properties"]["agents"]["items"] = _MEMBER
    definitions |= {"Blueprint": blueprint, "AgentSpec": agent, "TeamSpec": team, **_middleware()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "agentkit blueprint, version 1",
        "if": {"anyOf": [{"required": ["kind"]}, {"required": ["apiVersion"]}]},
        "then": {"$ref": "#/$defs/Blueprint"},
        "else": _MEMBER,
        "$defs": {name: _open(definition) for name, definition in sorted(definitions.items())},
    }


def _middleware() -> dict[str, Any]:
    """Definitions of one entry of `middleware` and of the options of each that is registered.

    What other packages register is an object of any kind: their code is not run for it.
    """
    definitions: dict[str, Any] = {}
    entries: dict[str, Any] = {
        "use": {"type": "string", "description": "module:attribute, under security.allowed_modules."},
        "options": {"type": "object", "description": "What it is called with."},
    }
    for name in MIDDLEWARE.names():
        kind = own_type(name)
        if kind is None:
            entries[name] = {"type": "object", "description": "Of another package: it says which options."}
            continue
        options = kind.options
        schema = options.model_json_schema()
        definitions |= {**schema.pop("$defs", {}), options.__name__: schema}
        entries[name] = {"$ref": f"#/$defs/{options.__name__}"}
    definitions["MiddlewareEntry"] = {
        "type": "object",
        "description": "One middleware: its name with its options; or use, with options.",
        "properties": entries,
        "additionalProperties": False,
        "minProperties": 1,
        "maxProperties": 2,
    }
    return definitions


def _open(schema: Any) -> Any:
    """Accept an expression beside every number, boolean and fixed choice."""
    if isinstance(schema, list):
        return [_open(item) for item in cast(list[Any], schema)]
    if not isinstance(schema, dict):
        return schema
    mapping = cast(dict[str, Any], schema)
    if mapping == MIDDLEWARE_ENTRY:
        return {"$ref": "#/$defs/MiddlewareEntry"}
    opened = {
        key: value if key in ("default", "const", "enum") else _open(value) for key, value in mapping.items()
    }
    if opened.get("type") in ("integer", "number", "boolean") or "enum" in opened:
        notes = {key: opened.pop(key) for key in ("title", "description", "default") if key in opened}
        return {**notes, "anyOf": [opened, _EXPRESSION]}
    return opened
