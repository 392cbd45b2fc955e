"""The command `agentkit`.

Commands import what they need when they run: `agentkit --help` loads neither langgraph
nor a database driver.
"""

import sys

import typer

from agentkit.cli import blueprint, chat, db, doctor, documents, init, models, prompts, threads
from agentkit.cli import eval as evaluation
from agentkit.cli.session import report

app = typer.Typer(
    name="agentkit",
    help="LangGraph agents from YAML blueprints: chat, retrieval, models and their health.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(init.init)
app.command()(chat.chat)
app.command()(chat.resume)
app.add_typer(threads.app, name="threads")
app.command()(documents.ingest)
app.add_typer(documents.app, name="documents")
app.add_typer(blueprint.app, name="blueprint")
app.command()(blueprint.schema)
app.add_typer(prompts.app, name="prompts")
app.add_typer(models.app, name="models")
app.add_typer(db.app, name="db")
app.add_typer(evaluation.app, name="eval")
app.command()(doctor.doctor)


def _version(*, value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"agentkit {version('langgraph-agentkit')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """LangGraph agents from YAML blueprints: chat, retrieval, models and their health."""
    del version


def main() -> None:
    """Run the command line. Exit status: 0 ok, 1 failed, 2 wrong use, 3 paused, 130 interrupted."""
    with report():
        app()
    sys.exit(0)
