"""`agentkit db`: the database's schema."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from agentkit.cli.session import Json, Session, out, print_json

if TYPE_CHECKING:
    from agentkit.database.migrate import MigrationStatus

app = typer.Typer(no_args_is_help=True, help="Migrations of the database.")


@app.command()
def migrate() -> None:
    """Apply the migrations that are missing. Safe when several processes do it at once."""
    with Session() as session:
        applied = session.run(session.kit.migrate())
    for migration in applied:
        out.print(f"applied {migration.file.name}", markup=False)
    out.print("The database is up to date.")


@app.command()
def status(*, as_json: Annotated[bool, Json] = False) -> None:
    """Show which migrations are applied."""
    with Session() as session:
        url, rows = session.run(_status(session))
    if as_json:
        keys = ("version", "name", "sha256")
        print_json(
            [
                {**{key: getattr(row.migration, key) for key in keys}, "applied_at": row.applied_at}
                for row in rows
            ]
        )
        return
    out.print(url, style="dim", markup=False)
    table = Table("version", "name", "applied", box=None, header_style="bold")
    for row in rows:
        applied = f"{row.applied_at:%Y-%m-%d %H:%M:%S}" if row.applied_at else "missing: agentkit db migrate"
        table.add_row(f"{row.migration.version:03}", row.migration.name, applied)
    out.print(table)


async def _status(session: Session) -> "tuple[str, tuple[MigrationStatus, ...]]":
    from agentkit.database import migrate as migrations
    from agentkit.database.pool import redact
    from agentkit.wiring import MIGRATION_FOLDERS

    url = await session.kit.database_url()
    return redact(url), await migrations.status(url, MIGRATION_FOLDERS)
