"""Errors of a run's agents, from the nodes that caught them to the one that joins the answers.

They stay in the process: an error is no state, and its text may name what users should not
see. After a pause that another process ends they are gone, and only their class is known.
"""

from typing import cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

_KEY = "__agentkit_failures"  # LangChain keeps keys that begin so out of traces and metadata


class _Failures:
    """Errors by agent; no mapping, so that nothing that prints a configuration prints them."""

    def __init__(self) -> None:
        self.by_agent: dict[str, Exception] = {}


def collecting(config: RunnableConfig | None) -> RunnableConfig:
    """Return `config` with a place for the errors of one run."""
    given = (config or {}).get("configurable") or {}
    return cast("RunnableConfig", {**(config or {}), "configurable": {**given, _KEY: _Failures()}})


def note(agent: str, error: Exception) -> None:
    """Keep the error of one agent of the run we are in."""
    if (failures := _current()) is not None:
        failures.by_agent[agent] = error


def noted(agent: str) -> Exception | None:
    """The error an agent of the run we are in ended with, if it is known."""
    failures = _current()
    return None if failures is None else failures.by_agent.get(agent)


def _current() -> _Failures | None:
    return (ensure_config().get("configurable") or {}).get(_KEY)
