"""Errors of a run's agents, from the nodes that caught them to the one that joins the answers.

They stay in the process: an error is no state, and its text may name what users should not
see. After a pause that another process ends they are gone, and only their class is known.
"""

from typing import cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

_KEY = "__agentkit_failures"  # LangChain keeps keys that begin so out of traces and metadata


def collecting(config: RunnableConfig | None) -> RunnableConfig:
    """Return `config` with a place for the errors of one run."""
    given = (config or {}).get("configurable") or {}
    return cast("RunnableConfig", {**(config or {}), "configurable": {**given, _KEY: {}}})


def note(agent: str, error: Exception) -> None:
    """Keep the error of one agent of the run we are in."""
    _noted()[agent] = error


def noted(agent: str) -> Exception | None:
    """The error an agent of the run we are in ended with, if it is known."""
    return _noted().get(agent)


def _noted() -> dict[str, Exception]:
    return (ensure_config().get("configurable") or {}).get(_KEY, {})
