"""Blueprints: YAML to a validated description of a team of agents."""

from pathlib import Path
from typing import Final

from agentkit.blueprints.editor_schema import json_schema
from agentkit.blueprints.loader import LoadedBlueprint, Source, find_blueprint, list_blueprints, load
from agentkit.blueprints.schema import Blueprint

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of SQL migrations that make the table blueprints are kept in."""

__all__ = [
    "MIGRATIONS",
    "Blueprint",
    "LoadedBlueprint",
    "Source",
    "find_blueprint",
    "json_schema",
    "list_blueprints",
    "load",
]
