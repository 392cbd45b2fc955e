"""`agentkit chat` and `agentkit resume`: one answer, or a conversation; and going on with a paused one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, cast
from uuid import uuid4

import typer

from agentkit.cli.approvals import PAUSED, asked, chosen, decision_of, on_terminal, show_commands
from agentkit.cli.session import Json, Session, err, out, print_json
from agentkit.cli.turn import follow
from agentkit.errors import AgentKitError, DecisionError

if TYPE_CHECKING:
    from agentkit.services.chat import Answer, Pause

Blueprint = Annotated[str, typer.Argument(help="Name of a blueprint, or path of its folder or file.")]
User = Annotated[str, typer.Option(help="Who asks.")]


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
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Ask a blueprint's agents; shows route, answer, sources, tokens, cost and seconds.

    Exit status 3: the turn waits for a person; the command that answers it is shown.
    """
    if as_json and message is None:
        raise typer.BadParameter("--json needs a MESSAGE.")
    if message is not None and not message.strip():
        raise typer.BadParameter("MESSAGE is empty.")
    thread_id = thread or uuid4().hex
    with Session() as session:
        talk = _Talk(session, blueprint, thread_id, user, quiet=as_json)
        if message is None:
            talk.converse(begun=thread is not None)
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
    as_json: Annotated[bool, Json] = False,
) -> None:
    """Go on with a paused conversation: decide on a call that waits. Asks if no decision is given.

    Exit status 3: something waits still, or again.
    """
    decision = decision_of(approve=approve, edit=edit, reject=reject, respond=respond)
    if as_json and decision is None:
        raise typer.BadParameter("--json needs a decision: --approve, --edit, --reject or --respond.")
    with Session() as session:
        talk = _Talk(session, blueprint, thread, user, quiet=as_json)
        pauses = session.run(talk.service.pending(thread))
        if decision is None and pauses:
            talk.decide(pauses)
        else:
            answer = talk.go_on({} if decision is None else chosen(pauses, interrupt, decision))
            talk.decide(answer.interrupts, answer, ask=False)


class _Talk:
    """A conversation on one thread."""

    def __init__(self, session: Session, blueprint: str, thread: str, user: str, *, quiet: bool) -> None:
        from agentkit.services.chat import ChatService

        graph = session.run(session.kit.graph(blueprint))
        session.display.stop()
        self.service: ChatService = ChatService(graph)
        self._session = session
        self._title = graph.name
        self._keeps = bool(cast("Any", graph.checkpointer))
        self._blueprint = blueprint
        self._thread = thread
        self._user = user
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

    def converse(self, *, begun: bool) -> None:
        """Talk until Ctrl-D, or until something waits that nobody here decides."""
        out.print(f"[dim]{self._title} · thread {self._thread} · Ctrl-D ends, Ctrl-C stops an answer[/]")
        self.decide(self._session.run(self.service.pending(self._thread)) if begun and self._keeps else [])
        while True:
            try:
                message = out.input("[bold]you[/] ").strip()
            except (EOFError, KeyboardInterrupt):
                out.print(f"\n[dim]Go on with --thread {self._thread}[/]")
                return
            if not message:
                continue
            try:
                self.say(message)
            except KeyboardInterrupt:
                out.print("\n[dim](stopped)[/]")
            except AgentKitError as error:
                err.print(str(error), style="red", markup=False)

    def _context(self) -> Any:
        from agentkit.context import RunContext

        return RunContext(user=self._user)
