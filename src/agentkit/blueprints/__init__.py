"""Blueprints: YAML to a validated description of a team of agents."""

from agentkit.blueprints.editor_schema import json_schema
from agentkit.blueprints.loader import LoadedBlueprint, Source, find_blueprint, list_blueprints, load
from agentkit.blueprints.schema import Blueprint

__all__ = [
    "Blueprint",
    "LoadedBlueprint",
    "Source",
    "find_blueprint",
    "json_schema",
    "list_blueprints",
    "load",
]
