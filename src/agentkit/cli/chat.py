"""`agentkit chat`: one answer, or a conversation."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any
from uuid import uuid4

import typer

from agentkit.cli.session import FAILED, Json, Session, err, out, print_json
from agentkit.errors import AgentKitError, UnknownNameError
from agentkit.events import BlueprintRefused, BlueprintReloaded, Event

if TYPE_CHECKING:
    from agentkit.services.chat import Answer, ChatEvent
    from agentkit.services.live import LiveBlueprint


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
    values: Annotated[
        list[str] | None,
        typer.Option("--context", metavar="NAME=VALUE", help="A value of the request, for ${context:NAME}."),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="In a conversation: follow changes of the blueprint's files.")
    ] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Ask a blueprint's agents; shows route, answer, sources, tokens, cost and seconds."""
    if as_json and message is None:
        raise typer.BadParameter("--json needs a MESSAGE.")
    if message is not None and not message.strip():
        raise typer.BadParameter("MESSAGE is empty.")
    if reload and message is not None:
        raise typer.BadParameter("--reload is for conversations: leave MESSAGE out.")
    who = _who(user, values or [])
    thread_id = thread or uuid4().hex
    with Session() as session, _opened(session, blueprint) as live:
        for name in who["values"]:
            if name not in live.loaded.spec.context:
                raise UnknownNameError("value of the request", name, live.loaded.spec.context)
        session.display.stop()
        if message is not None:
            answer = session.run(_turn(session, live, message, thread_id, who, quiet=as_json))
            if as_json:
                print_json(answer.to_dict())
            return
        if reload:
            # Said in our own words, once.
            logging.getLogger("agentkit.services.live").setLevel(logging.ERROR)
            session.kit.events.subscribe(_tell_reload)
        _converse(session, live, thread_id, who, reload=reload)


@contextmanager
def _opened(session: Session, blueprint: str) -> "Generator[LiveBlueprint]":
    opening = session.kit.live(blueprint)
    live = session.run(opening.__aenter__())
    try:
        yield live
    finally:
        session.run(opening.__aexit__(None, None, None))


def _tell_reload(event: Event) -> None:
    if isinstance(event, BlueprintReloaded):
        out.print(f"[dim]{event.blueprint} reloaded · {event.digest[:12]}[/]")
    elif isinstance(event, BlueprintRefused):
        text = "\n".join((event.reason, *event.problems, f"{event.blueprint} stays as it was."))
        err.print(text, style="yellow", markup=False)


def _who(user: str, values: list[str]) -> dict[str, Any]:
    """The fields of the run's context that the options give."""
    pairs = [value.partition("=") for value in values]
    if wrong := [
        value for value, (name, equals, _) in zip(values, pairs, strict=True) if not (name and equals)
    ]:
        raise typer.BadParameter(f"--context takes NAME=VALUE, not {wrong[0]!r}.")
    return {"user": user, "values": {name: value for name, _, value in pairs}}


def _converse(
    session: Session, live: "LiveBlueprint", thread_id: str, who: dict[str, Any], *, reload: bool
) -> None:
    out.print(f"[dim]{live.graph.name} · thread {thread_id} · Ctrl-D ends, Ctrl-C stops an answer[/]")
    while True:
        try:
            message = out.input("[bold]you[/] ").strip()
        except (EOFError, KeyboardInterrupt):
            out.print(f"\n[dim]Go on with --thread {thread_id}[/]")
            return
        if not message:
            continue
        try:
            if reload:
                session.run(live.reload())
            session.run(_turn(session, live, message, thread_id, who, quiet=False))
        except KeyboardInterrupt:
            out.print("\n[dim](stopped)[/]")
        except AgentKitError as error:
            err.print(str(error), style="red", markup=False)


async def _turn(
    session: Session, live: "LiveBlueprint", message: str, thread_id: str, who: dict[str, Any], *, quiet: bool
) -> "Answer":
    from agentkit.context import RunContext
    from agentkit.services.chat import ChatService

    started = time.perf_counter()
    answer: Answer | None = None
    screen = _Screen(session, started)
    turn = ChatService(live).stream(message, thread_id=thread_id, context=RunContext(**who))
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
        elif event.type == "token":
            if self.first is None:
                self.session.display.stop()
                self.first = time.perf_counter() - self.started
            out.print(event.data, end="", markup=False)
            self.in_line = not event.data.endswith("\n")
        elif event.type == "tool_call":
            if self.in_line:  # one agent's call, while another speaks
                out.print()
                self.in_line = False
            out.print(f"tool   {event.data.name} {event.data.args}", style="dim", markup=False)


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
