"""Progress on the terminal: a sink of the event stream that draws bars on standard error."""

import threading

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from agentkit.events import DownloadProgressed, Event, FellBack, IngestProgressed, StageStarted


class Display:
    """Shows what takes a while, and vanishes when it is done.

    Events may come from any thread.

    Args:
        console: Where to draw.
        enabled: False draws nothing, for output that is not a terminal.
    """

    def __init__(self, console: Console, *, enabled: bool) -> None:
        self._console = console
        self._enabled = enabled
        self._lock = threading.Lock()
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._shown = ""

    def on_event(self, event: Event) -> None:
        """Sink for `EventBus.subscribe`."""
        if isinstance(event, FellBack):
            text = f"{event.from_model} could not answer ({event.reason}); asking {event.to_model}"
            self._console.print(text, style="yellow", markup=False)
        if not self._enabled:
            return
        with self._lock:
            if isinstance(event, StageStarted):
                self._start(event.text, None, bytes_=False)
            elif isinstance(event, DownloadProgressed):
                self._advance(f"Fetching {event.name}", event.done, event.total, bytes_=True)
            elif isinstance(event, IngestProgressed):
                self._advance("Reading documents", event.done, event.total, bytes_=True)

    def stop(self) -> None:
        """Take the display away."""
        with self._lock:
            self._stop()

    def _advance(self, text: str, done: int, total: int, *, bytes_: bool) -> None:
        if done >= total:
            if self._shown == text:
                self._stop()
            return
        if self._shown != text:
            self._start(text, total, bytes_=bytes_)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def _start(self, text: str, total: int | None, *, bytes_: bool) -> None:
        self._stop()
        amounts = (DownloadColumn(), TransferSpeedColumn()) if bytes_ else ()
        measured = (BarColumn(), TaskProgressColumn(), *amounts) if total is not None else ()
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            *measured,
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(text, total=total)
        self._shown = text

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
        self._progress = None
        self._task = None
        self._shown = ""
