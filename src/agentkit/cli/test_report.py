"""What `agentkit blueprint test` does and prints."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agentkit.cli.session import FAILED, WRONG_USE, Session, err, out, print_json

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint
    from agentkit.blueprints.cases import CaseSpec
    from agentkit.blueprints.testing import CaseResult
    from agentkit.graphs.bridge import Graph
    from agentkit.llm.providers.scripted import Script

_KEY_WIDTH = 16


def run(path: str, *, pattern: str, junit: Path | None, as_json: bool) -> None:
    """Run the tests of a blueprint whose names fit `pattern`, and say how each went.

    Raises:
        Exit: Status 1, a test failed; 2, there is none to run, or the report cannot be written.
        AgentKitError: The blueprint is unknown or faulty, or a part it needs is missing.
    """
    with Session() as session:
        loaded = session.kit.blueprint(path)
        cases = [case for case in loaded.spec.tests if fnmatch.fnmatchcase(case.name, pattern)]
        if not cases:
            _nothing_to_run(loaded, pattern)
        results = session.run(_results(session, loaded, cases, quiet=as_json))
        session.display.stop()
    passed = sum(result.passed for result in results)
    if as_json:
        print_json(_as_json(loaded, results))
    else:
        out.print(f"{loaded.spec.name}: {passed} of {len(results)} tests passed")
    if junit is not None:
        _write(junit, loaded.spec.name, results)
    if passed < len(results):
        raise typer.Exit(FAILED)


def _nothing_to_run(loaded: "LoadedBlueprint", pattern: str) -> None:
    name, tests = loaded.spec.name, loaded.spec.tests
    said = f"{name} has no tests: write some under 'tests'."
    if tests:
        said = f"No test of {name} fits {pattern!r}. There are: {', '.join(test.name for test in tests)}."
    err.print(f"[bold red]error:[/] {said}")
    raise typer.Exit(WRONG_USE)


async def _results(
    session: Session, loaded: "LoadedBlueprint", cases: "Sequence[CaseSpec]", *, quiet: bool
) -> "list[CaseResult]":
    from agentkit.blueprints.testing import retrieves
    from agentkit.services.blueprint_tests import run_tests

    if any(retrieves(case) for case in cases):
        await session.kit.refresh(loaded)

    async def graph(scripts: "Mapping[str, Script] | None", retrieve: bool) -> "Graph":
        return await session.kit.test_graph(loaded, scripts, retrieve=retrieve)

    def tell(result: "CaseResult") -> None:
        session.display.stop()
        if not quiet:
            _print(result)

    return await run_tests(cases, graph, tell)


def _print(result: "CaseResult") -> None:
    outcome = result.outcome
    who = ", ".join(outcome.agents) or "supervisor"
    routed = f"{who}, {outcome.method}" if outcome.method else "no route"
    mark, style = ("passed", "green") if result.passed else ("FAILED", "bold red")
    out.print(f"[{style}]{mark}[/]  ", end="")
    out.print(f"{result.name}  ", end="", markup=False)
    out.print(f"{routed}, {result.seconds:.2f} s", style="dim", markup=False)
    for fault in result.mismatches:
        out.print(f"    {fault.key:<{_KEY_WIDTH}} expected  {fault.expected}", markup=False)
        out.print(f"    {'':<{_KEY_WIDTH}} got       {fault.got}", markup=False)
    if not result.passed and outcome.method:
        scores = ", ".join(
            f"{agent} {score:.2f}" for agent, score in sorted(outcome.scores.items(), key=lambda it: -it[1])
        )
        why = f"{outcome.reason}; scores: {scores}" if scores else outcome.reason
        out.print(f"    {'routed because':<{_KEY_WIDTH}} {why or 'no strategy decided'}", markup=False)


def _as_json(loaded: "LoadedBlueprint", results: "Sequence[CaseResult]") -> dict[str, Any]:
    return {
        "blueprint": loaded.spec.name,
        "digest": loaded.digest,
        "passed": sum(result.passed for result in results),
        "failed": sum(not result.passed for result in results),
        "tests": [{"passed": result.passed, **asdict(result)} for result in results],
    }


def _write(file: Path, name: str, results: "Sequence[CaseResult]") -> None:
    from agentkit.blueprints.junit import junit_xml

    try:
        file.write_text(junit_xml(name, results), encoding="utf-8")
    except OSError as error:
        err.print(f"error: {str(file)!r} cannot be written: {error.strerror}.", style="red", markup=False)
        raise typer.Exit(WRONG_USE) from None
