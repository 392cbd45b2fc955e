"""Fixtures that start the real parts: PostgreSQL with pgvector, local model weights."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from agentkit.database.embedded import EmbeddedPostgres
from agentkit.settings import default_data_dir


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One embedded PostgreSQL server for the whole test session."""
    root = Path(tempfile.mkdtemp(prefix="agentkit-test-"))
    server = EmbeddedPostgres(root / "postgres")
    server.start()
    yield server
    server.stop()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """URL of an empty database of its own, dropped after the test."""
    name = f"t_{uuid4().hex[:12]}"
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    yield postgres.url(name)
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="session")
def models_dir() -> Path:
    """Where model weights are kept; shared with the user's own, so that each is fetched once a machine."""
    return default_data_dir() / "models"
