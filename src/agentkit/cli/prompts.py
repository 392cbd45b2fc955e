"""`agentkit prompts`: the prompts by name and version."""

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from agentkit.cli.session import FAILED, Json, err, out, print_json

if TYPE_CHECKING:
    from agentkit.prompts import PromptManager

app = typer.Typer(no_args_is_help=True, help="Prompts: versions, texts, differences, faults.")


@app.command("list")
def list_(*, as_json: Annotated[bool, Json] = False) -> None:
    """List prompts and their versions."""
    prompts = _manager().list_prompts()
    if as_json:
        keys = ("ref", "name", "description", "current", "file")
        print_json(
            [{**{key: getattr(p, key) for key in keys}, "versions": list(p.versions)} for p in prompts]
        )
        return
    table = Table(
        Column("prompt", no_wrap=True), "versions", "current", "description", box=None, header_style="bold"
    )
    for prompt in prompts:
        versions = ", ".join(map(str, prompt.versions))
        table.add_row(prompt.ref, versions, str(prompt.current), prompt.description)
    out.print(table)


@app.command()
def show(
    ref: str,
    version: Annotated[str | None, typer.Argument(help="Number, or range: '^2'; else the current.")] = None,
) -> None:
    """Show the text of a prompt and its variables."""
    prompt = _manager().template(ref)
    try:
        chosen = prompt.version(version)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    written = f", {chosen.created_at}" if chosen.created_at else ""
    out.print(f"{chosen.ref} version {chosen.version}{written}", style="bold")
    if chosen.notes:
        out.print(f"  {chosen.notes}", style="dim", markup=False)
    for name, meaning in chosen.variables.items():
        out.print(f"  {{{{{name}}}}}  {meaning}", style="dim", markup=False)
    out.print(chosen.content, markup=False)


@app.command()
def diff(ref: str, a: int, b: int) -> None:
    """Show what changed between two versions."""
    out.print(_manager().diff(ref, a, b), markup=False, end="")


@app.command()
def check(
    *,
    locked: Annotated[
        bool, typer.Option("--locked", help="Also fail if a version is not in its folder's prompts.lock.")
    ] = False,
) -> None:
    """Check every prompt file, and that what is published is as it was; faults as file:line:column."""
    manager = _manager()
    problems = manager.check()
    for problem in problems:
        err.print(str(problem), markup=False)
    drafts = manager.unlocked()
    if locked and drafts:
        err.print(f"Not locked: {', '.join(drafts)}. Run 'agentkit prompts lock'.", markup=False)
    if problems or (locked and drafts):
        raise typer.Exit(FAILED)
    out.print(f"{len(manager.refs())} prompts, no faults; {len(drafts)} versions not locked.")


@app.command()
def lock() -> None:
    """Publish all versions of your prompts: from now on their texts stay as they are."""
    from agentkit.prompts import PromptManager
    from agentkit.prompts.history import LOCK_FILE
    from agentkit.resources import search_path
    from agentkit.settings import Settings

    # The first folder is the project's: a set one, else ./prompts. Never the package's.
    folder = search_path("prompts", Settings.load().prompts_dir)[0]
    added = PromptManager(folder).lock()
    out.print(f"{folder / LOCK_FILE}: {len(added)} added", markup=False)
    for label in added:
        out.print(f"  {label}", markup=False)


def _manager() -> "PromptManager":
    from agentkit.prompts import PromptManager
    from agentkit.resources import search_path
    from agentkit.settings import Settings

    return PromptManager(search_path("prompts", Settings.load().prompts_dir))
