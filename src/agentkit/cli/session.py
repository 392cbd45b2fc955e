"""What every command shares: one event loop with a kit, errors as messages, exit statuses."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

import typer
from rich.console import Console

from agentkit.errors import AgentKitError, SettingsError, UnknownNameError

if TYPE_CHECKING:
    pass

T = TypeVar("T")

FAILED, WRONG_USE, INTERRUPTED, TERMINATED = 1, 2, 130, 143

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

Json = typer.Option("--json", help="Print JSON on standard output, nothing else.")


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output; what JSON lacks (dates, ids) becomes text."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n")
    sys.stdout.flush()


@contextmanager
def report() -> Generator[None]:
    """Turn errors raised on purpose into a message and an exit status."""
    try:
        yield
    except AgentKitError as error:
        err.print(f"[bold red]error:[/] {_plain(str(error))}")
        sys.exit(WRONG_USE if isinstance(error, UnknownNameError | SettingsError) else FAILED)
    except KeyboardInterrupt:
        err.print("Interrupted.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader went away (`agentkit … | head`): nothing is wrong, and nobody reads a message.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)


class Session:
    """An event loop with an open kit, for the length of a command.

    SIGTERM ends the command like Ctrl-C: what runs is cancelled and everything is closed.

    Args:
        progress: Whether to draw downloads and ingestion on standard error.
    """

    def __init__(self, *, progress: bool = True) -> None:
        self._progress = progress
        self._runner = asyncio.Runner()
        self._terminated = False

    def __enter__(self) -> Self:
        from agentkit.cli.progress import Display
        from agentkit.events import EventBus
        from agentkit.observability.logging import configure_logging
        from agentkit.settings import Settings
        from agentkit.wiring import Kit, open_kit

        settings = Settings.load()
        configure_logging(settings.log_level, settings.log_format)
        events = EventBus()
        self.display = Display(err, enabled=self._progress and err.is_terminal)
        events.subscribe(self.display.on_event)
        self._kit = open_kit(settings, events=events)
        self.kit: Kit = self.run(self._kit.__aenter__())
        return self

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; Ctrl-C cancels it and is raised as KeyboardInterrupt."""
        loop = self._runner.get_loop()

        async def main() -> T:
            loop.add_signal_handler(signal.SIGTERM, self._terminate, asyncio.current_task())
            try:
                return await work
            finally:
                loop.remove_signal_handler(signal.SIGTERM)

        try:
            return self._runner.run(main())
        except asyncio.CancelledError:
            if self._terminated:
                sys.exit(TERMINATED)
            raise

    def _terminate(self, task: "asyncio.Task[Any] | None") -> None:
        self._terminated = True
        if task is not None:
            task.cancel()

    def __exit__(self, *exc: object) -> None:
        self.display.stop()
        try:
            self.run(self._kit.__aexit__(None, None, None))
        finally:
            self._runner.close()
