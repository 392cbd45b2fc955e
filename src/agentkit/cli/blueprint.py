"""`agentkit blueprint`: check and show blueprints without running them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agentkit.cli.session import FAILED, WRONG_USE, Json, err, out, print_json

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint

app = typer.Typer(no_args_is_help=True, help="Check and show blueprints.")

Name = Annotated[
    str, typer.Argument(metavar="PATH", help="Name of a blueprint, or path of its folder or file.")
]


@app.command()
def validate(path: Name, *, as_json: Annotated[bool, Json] = False) -> None:
    """Check a blueprint: every fault as file:line:column. Starts nothing, imports no tool."""
    from dataclasses import asdict

    from agentkit.errors import BlueprintError

    try:
        loaded = _load(path)
    except BlueprintError as error:
        if not as_json:
            raise
        print_json(
            {"valid": False, "problems": [asdict(problem) for problem in error.problems], "warnings": []}
        )
        raise typer.Exit(FAILED) from None
    if as_json:
        warnings = [asdict(warning) for warning in loaded.warnings]
        print_json({"valid": True, "problems": [], "warnings": warnings})
        return
    for warning in loaded.warnings:
        err.print(f"warning: {warning}", style="yellow", markup=False)
    out.print(f"{loaded.spec.name}: valid, {len(loaded.spec.members)} agents, digest {loaded.digest[:12]}")


@app.command()
def show(path: Name, *, as_json: Annotated[bool, Json] = False) -> None:
    """Show what a blueprint amounts to, defaults included."""
    loaded = _load(path)
    spec = loaded.spec
    if as_json:
        print_json({"digest": loaded.digest, **spec.model_dump(mode="json", by_alias=True)})
        return
    out.print(f"[bold]{spec.name}[/]  {spec.description}")
    out.print(f"routing: {' → '.join(spec.routing.strategy)} → supervisor")
    for name, model in spec.models.items():
        out.print(f"model {name}: {model.provider} {model.model or '(its default)'}", markup=False)
    _members(loaded)
    for source in (source for part in loaded.everything() for source in part.sources):
        out.print(f"source {source.scope}: {source.path}", style="dim", markup=False)


def _members(loaded: "LoadedBlueprint", above: str = "") -> None:
    from agentkit.blueprints.handoffs import targets

    for team in loaded.spec.teams:
        out.print(f"[bold]{above}{team.name}[/]  {team.description}")
        out.print(f"  team {loaded.teams[team.name].files[0]}", style="dim", markup=False)
        _members(loaded.teams[team.name], f"{above}{team.name}/")
    for agent in loaded.spec.agents:
        out.print(f"[bold]{above}{agent.name}[/]  {agent.description}")
        scopes = ", ".join(agent.knowledge_scope) or "none"
        tools = ", ".join(tool.title for tool in agent.tools) or "none"
        more = ", remembers" if agent.memory else ""
        if to := ", ".join(targets(agent, loaded.spec)):
            more += f", hands over to {to}"
        line = f"  model {agent.model}, knowledge {scopes}, tools {tools}{more}"
        out.print(line, style="dim", markup=False)


@app.command()
def graph(
    path: Name,
    *,
    form: Annotated[
        Literal["mermaid", "svg"], typer.Option("--format", help="Mermaid text, or an SVG picture.")
    ] = "mermaid",
    file: Annotated[
        Path | None, typer.Option("--out", dir_okay=False, help="Write it there instead of printing it.")
    ] = None,
) -> None:
    """Draw models, knowledge, tools and routes. Needs no network and no other program."""
    from agentkit.blueprints.drawing import mermaid
    from agentkit.blueprints.svg import svg

    loaded = _load(path)
    drawn = svg(loaded.spec, loaded.teams) if form == "svg" else mermaid(loaded.spec, loaded.teams) + "\n"
    if file is None:
        sys.stdout.write(drawn)
        return
    try:
        file.write_text(drawn, encoding="utf-8")
    except OSError as error:
        err.print(f"error: {str(file)!r} cannot be written: {error.strerror}.", style="red", markup=False)
        raise typer.Exit(WRONG_USE) from None


@app.command("test")
def run_tests(
    path: Name,
    *,
    name: Annotated[str, typer.Option(metavar="GLOB", help="Only tests whose name fits: 'pods*'.")] = "*",
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Also write the results as JUnit XML.")
    ] = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Run the tests a blueprint carries. With 'mock' they call no model and need no weights of one."""
    from agentkit.cli.test_report import run

    run(path, pattern=name, junit=junit, as_json=as_json)


@app.command()
def tools(path: Name, *, as_json: Annotated[bool, Json] = False) -> None:
    """List each agent's tools as its model is told of them. Imports functions, connects MCP servers."""
    from dataclasses import asdict

    from agentkit.cli.session import Session
    from agentkit.wiring.mcp import listed_tools

    with Session() as session:
        loaded = session.kit.blueprint(path)
        found = session.run(listed_tools(session.kit, loaded))
        session.display.stop()
    if as_json:
        print_json({agent: [asdict(tool) for tool in listed] for agent, listed in found.items()})
        return
    for agent, listed in found.items():
        out.print(f"[bold]{agent}[/]" + ("" if listed else "  [dim]no tools[/]"))
        for tool in listed:
            out.print(f"  {tool.name}  ", end="", markup=False)
            out.print(tool.source, style="dim", markup=False)
            about = " ".join(tool.description.split())
            out.print(f"      {about or '(no description)'}", style="dim", markup=False)


@app.command("list")
def list_() -> None:
    """List the blueprints that can be named."""
    from agentkit.blueprints import list_blueprints
    from agentkit.resources import search_path
    from agentkit.settings import Settings

    for name, where in list_blueprints(search_path("blueprints", Settings.load().blueprints_dir)).items():
        out.print(f"{name}  [dim]{where}[/]")


def schema() -> None:
    """Print the JSON Schema of blueprints, for editors."""
    from agentkit.blueprints import json_schema

    print_json(json_schema())


def _load(path: str) -> "LoadedBlueprint":
    from agentkit.settings import Settings
    from agentkit.wiring import check_blueprint

    return check_blueprint(path, Settings.load())
