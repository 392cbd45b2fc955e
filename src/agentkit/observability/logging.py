"""Log lines, ours and other libraries', through structlog: for people or as JSON."""

import logging
import sys
from dataclasses import asdict
from typing import Literal

import structlog

from agentkit.events import DownloadProgressed, Event, IngestProgressed, StageStarted

_PROGRESS = (DownloadProgressed, IngestProgressed, StageStarted)


def configure_logging(level: str = "warning", style: Literal["console", "json"] = "console") -> None:
    """Send all log records of the process to standard error in one shape.

    For programs, like our command line; a library leaves logging to its application.

    Args:
        level: Least severity shown: debug, info, warning or error.
        style: `console` for people, `json` for machines, one object a line.
    """
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    colors = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=colors)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
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
    """Sink: one line for every event, except progress, which is for displays."""
    if not isinstance(event, _PROGRESS):
        structlog.get_logger("agentkit.events").info(type(event).__name__, **asdict(event))
