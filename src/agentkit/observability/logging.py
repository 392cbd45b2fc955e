"""Log lines, ours and other libraries', in one shape: for people or as JSON.

The library logs through the standard library only, so an application's own logging
configuration holds; `configure_logging` is for programs, like our command line.
"""

import logging
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Literal

from agentkit.events import DownloadProgressed, Event, IngestProgressed, StageStarted

if TYPE_CHECKING:
    from structlog.typing import Processor

logger = logging.getLogger("agentkit.events")

_PROGRESS = (DownloadProgressed, IngestProgressed, StageStarted)


def configure_logging(level: str = "warning", style: Literal["console", "json"] = "console") -> None:
    """Send all log records of the process to standard error in one shape.

    Args:
        level: Least severity shown: debug, info, warning or error.
        style: `console` for people, `json` for machines, one object a line.
    """
    import structlog

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    colors = sys.stderr.isatty()
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=colors)
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                renderer,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def log_event(event: Event) -> None:
    """Sink: one line for every event, its fields as the record's extras; progress is for displays."""
    if logger.isEnabledFor(logging.INFO) and not isinstance(event, _PROGRESS):
        logger.info(type(event).__name__, extra=asdict(event))
