"""What `agentkit eval routing` does and prints."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from agentkit.cli.session import FAILED, WRONG_USE, Session, err, out, print_json

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint
    from agentkit.services.routing_eval import Routed, RoutingReport, Share, Suggestion


def run(
    file: Path,
    *,
    blueprint: str | None,
    llm: bool,
    target: float,
    least: Mapping[str, float | None],
    as_json: bool,
) -> None:
    """Measure routing on a file and say what came of it.

    Raises:
        Exit: Status 1, a share is below its least, or a model failed; 2, it is not clear which
            blueprint is meant.
        AgentKitError: The blueprint or the file is faulty, or a part it needs is missing.
    """
    with Session() as session:
        loaded = session.kit.blueprint(_which(file, blueprint))
        report = session.run(_report(session, loaded, file, llm=llm, target=target))
        session.display.stop()
    shares = {
        "accuracy": report.accuracy,
        "decided": report.decided,
        "decided accuracy": report.decided_right,
    }
    missed = [name for name, value in least.items() if value is not None and _below(shares[name], value)]
    if as_json:
        print_json({"blueprint": loaded.spec.name, "file": str(file), "llm": llm, **_as_json(report, missed)})
    else:
        _print(loaded, report, file, target)
        for name in missed:
            err.print(f"{name} is {_percent(shares[name])}, less than {least[name]:.1%}.", style="red")
    if missed or "failed" in report.methods:
        raise typer.Exit(FAILED)


def _which(file: Path, blueprint: str | None) -> str | Path:
    from agentkit.blueprints.routing_set import blueprint_around

    found = blueprint or blueprint_around(file)
    if found is None:
        said = f"{str(file)!r} is in no blueprint's folder: say whose it is with --blueprint NAME."
        err.print(f"error: {said}", style="red", markup=False)
        raise typer.Exit(WRONG_USE)
    return found


async def _report(
    session: Session, loaded: "LoadedBlueprint", file: Path, *, llm: bool, target: float
) -> "RoutingReport":
    from agentkit.blueprints.routing_set import load_routing_set
    from agentkit.services.routing_eval import evaluate
    from agentkit.wiring.routing import open_routing

    utterances = load_routing_set(file, [agent.name for agent in loaded.spec.members])
    routing, agents = await open_routing(session.kit, loaded, llm=llm)
    parallel = loaded.spec.routing.parallel
    return await evaluate(routing, agents, utterances, parallel=parallel, target=target)


def _print(loaded: "LoadedBlueprint", report: "RoutingReport", file: Path, target: float) -> None:
    for result in report.wrong:
        _print_wrong(result, file)
    out.print(_confusion(report))
    out.print(f"{loaded.spec.name}: {_share(report.accuracy)} right")
    out.print(f"  without a model  {_share(report.decided)}, right of these {_share(report.decided_right)}")
    for method, share in report.methods.items():
        out.print(f"  {method:<16} {share.of}, right of these {_share(share)}", markup=False)
    semantic = loaded.spec.routing.semantic
    out.print(f"threshold {semantic.threshold:g}, margin {semantic.margin:g}", style="dim")
    out.print(_suggested(report.suggestion, target), markup=False)


def _print_wrong(result: "Routed", file: Path) -> None:
    out.print(f"{file}:{result.utterance.line}: {result.utterance.text}", markup=False)
    expected = " or ".join(" + ".join(route) or "supervisor" for route in result.utterance.routes)
    out.print(f"    expected {expected}, got {result.got} by {result.method}", markup=False)
    ranked = sorted(result.scores.items(), key=lambda item: -item[1])
    scores = ", ".join(f"{agent} {score:.2f}" for agent, score in ranked)
    out.print(f"    {result.reason}{'; scores: ' + scores if scores else ''}", style="dim", markup=False)


def _confusion(report: "RoutingReport") -> Table:
    table = report.confusion
    columns = sorted({got for row in table.values() for got in row})
    drawn = Table("expected, got", *columns, box=None, padding=(0, 2, 0, 0), header_style="bold")
    for expected, row in table.items():
        drawn.add_row(expected, *(str(row.get(got, "·")) for got in columns))
    return drawn


def _suggested(suggestion: "Suggestion | None", target: float) -> str:
    if suggestion is None:
        return f"No threshold and margin of semantic routing reach {target:.0%} here."
    return (
        f"suggested: threshold {suggestion.threshold:g}, margin {suggestion.margin:g}: "
        f"decide {_share(suggestion.decided)}, right of these {_share(suggestion.right)}\n"
        f"  chosen on four fifths and counted on the rest: decide {_share(suggestion.unseen_decided)}, "
        f"right of these {_share(suggestion.unseen_right)}"
    )


def _share(share: "Share") -> str:
    return f"{share.count} of {share.of} ({_percent(share)})"


def _percent(share: "Share") -> str:
    return "none" if share.value is None else f"{share.value:.1%}"


def _below(share: "Share", least: float) -> bool:
    """Of nothing, nothing is wrong."""
    return share.value is not None and share.value < least


def _as_json(report: "RoutingReport", missed: list[str]) -> dict[str, Any]:
    suggestion = report.suggestion
    return {
        "total": len(report.results),
        "accuracy": report.accuracy.value,
        "decided": report.decided.value,
        "decided_accuracy": report.decided_right.value,
        "methods": {
            name: {"count": share.of, "right": share.count} for name, share in report.methods.items()
        },
        "confusion": report.confusion,
        "suggestion": suggestion
        and {
            "threshold": suggestion.threshold,
            "margin": suggestion.margin,
            "decided": suggestion.decided.value,
            "accuracy": suggestion.right.value,
            "unseen_decided": suggestion.unseen_decided.value,
            "unseen_accuracy": suggestion.unseen_right.value,
        },
        "missed": missed,
        "results": [
            {
                "line": result.utterance.line,
                "text": result.utterance.text,
                "accept": result.utterance.routes,
                "agents": result.agents,
                "method": result.method,
                "right": result.right,
                "scores": result.scores,
                "reason": result.reason,
            }
            for result in report.results
        ],
    }
