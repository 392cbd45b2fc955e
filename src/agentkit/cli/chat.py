"""`agentkit chat` and `agentkit resume`: one answer, or a conversation; and going on with a paused one."""

import logging
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

import typer

from agentkit.cli.approvals import PAUSED, asked, chosen, decision_of, on_terminal, show_commands
from agentkit.cli.session import Json, Session, err, out, print_json
from agentkit.cli.turn import follow
from agentkit.context import new_request_id
from agentkit.errors import AgentKitError, DecisionError, UnknownNameError
from agentkit.events import BlueprintRefused, BlueprintReloaded, Event

if TYPE_CHECKING:
    from agentkit.context import RunContext
    from agentkit.services.chat import Answer, Pause
    from agentkit.services.live import LiveBlueprint

Blueprint = Annotated[str, typer.Argument(help="Name of a blueprint, or path of its folder or file.")]
User = Annotated[str, typer.Option(help="Who asks.")]
Values = Annotated[
    list[str] | None,
    typer.Option("--context", metavar="NAME=VALUE", help="A value of the request, for ${context:NAME}."),
]


def chat(
    blueprint: Blueprint,
    message: Annotated[
        str | None, typer.Argument(help="What to say; left out, a conversation begins.")
    ] = None,
    *,
    thread: Annotated[
        str | None, typer.Option(help="Conversation to continue, or to begin under this name.")
    ] = None,
    user: User = "anonymous",
    values: Values = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="In a conversation: follow changes of the blueprint's files.")
    ] = False,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Ask a blueprint's agents; shows route, answer, sources, tokens, cost and seconds.

    Exit status 3: the turn waits for a person; the command that answers it is shown.
    """
    if as_json and message is None:
        raise typer.BadParameter("--json needs a MESSAGE.")
    if message is not None and not message.strip():
        raise typer.BadParameter("MESSAGE is empty.")
    if reload and message is not None:
        raise typer.BadParameter("--reload is for conversations: leave MESSAGE out.")
    given, thread_id = _given(values or []), thread or uuid4().hex
    with Session() as session, opened(session, blueprint) as live:
        talk = _Talk(session, blueprint, live, thread_id, _context(live, user, given), quiet=as_json)
        if message is None:
            talk.converse(begun=thread is not None, reload=reload)
        else:
            talk.say(message)


def resume(
    blueprint: Blueprint,
    thread: Annotated[str, typer.Argument(help="Conversation that waits.")],
    *,
    approve: Annotated[bool, typer.Option("--approve", help="Run the call.")] = False,
    edit: Annotated[
        str | None, typer.Option(metavar="JSON", help="Run the call with these arguments instead.")
    ] = None,
    reject: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Do not run the call, and tell the model why.")
    ] = None,
    respond: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Answer in the tool's place, or a tool's question.")
    ] = None,
    interrupt: Annotated[
        str | None, typer.Option(metavar="ID", help="Which one, or its first letters, if several wait.")
    ] = None,
    user: User = "anonymous",
    values: Values = None,
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Go on with a paused conversation: decide on a call that waits. Asks if no decision is given.

    Exit status 3: something waits still, or again.
    """
    decision = decision_of(approve=approve, edit=edit, reject=reject, respond=respond)
    if as_json and decision is None:
        raise typer.BadParameter("--json needs a decision: --approve, --edit, --reject or --respond.")
    given = _given(values or [])
    with Session() as session, opened(session, blueprint) as live:
        talk = _Talk(session, blueprint, live, thread, _context(live, user, given), quiet=as_json)
        pauses = session.run(talk.service.pending(thread))
        if decision is None and pauses:
            talk.decide(pauses)
        else:
            answer = talk.go_on({} if decision is None else chosen(pauses, interrupt, decision))
            talk.decide(answer.interrupts, answer, ask=False)


@contextmanager
def opened(session: Session, blueprint: str) -> "Generator[LiveBlueprint]":
    """A blueprint whose threads go on in the graph they wait in; closed at the end."""
    opening = session.kit.live(blueprint)
    live = session.run(opening.__aenter__())
    session.display.stop()
    try:
        yield live
    finally:
        session.run(opening.__aexit__(None, None, None))


def _given(values: list[str]) -> dict[str, str]:
    """The values of the request that the options give, by name."""
    pairs = [value.partition("=") for value in values]
    if wrong := [
        value for value, (name, equals, _) in zip(values, pairs, strict=True) if not (name and equals)
    ]:
        raise typer.BadParameter(f"--context takes NAME=VALUE, not {wrong[0]!r}.")
    return {name: value for name, _, value in pairs}


def _context(live: "LiveBlueprint", user: str, values: dict[str, str]) -> "RunContext":
    from agentkit.context import RunContext

    for name in values:
        if name not in live.loaded.spec.context:
            raise UnknownNameError("value of the request", name, live.loaded.spec.context)
    return RunContext(user=user, values=values)


def _tell_reload(event: Event) -> None:
    if isinstance(event, BlueprintReloaded):
        out.print(f"[dim]{event.blueprint} reloaded · {event.digest[:12]}[/]")
    elif isinstance(event, BlueprintRefused):
        text = "\n".join((event.reason, *event.problems, f"{event.blueprint} stays as it was."))
        err.print(text, style="yellow", markup=False)


class _Talk:
    """A conversation on one thread."""

    def __init__(
        self,
        session: Session,
        blueprint: str,
        live: "LiveBlueprint",
        thread: str,
        context: "RunContext",
        *,
        quiet: bool,
    ) -> None:
        from agentkit.services.chat import ChatService

        self.service: ChatService = ChatService(live)
        self._session = session
        self._live = live
        self._blueprint = blueprint
        self._thread = thread
        self._asking = context
        self._quiet = quiet

    def say(self, message: str) -> None:
        """Say something, and decide what has to be decided. Raises as `decide`."""
        events = self.service.stream(message, thread_id=self._thread, context=self._context())
        answer = self._session.run(follow(self._session, events, quiet=self._quiet))
        self.decide(answer.interrupts, answer)

    def go_on(self, decisions: dict[str, Any]) -> "Answer":
        """Go on with what was decided."""
        events = self.service.resume(self._thread, decisions, context=self._context())
        return self._session.run(follow(self._session, events, quiet=self._quiet))

    def decide(self, pauses: "Sequence[Pause]", answer: "Answer | None" = None, *, ask: bool = True) -> None:
        """Ask the person at the terminal, as long as something waits; then print what a program reads.

        Args:
            pauses: What waits.
            answer: Of the turn that waits, if there was one.
            ask: Whether to ask at all.

        Raises:
            Exit: Status 3: something waits still.
        """
        while pauses and ask and not self._quiet and on_terminal():
            decisions = asked(pauses)
            if not decisions:
                break
            try:
                answer = self.go_on(decisions)
            except DecisionError as error:
                err.print(str(error), style="red", markup=False)
            else:
                pauses = answer.interrupts
        if self._quiet and answer is not None:
            print_json(answer.to_dict())
        if pauses:
            show_commands(pauses, self._blueprint, self._thread, quiet=self._quiet)
            raise typer.Exit(PAUSED)

    def converse(self, *, begun: bool, reload: bool) -> None:
        """Talk until Ctrl-D, or until something waits that nobody here decides."""
        if reload:
            # Said in our own words, once.
            logging.getLogger("agentkit.services.live").setLevel(logging.ERROR)
            self._session.kit.events.subscribe(_tell_reload)
        graph = self._live.graph
        out.print(f"[dim]{graph.name} · thread {self._thread} · Ctrl-D ends, Ctrl-C stops an answer[/]")
        keeps = begun and bool(cast("Any", graph.checkpointer))
        self.decide(self._session.run(self.service.pending(self._thread)) if keeps else [])
        while True:
            try:
                message = out.input("[bold]you[/] ").strip()
            except (EOFError, KeyboardInterrupt):
                out.print(f"\n[dim]Go on with --thread {self._thread}[/]")
                return
            if not message:
                continue
            try:
                if reload:
                    self._session.run(self._live.reload())
                self.say(message)
            except KeyboardInterrupt:
                out.print("\n[dim](stopped)[/]")
            except AgentKitError as error:
                err.print(str(error), style="red", markup=False)

    def _context(self) -> "RunContext":
        """Who asks; each turn is a request of its own."""
        return replace(self._asking, request_id=new_request_id())
