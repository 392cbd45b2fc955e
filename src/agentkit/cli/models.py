"""`agentkit models`: configured models, what their providers offer, and weights on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Column, Table

from agentkit.cli.serve_command import serve_command
from agentkit.cli.session import Json, Session, out, print_json

if TYPE_CHECKING:
    from agentkit.blueprints.models import ModelSpec
    from agentkit.cli.offers import Configured, Offer
    from agentkit.weights import WeightsStore

app = typer.Typer(no_args_is_help=True, help="Models: configured, offered, and their weights.")

app.command("serve-command")(serve_command)

_SHOWN = 20


@app.command("list")
def list_(
    *,
    blueprint: Annotated[
        str | None, typer.Option("--blueprint", help="Also the models of this blueprint.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every name a provider offers.")] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """List the configured models, what their providers offer, and the weights that can be pulled."""
    with Session() as session:
        configured, offers = session.run(_survey(session, blueprint))
        store = session.kit.weights
        weights = [_row(store, name) for name in store.catalogue]
        session.display.stop()
    if as_json:
        print_json(
            {
                "models": [asdict(row) for row in configured],
                "offers": [asdict(offer) for offer in offers],
                "weights": weights,
            }
        )
        return
    _print_configured(configured)
    _print_offers(offers, every=every)
    _print_weights(weights)


async def _survey(session: Session, blueprint: str | None) -> "tuple[list[Configured], list[Offer]]":
    from agentkit.blueprints.llm_config import model_config
    from agentkit.cli.offers import survey

    kit = session.kit
    settings = kit.settings
    homes: list[tuple[str | None, Mapping[str, ModelSpec], Sequence[str]]] = []
    homes.append((None, settings.models, settings.security.allowed_modules))
    if blueprint is not None:
        spec = kit.blueprint(blueprint).spec
        homes.append((spec.name, spec.models, spec.security.allowed_modules))
    return await survey(
        kit.gateway,
        [
            (home, name, model_config(name, models, allowed_modules=allowed), models[name])
            for home, models, allowed in homes
            for name in models
        ],
    )


def _print_configured(rows: "list[Configured]") -> None:
    table = Table(
        Column("model", no_wrap=True), "provider", "name", "state", "context", "tools", "schema",
        "$ per million in / out", "fallbacks", box=None, header_style="bold",
    )  # fmt: skip
    for row in rows:
        price = (
            f"{row.price['input']:g} / {row.price['output']:g} ({row.price_source})"
            if row.price
            else "unknown"
        )
        table.add_row(
            escape(row.title),
            escape(row.provider),
            escape(row.model or ""),
            "ok" if row.ok else "[red]no[/]",
            "?" if row.context_tokens is None else str(row.context_tokens),
            {True: "native", False: "as JSON", None: "?"}[row.native_tools],
            row.structured_output or "?",
            price,
            ", ".join(row.fallbacks) or "none",
        )
    out.print(table)
    for row in rows:
        if not row.ok:
            _print_fault(row.title, row.detail, row.fix)


def _print_offers(offers: "list[Offer]", *, every: bool) -> None:
    out.print()
    for offer in offers:
        place = f"{offer.provider} {offer.address}".strip()
        if offer.detail:
            _print_fault(place, offer.detail, offer.fix)
            continue
        shown = offer.models if every else offer.models[:_SHOWN]
        more = len(offer.models) - len(shown)
        names = ", ".join(shown) + (f", and {more} more (--all)" if more else "")
        out.print(f"{place} offers {len(offer.models)}: {names or 'none'}", markup=False)
    out.print()


def _print_fault(name: str, detail: str, fix: str) -> None:
    out.print(f"{name}: {detail}", style="red", markup=False)
    if fix:
        out.print(f"  → {fix}", markup=False)


def _print_weights(rows: list[dict[str, Any]]) -> None:
    table = Table(
        Column("weights", no_wrap=True),
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
