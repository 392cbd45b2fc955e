"""Retrieval: files become chunks, chunks become vectors in PostgreSQL, a question becomes k chunks."""

from pathlib import Path
from typing import Final

MIGRATIONS: Final = Path(__file__).parent / "migrations"
"""The folder of SQL migrations that make the tables this package uses."""
