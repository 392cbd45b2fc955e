"""`agentkit doctor`: what is present, what is missing, and the command that fixes it."""

import asyncio
import platform
import sys
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Annotated

import typer

from agentkit.cli.session import FAILED, Json, Session, out, print_json
from agentkit.errors import AgentKitError, SandboxUnavailableError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at; `fix` is the command or setting that mends it."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


def doctor(*, as_json: Annotated[bool, Json] = False) -> None:
    """Look at everything agentkit needs; exit status 1 when something is missing."""
    with Session() as session:
        findings = session.run(_examine(session))
        session.display.stop()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[red]FAIL[/]"
            out.print(f"{mark} {finding.name:12} ", end="")
            out.print(finding.detail, markup=False)
            if finding.fix and not finding.ok:
                out.print(f"     {'':12} → {finding.fix}", markup=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)


async def _examine(session: Session) -> list[Finding]:
    kit = session.kit
    findings = [
        Finding("python", ok=True, detail=f"{platform.python_version()} ({sys.executable})"),
        Finding("agentkit", ok=True, detail=version("langgraph-agentkit")),
        Finding("data", ok=True, detail=str(kit.settings.data_dir)),
    ]
    findings.append(await _database(session))
    findings += await _redis(session)
    findings += _weights(session)
    for name, health in (await kit.gateway.health()).items():
        findings.append(_split(f"model {name}", health.ok, health.detail))
    findings.append(_prompts(session))
    findings += _blueprints(session)
    findings.append(await asyncio.to_thread(_sandbox, runs_code=_runs_code(session)))
    return findings


async def _database(session: Session) -> Finding:
    from agentkit.database.pool import redact

    try:
        pool = await session.kit.pool()
        async with pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT current_setting('server_version') AS server,"
                " (SELECT extversion FROM pg_extension WHERE extname = 'vector') AS vector"
            )
            row = await cursor.fetchone()
    except AgentKitError as error:
        return _split("database", ok=False, text=str(error))
    versions = row or {}
    url = redact(await session.kit.database_url())
    return Finding(
        "database",
        ok=True,
        detail=f"PostgreSQL {versions.get('server')}, pgvector {versions.get('vector')} at {url}",
    )


async def _redis(session: Session) -> list[Finding]:
    url = session.kit.settings.redis_url
    if url is None:
        return []
    from agentkit.llm.resilience.redis_circuits import redis_health

    health = await redis_health(url.get_secret_value())
    return [_split("redis", health.ok, health.detail)]


def _weights(session: Session) -> list[Finding]:
    """Weights are fetched at first use, so their absence is no fault; a damaged file is."""
    store = session.kit.weights
    findings: list[Finding] = []
    for name in store.catalogue:
        status = store.status(name)
        if status.state == "missing":
            continue
        try:
            store.verify(name)
        except AgentKitError as error:
            findings.append(_split("weights", ok=False, text=f"{name}: {error}"))
        else:
            findings.append(
                Finding("weights", ok=True, detail=f"{name}, {status.total / 1e6:.0f} MB, checksum right")
            )
    if not findings:
        findings.append(
            Finding("weights", ok=True, detail="none yet; fetched at first use, or by: agentkit models pull")
        )
    return findings


def _prompts(session: Session) -> Finding:
    problems = session.kit.prompts.check()
    if problems:
        return Finding("prompts", ok=False, detail=str(problems[0]), fix="agentkit prompts check")
    return Finding("prompts", ok=True, detail=f"{len(session.kit.prompts.refs())} prompts, no faults")


def _blueprints(session: Session) -> list[Finding]:
    from agentkit.blueprints import list_blueprints
    from agentkit.resources import search_path

    findings: list[Finding] = []
    for name in list_blueprints(search_path("blueprints", session.kit.settings.blueprints_dir)):
        try:
            loaded = session.kit.blueprint(name)
        except AgentKitError as error:
            detail = f"{name}: {error.message.splitlines()[0]}"
            findings.append(
                Finding("blueprint", ok=False, detail=detail, fix=f"agentkit blueprint validate {name}")
            )
        else:
            findings.append(
                Finding("blueprint", ok=True, detail=f"{name}, {len(loaded.spec.members)} agents")
            )
    return findings


def _runs_code(session: Session) -> bool:
    """Whether any blueprint here has an agent that may run code."""
    from agentkit.blueprints import list_blueprints
    from agentkit.resources import search_path

    for name in list_blueprints(search_path("blueprints", session.kit.settings.blueprints_dir)):
        try:
            agents = session.kit.blueprint(name).spec.agents
        except AgentKitError:  # listed above
            continue
        if any(tool.name == "code_execute" for agent in agents for tool in agent.tools):
            return True
    return False


def _sandbox(*, runs_code: bool) -> Finding:
    """Which backend would run code, and why not a better one; none is a fault only if one is needed."""
    from agentkit.tools.sandbox.auto import AutoSandbox

    sandbox = AutoSandbox()
    try:
        chosen = sandbox.chosen
    except SandboxUnavailableError as error:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in error.reasons.items())
        detail = f"none works here, so code_execute refuses. {_one_line(reasons)}"
        return Finding("sandbox", ok=not runs_code, detail=detail, fix="see docs/sandbox.md")
    others = "".join(f"; not {name}: {reason}" for name, reason in sandbox.passed_over.items())
    return Finding("sandbox", ok=True, detail=_one_line(f"{chosen.name}, its self-test passed{others}"))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _split(name: str, ok: bool, text: str) -> Finding:
    """Our error texts end with what to do: that becomes the fix."""
    detail, _, fix = text.partition("\n")
    return Finding(name, ok=ok, detail=detail, fix=fix)
