"""`agentkit models`: weights on this machine, and models the configured providers offer."""

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from agentkit.cli.session import Json, Session, out, print_json

if TYPE_CHECKING:
    from agentkit.weights import WeightsStore

app = typer.Typer(no_args_is_help=True, help="Model weights on this machine.")


@app.command("list")
def list_(*, as_json: Annotated[bool, Json] = False) -> None:
    """List the models that can be pulled, and those that are here."""
    store = _store()
    rows = [_row(store, name) for name in store.catalogue]
    if as_json:
        print_json(rows)
        return
    table = Table(
        Column("model", no_wrap=True),
        "kind",
        "size",
        "state",
        "licence",
        "description",
        box=None,
        header_style="bold",
    )
    for row in rows:
        state = row["state"]
        if state == "partial":
            state = f"partial ({100 * row['on_disk'] // row['size']} %)"
        size = f"{row['size'] / 1e6:.0f} MB"
        table.add_row(row["name"], row["kind"], size, state, row["license"], row["description"])
    out.print(table)


@app.command()
def pull(name: str) -> None:
    """Fetch a model's weights; goes on where an interrupted pull stopped."""
    with Session() as session:
        weights = session.run(session.kit.weights.aensure(name, session.kit.downloading))
        session.display.stop()
        session.kit.weights.verify(name)
    for path in weights.files.values():
        out.print(str(path), markup=False)


@app.command("clear-cache")
def clear_cache() -> None:
    """Forget the answers that models with a `cache` have kept."""
    with Session() as session:
        session.run(_clear_cache(session))
    out.print("No answer is kept any more.")


async def _clear_cache(session: Session) -> None:
    from agentkit.errors import AgentKitError

    cache = await session.kit.answer_cache()
    try:
        await cache.aclear()
    except Exception as error:  # whatever the store's driver raises when its server is away
        raise AgentKitError(f"The cache cannot be cleared: {error}") from error


def _row(store: "WeightsStore", name: str) -> dict[str, Any]:
    entry, status = store.catalogue[name], store.status(name)
    return {
        "name": name,
        "kind": entry.kind,
        "size": entry.size,
        "on_disk": status.size,
        "state": status.state,
        "license": entry.license,
        "description": entry.description,
    }


def _store() -> "WeightsStore":
    from agentkit.settings import Settings
    from agentkit.weights import WeightsStore

    return WeightsStore(Settings.load().data_dir / "models")
