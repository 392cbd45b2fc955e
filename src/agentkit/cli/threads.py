"""`agentkit threads`: what was said in a conversation, and what waits in it."""

from dataclasses import asdict
from typing import Annotated

import typer

from agentkit.cli.approvals import show_commands
from agentkit.cli.chat import Blueprint, opened
from agentkit.cli.session import FAILED, Json, Session, err, out, print_json

app = typer.Typer(no_args_is_help=True, help="Look into conversations.")

Thread = Annotated[str, typer.Argument(help="Conversation, as --thread of chat.")]


@app.command()
def show(blueprint: Blueprint, thread: Thread, *, as_json: Annotated[bool, Json] = False) -> None:
    """Show a conversation, and what waits in it for a person."""
    from agentkit.services.chat import ChatService

    with Session() as session, opened(session, blueprint) as live:
        found = session.run(ChatService(live).thread(thread))
    if as_json:
        print_json(asdict(found))
        return
    if not found.messages:
        err.print(f"There is no conversation {thread!r} of {blueprint}.", style="red", markup=False)
        raise typer.Exit(FAILED)
    for message in found.messages:
        out.print(f"[bold]{'you' if message.role == 'human' else message.name or message.role}[/]")
        out.print(message.text + "\n", markup=False)
    show_commands(found.interrupts, blueprint, thread, quiet=False)


@app.command()
def pending(blueprint: Blueprint, thread: Thread, *, as_json: Annotated[bool, Json] = False) -> None:
    """Show what waits for a person in a conversation, and the commands that answer it."""
    from agentkit.services.chat import ChatService

    with Session() as session, opened(session, blueprint) as live:
        pauses = session.run(ChatService(live).pending(thread))
    if as_json:
        print_json([asdict(pause) for pause in pauses])
    elif pauses:
        show_commands(pauses, blueprint, thread, quiet=False)
    else:
        out.print("Nothing waits.")
