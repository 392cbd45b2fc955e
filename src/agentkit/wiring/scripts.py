"""A ready graph in one call: kits that live until the interpreter exits."""

from pathlib import Path
from typing import TYPE_CHECKING

from agentkit import portal
from agentkit.events import EventBus
from agentkit.observability.logging import log_event
from agentkit.settings import Settings
from agentkit.wiring.kit import Kit

if TYPE_CHECKING:
    from agentkit.graphs.bridge import Graph


def load_blueprint(name_or_path: str | Path, settings: Settings | None = None) -> "Graph":
    """Return a ready graph in one call, for scripts and notebooks.

    Its parts live on a background event loop until the interpreter exits, so `invoke` and
    `stream` work as well as `ainvoke` and `astream` on any loop of yours.

    Args:
        name_or_path: Name of a blueprint, or path of its folder or file.
        settings: None reads the environment, `.env` and `agentkit.yaml`.

    Raises:
        AgentKitError: As `Kit.graph` and `open_kit`.
    """
    return portal.run(_shared_graph, name_or_path, settings)


_shared: list[tuple[Settings, Kit]] = []
"""Kits of `load_blueprint`, one for each distinct settings."""


async def _shared_graph(name_or_path: str | Path, settings: Settings | None) -> "Graph":
    settings = settings or Settings.load()
    for known, kit in _shared:
        if known == settings:
            return await kit.graph(name_or_path)
    if not _shared:
        portal.at_end(_close_shared)
    events = EventBus()
    events.subscribe(log_event)
    kit = Kit(settings, events)
    _shared.append((settings, kit))
    return await kit.graph(name_or_path)


async def _close_shared() -> None:
    while _shared:
        await _shared.pop()[1].aclose()
