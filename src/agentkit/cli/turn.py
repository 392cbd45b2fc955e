"""One turn on the terminal: what happens while it runs, and what stands below it."""

import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer

from agentkit.cli.session import FAILED, Session, out

if TYPE_CHECKING:
    from agentkit.services.chat import Answer, ChatEvent


async def follow(session: Session, events: "AsyncGenerator[ChatEvent]", *, quiet: bool) -> "Answer":
    """Show a turn as it runs, unless `quiet`, and return its answer."""
    started = time.perf_counter()
    answer: Answer | None = None
    screen = _Screen(session, started)
    async for event in events:
        if event.type == "done":
            answer = event.data
        if not quiet:
            screen.show(event)
    if answer is None:
        raise typer.Exit(FAILED)
    if not quiet:
        _footer(answer, time.perf_counter() - started, screen.first)
    return answer


@dataclass(slots=True)
class _Screen:
    """What one turn prints; `first` is the seconds to the first word, `in_line` where the cursor is."""

    session: Session
    started: float
    first: float | None = None
    in_line: bool = False

    def show(self, event: "ChatEvent") -> None:
        """Print one event."""
        if event.type == "route":
            self.session.display.stop()
            who = ", ".join(event.data["agents"]) or "supervisor"
            out.print(f"[dim]route[/]  [bold]{who}[/] ", end="")
            out.print(f"{event.data['method']}: {event.data['reason']}", style="dim", markup=False)
        elif event.type == "team_route":
            self._break()
            who = ", ".join(event.data.route["agents"]) or "supervisor"
            out.print(f"in {event.data.team}: {who}", style="dim", markup=False)
        elif event.type == "handoff":
            self._break()
            out.print(f"{event.data['by']} → {event.data['agent']}", style="dim", markup=False)
        elif event.type == "token":
            if self.first is None:
                self.session.display.stop()
                self.first = time.perf_counter() - self.started
            out.print(event.data, end="", markup=False)
            self.in_line = not event.data.endswith("\n")
        elif event.type == "tool_call":
            self._break()
            out.print(f"tool   {event.data.name} {event.data.args}", style="dim", markup=False)

    def _break(self) -> None:
        if self.in_line:  # one agent's call, while another speaks
            out.print()
            self.in_line = False


def _footer(answer: "Answer", seconds: float, first: float | None) -> None:
    out.print("\n")
    for source in answer.sources:
        place = f"{source['uri']}:{source['start_line']}-{source['end_line']}"
        out.print(f"[{source['index']}] {place}  {source['heading']}", style="dim", markup=False)
    usage = answer.usage
    tokens = "tokens unknown"
    if usage.input_tokens is not None:
        tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
    cost = "" if usage.cost_usd is None else f" · ${usage.cost_usd:.4f}"
    begun = "" if first is None else f" (first token {first:.1f} s)"
    line = f"{answer.model} · {tokens}{cost} · {seconds:.1f} s{begun} · thread {answer.thread_id}"
    out.print(line, style="dim", markup=False)
