"""`agentkit chat`: one answer, or a conversation."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from agentkit.cli.session import FAILED, Json, Session, err, out, print_json
from agentkit.errors import AgentKitError

if TYPE_CHECKING:
    from agentkit.graphs.bridge import Graph
    from agentkit.services.chat import Answer, ChatEvent


def chat(
    blueprint: Annotated[str, typer.Argument(help="Name of a blueprint, or path of its folder or file.")],
    message: Annotated[
        str | None, typer.Argument(help="What to say; left out, a conversation begins.")
    ] = None,
    *,
    thread: Annotated[
        str | None, typer.Option(help="Conversation to continue, or to begin under this name.")
    ] = None,
    user: Annotated[str, typer.Option(help="Who asks.")] = "anonymous",
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Ask a blueprint's agents; shows route, answer, sources, tokens, cost and seconds."""
    if as_json and message is None:
        raise typer.BadParameter("--json needs a MESSAGE.")
    if message is not None and not message.strip():
        raise typer.BadParameter("MESSAGE is empty.")
    thread_id = thread or uuid4().hex
    with Session() as session:
        graph = session.run(session.kit.graph(blueprint))
        session.display.stop()
        if message is not None:
            answer = session.run(_turn(session, graph, message, thread_id, user, quiet=as_json))
            if as_json:
                print_json(answer.to_dict())
            return
        _converse(session, graph, thread_id, user)


def _converse(session: Session, graph: "Graph", thread_id: str, user: str) -> None:
    out.print(f"[dim]{graph.name} · thread {thread_id} · Ctrl-D ends, Ctrl-C stops an answer[/]")
    while True:
        try:
            message = out.input("[bold]you[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            out.print(f"\n[dim]Go on with --thread {thread_id}[/]")
            return
        if not message:
            continue
        try:
            session.run(_turn(session, graph, message, thread_id, user, quiet=False))
        except KeyboardInterrupt:
            out.print("\n[dim](stopped)[/]")
        except AgentKitError as error:
            err.print(str(error), style="red", markup=False)


async def _turn(
    session: Session, graph: "Graph", message: str, thread_id: str, user: str, *, quiet: bool
) -> "Answer":
    from agentkit.context import RunContext
    from agentkit.services.chat import ChatService

    started = time.perf_counter()
    answer: Answer | None = None
    screen = _Screen(session, started)
    turn = ChatService(graph).stream(message, thread_id=thread_id, context=RunContext(user=user))
    async for event in turn:
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
