"""`agentkit eval`: measure a blueprint on labelled data."""

from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.session import Json

app = typer.Typer(no_args_is_help=True, help="Measure a blueprint on labelled data.")


@app.callback()
def _group() -> None:  # pyright: ignore[reportUnusedFunction] - makes typer keep the subcommand's name
    """Measure a blueprint on labelled data."""


_Least = typer.Option(min=0, max=1, help="Exit with status 1 below this share, 0 to 1.")


@app.command()
def routing(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="YAML file with labelled utterances.")],
    *,
    blueprint: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name or path; the blueprint whose folder FILE is in if absent."),
    ] = None,
    no_llm: Annotated[
        bool, typer.Option("--no-llm", help="Leave the llm strategy out: no chat model is needed.")
    ] = False,
    target: Annotated[
        float, typer.Option(min=0, max=1, help="Accuracy the suggested threshold and margin aim at.")
    ] = 0.97,
    min_accuracy: Annotated[float | None, _Least] = None,
    min_decided: Annotated[float | None, _Least] = None,
    min_decided_accuracy: Annotated[float | None, _Least] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Route labelled utterances and suggest threshold and margin. No agent runs."""
    from agentkit.cli.routing_report import run

    least = {"accuracy": min_accuracy, "decided": min_decided, "decided accuracy": min_decided_accuracy}
    run(file, blueprint=blueprint, llm=not no_llm, target=target, least=least, as_json=as_json)
