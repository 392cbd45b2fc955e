"""The key `output` of an agent: the JSON schema its answers fit."""

import json
from collections.abc import Mapping
from typing import Any, cast

from pydantic import ConfigDict, Field

from agentkit.blueprints.fields import Section, Text
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.extras import installed
from agentkit.prompts.yaml_source import KeyPath

_LARGEST = 1 << 20


class OutputSpec(Section):
    """The form of an agent's answers."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)

    json_schema: Text | Mapping[str, Any] = Field(
        alias="schema", description="JSON Schema (2020-12) of an object: a file, or the schema itself."
    )


def output_schemas(tree: SourceTree, value: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return the schemas of a blueprint's agents by name, references written out.

    Args:
        tree: The blueprint's files.
        value: The tree's value.
        problems: Where faults are added.
    """
    found: dict[str, Any] = {}
    agents = value.get("agents")
    for index, agent in enumerate(cast("list[Any]", agents) if isinstance(agents, list) else []):
        if not isinstance(agent, dict):
            continue
        given = cast("dict[str, Any]", agent)
        output = given.get("output")
        schema = cast("dict[str, Any]", output).get("schema") if isinstance(output, dict) else None
        path = ("agents", index, "output", "schema")
        if not isinstance(schema, (str, dict)) or not schema:
            continue
        try:
            read = _read(schema, tree, path) if isinstance(schema, str) else cast("object", schema)
            found[str(given.get("name"))] = _checked(read)
        except ValueError as error:
            problems.append(tree.problem(str(error), path))
    return found


def _read(schema: str, tree: SourceTree, path: KeyPath) -> object:
    file = tree.resolve(schema, path)
    try:
        if file.stat().st_size > _LARGEST:
            raise ValueError(f"The file {str(file)!r} is larger than 1 MiB.")
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"The file {str(file)!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"The file {str(file)!r} is not UTF-8 text.") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"The file {str(file)!r} is no JSON: {error.msg} in {place}.") from error
    except RecursionError as error:
        raise ValueError(f"The file {str(file)!r} is nested too deeply.") from error


def _checked(schema: object) -> dict[str, Any]:
    if not isinstance(schema, dict) or cast("dict[str, Any]", schema).get("type") != "object":
        raise ValueError("An output schema describes an object: its type must be 'object'.")
    from agentkit.llm.structured import inlined

    try:
        flat = inlined(cast("dict[str, Any]", schema))
    except (KeyError, ValueError, RecursionError) as error:
        raise ValueError(f"A $ref of the output schema leads nowhere inside it: {error}.") from error
    if installed("jsonschema"):
        import jsonschema

        try:
            jsonschema.Draft202012Validator.check_schema(flat)
        except jsonschema.SchemaError as error:
            raise ValueError(f"This is no JSON schema: {error.message} (at {error.json_path}).") from error
    return flat
