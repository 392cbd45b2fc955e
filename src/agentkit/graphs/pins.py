"""Which blueprint a thread is on: every checkpoint's metadata has the digest of what wrote it.

A thread that waits for a person (a LangGraph interrupt) has to go on in the graph it was
paused in: in another one, in which a node has another name, LangGraph drops the answer.
"""

from dataclasses import dataclass
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple

METADATA_KEY = "agentkit_blueprint"
"""Key of the digest in the metadata of traces and checkpoints."""

_INTERRUPT = "__interrupt__"  # the channel LangGraph writes an interrupt to


@dataclass(frozen=True, slots=True)
class Pin:
    """Where a thread stands: the digest it was last run with (empty if unknown), and whether it waits."""

    digest: str
    paused: bool


def pinned_to(digest: str, config: RunnableConfig | None) -> RunnableConfig:
    """Return `config` with the digest in its metadata, from where it gets into every checkpoint."""
    config = config or {}
    if not digest:
        return config
    return {**config, "metadata": {**(config.get("metadata") or {}), METADATA_KEY: digest}}


async def aread_pin(saver: BaseCheckpointSaver[Any], thread_id: str) -> Pin | None:
    """Return where a thread stands, or None for one that was never run."""
    return _pin(await saver.aget_tuple({"configurable": {"thread_id": thread_id}}))


def read_pin(saver: BaseCheckpointSaver[Any], thread_id: str) -> Pin | None:
    """As `aread_pin`, for a saver that answers at once, as that in memory does."""
    return _pin(saver.get_tuple({"configurable": {"thread_id": thread_id}}))


def _pin(found: CheckpointTuple | None) -> Pin | None:
    if found is None:
        return None
    digest = found.metadata.get(METADATA_KEY)
    paused = any(channel == _INTERRUPT for _, channel, _ in found.pending_writes or ())
    return Pin(digest if isinstance(digest, str) else "", paused)
