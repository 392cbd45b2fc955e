"""Numbered SQL files, applied once, in order, by one process at a time.

A migration is a file `NNN_name.sql`. It runs in a transaction together with the row that
records it, unless its first line is `-- agentkit: no-transaction` (what `CREATE INDEX
CONCURRENTLY` needs): then it must be one statement that can be repeated.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, cast

import psycopg
from psycopg.rows import TupleRow, tuple_row

from agentkit.database.pool import unreachable
from agentkit.errors import DatabaseError, MigrationError

Database = str | psycopg.AsyncConnection[Any]
"""A PostgreSQL URL, or a connection that is in no transaction."""

_NAME: Final = re.compile(r"(\d{3,})_([a-z0-9_]+)\.sql")
_NO_TRANSACTION: Final = "-- agentkit: no-transaction"
_LOCK: Final = 0x61676B_6D6967  # "agkmig"
_LOCK_POLL: Final = 0.1


@dataclass(frozen=True, slots=True)
class Migration:
    """One file: `version` is its number, `sha256` that of its content, hexadecimal."""

    version: int
    name: str
    sql: str = field(repr=False)
    sha256: str
    file: Path

    @property
    def transactional(self) -> bool:
        """Whether it runs in a transaction."""
        return not self.sql.startswith(_NO_TRANSACTION)


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """A migration, and when it was applied to the database; None is still to come."""

    migration: Migration
    applied_at: datetime | None


def find_migrations(folders: Iterable[Path]) -> tuple[Migration, ...]:
    """Return the migrations in `folders`, by number.

    Raises:
        MigrationError: A folder is missing, a name has another form, or two have one number.
    """
    found: dict[int, Migration] = {}
    for folder in folders:
        if not folder.is_dir():
            raise MigrationError(f"There is no folder of migrations {folder}.", hint="Reinstall agentkit.")
        for file in sorted(folder.glob("*.sql")):
            migration = _read(file)
            if (other := found.get(migration.version)) is not None:
                raise MigrationError(f"{other.file.name} and {file.name} have the same number.")
            found[migration.version] = migration
    return tuple(found[version] for version in sorted(found))


async def status(database: Database, folders: Iterable[Path]) -> tuple[MigrationStatus, ...]:
    """Return every migration with the time it was applied; changes nothing.

    Raises:
        MigrationError: The database does not fit these files, see `apply`.
        DatabaseError: The server does not accept the connection.
    """
    migrations = await asyncio.to_thread(find_migrations, folders)
    async with _connection(database) as connection:
        applied = await _applied(connection)
    _check(migrations, applied)
    return tuple(
        MigrationStatus(migration, applied[migration.version].at if migration.version in applied else None)
        for migration in migrations
    )


async def apply(database: Database, folders: Iterable[Path]) -> tuple[Migration, ...]:
    """Apply what is missing, in order, and return it; any number of processes may do so at once.

    Raises:
        MigrationError: A statement failed (its transaction is rolled back, earlier
            migrations stay), an applied file was edited, or the database has migrations
            this version of the package does not know.
        DatabaseError: The server does not accept the connection, or has no pgvector.
    """
    migrations = await asyncio.to_thread(find_migrations, folders)
    async with _connection(database) as connection, _locked(connection):
        applied = await _applied(connection)
        _check(migrations, applied)
        missing = tuple(migration for migration in migrations if migration.version not in applied)
        if missing:
            await _create_table(connection)
        for migration in missing:
            await _apply_one(connection, migration)
    return missing


@dataclass(frozen=True, slots=True)
class _Applied:
    """A row of the table of applied migrations."""

    name: str
    sha256: str
    at: datetime


def _read(file: Path) -> Migration:
    if not (parts := _NAME.fullmatch(file.name)):
        raise MigrationError(
            f"{file.name} is no name for a migration.", hint="Call it like 001_create_tables.sql."
        )
    content = file.read_bytes().replace(b"\r\n", b"\n")  # a checkout may have translated line ends
    return Migration(
        version=int(parts[1]),
        name=parts[2],
        sql=content.decode("utf-8"),
        sha256=hashlib.sha256(content).hexdigest(),
        file=file,
    )


def _check(migrations: Sequence[Migration], applied: dict[int, _Applied]) -> None:
    known = {migration.version: migration for migration in migrations}
    for version, row in sorted(applied.items()):
        if version not in known:
            raise MigrationError(
                f"The database has migration {version:03}_{row.name}, which this agentkit does not know.",
                hint="A newer version has been here: upgrade agentkit, or use another database.",
            )
        if known[version].sha256 != row.sha256:
            raise MigrationError(
                f"{known[version].file.name} was edited after it was applied on {row.at:%Y-%m-%d}.",
                hint="Restore the file, and put the change into a new migration.",
            )


async def _apply_one(connection: psycopg.AsyncConnection[TupleRow], migration: Migration) -> None:
    record = (migration.version, migration.name, migration.sha256)
    script = migration.sql.encode()  # bytes: psycopg takes text only where it can see it is no user's
    try:
        if migration.transactional:
            async with connection.transaction():
                await connection.execute(script)
                await connection.execute(_RECORD, record)
        else:
            await connection.execute(script)
            await connection.execute(_RECORD, record)
    except psycopg.Error as error:
        raise _failed(migration, error) from error


async def _create_table(connection: psycopg.AsyncConnection[TupleRow]) -> None:
    if await _has_table(connection):
        return  # IF NOT EXISTS would ask for the right to create it all the same
    try:
        await connection.execute(_CREATE_TABLE)
    except psycopg.Error as error:
        raise _forbidden("create agentkit's tables", error) from error


def _forbidden(what: str, error: psycopg.Error) -> DatabaseError:
    hint = (
        "Let an administrator run CREATE EXTENSION vector in this database, and grant CREATE on the schema."
    )
    return DatabaseError(f"The database user may not {what}: {error.diag.message_primary}.", hint=hint)


def _failed(migration: Migration, error: psycopg.Error) -> DatabaseError:
    text = str(error).strip()
    if "vector" in text and isinstance(
        error, psycopg.errors.FeatureNotSupported | psycopg.errors.UndefinedFile
    ):
        return DatabaseError(
            "This PostgreSQL has no pgvector, which retrieval needs.",
            hint="Install it on the server: on Debian and Ubuntu the package postgresql-NN-pgvector (NN is "
            "PostgreSQL's major version), in containers the image pgvector/pgvector.",
        )
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return _forbidden(f"apply {migration.file.name}", error)
    return MigrationError(
        f"Migration {migration.file.name} failed: {text}",
        hint="Nothing of it was kept." if migration.transactional else "Repeat it once the cause is removed.",
    )


async def _applied(connection: psycopg.AsyncConnection[TupleRow]) -> dict[int, _Applied]:
    if not await _has_table(connection):
        return {}
    cursor = await connection.execute("SELECT version, name, sha256, applied_at FROM agentkit_migrations")
    return {version: _Applied(name, sha256, at) for version, name, sha256, at in await cursor.fetchall()}


async def _has_table(connection: psycopg.AsyncConnection[TupleRow]) -> bool:
    cursor = await connection.execute("SELECT to_regclass('agentkit_migrations') IS NOT NULL")
    row = await cursor.fetchone()
    return bool(row and row[0])


@asynccontextmanager
async def _locked(connection: psycopg.AsyncConnection[TupleRow]) -> AsyncGenerator[None]:
    """Hold the migrations' lock, asked for again and again.

    A statement that waits for the lock would keep its snapshot, CREATE INDEX CONCURRENTLY
    would wait for that snapshot, and neither would ever end.
    """
    while True:
        row = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (_LOCK,))).fetchone()
        if row is not None and row[0]:
            break
        await asyncio.sleep(_LOCK_POLL)
    try:
        yield
    finally:
        if not connection.closed:
            await connection.execute("SELECT pg_advisory_unlock(%s)", (_LOCK,))


@asynccontextmanager
async def _connection(database: Database) -> AsyncGenerator[psycopg.AsyncConnection[TupleRow]]:
    """Yield a connection in autocommit with rows as tuples; give one passed in back as it was."""
    if isinstance(database, str):
        try:
            opened = await psycopg.AsyncConnection.connect(database, autocommit=True, connect_timeout=10)
        except psycopg.Error as error:
            raise unreachable(database, error) from error
        async with opened:
            yield opened
        return
    rows, autocommit = database.row_factory, database.autocommit
    await database.set_autocommit(True)
    database.row_factory = tuple_row
    try:
        yield cast(psycopg.AsyncConnection[TupleRow], database)
    finally:
        database.row_factory = rows
        if not database.closed:
            await database.set_autocommit(autocommit)


_CREATE_TABLE: Final = """
CREATE TABLE agentkit_migrations (
    version    integer PRIMARY KEY,
    name       text NOT NULL,
    sha256     text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""

_RECORD: Final = "INSERT INTO agentkit_migrations (version, name, sha256) VALUES (%s, %s, %s)"


@asynccontextmanager
async def migration_lock(database: Database) -> AsyncGenerator[None]:
    """Hold the lock of `apply` around schema changes made by something else."""
    async with _connection(database) as connection, _locked(connection):
        yield
