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
    summaries = _manager().list()
    if as_json:
        keys = ("ref", "name", "description", "versions", "current", "file")
        print_json([{key: getattr(summary, key) for key in keys} for summary in summaries])
        return
    table = Table(
        Column("prompt", no_wrap=True), "versions", "current", "description", box=None, header_style="bold"
    )
    for summary in summaries:
        versions = ", ".join(map(str, summary.versions))
        table.add_row(summary.ref, versions, str(summary.current), summary.description)
    out.print(table)


@app.command()
def show(ref: str, version: Annotated[int | None, typer.Argument()] = None) -> None:
    """Show the text of a prompt and its variables."""
    prompt = _manager().get(ref, version)
    out.print(f"{prompt.ref} version {prompt.version}", style="bold")
    for name, meaning in prompt.variables.items():
        out.print(f"  {{{{{name}}}}}  {meaning}", style="dim", markup=False)
    out.print(prompt.template, markup=False)


@app.command()
def diff(ref: str, a: int, b: int) -> None:
    """Show what changed between two versions."""
    out.print(_manager().diff(ref, a, b), markup=False, end="")


@app.command()
def check() -> None:
    """Check every prompt file; each fault as file:line:column."""
    manager = _manager()
    problems = manager.check()
    for problem in problems:
        err.print(str(problem), markup=False)
    if problems:
        raise typer.Exit(FAILED)
    out.print(f"{len(manager.refs())} prompts, no faults.")


def _manager() -> "PromptManager":
    from agentkit.prompts import PromptManager
    from agentkit.resources import search_path
    from agentkit.settings import Settings

    return PromptManager(search_path("prompts", Settings.load().prompts_dir))
