"""Breakers that replicas share: what one finds out about a provider, all know.

The protocol; `redis_circuits` has Redis behind it. A replica's own memory decides about
every call, what is shared only carries the news.
"""

import hashlib
import json
import socket
from dataclasses import dataclass
from typing import Protocol

from agentkit.llm.auto import is_loopback
from agentkit.llm.base import LLMConfig, ProviderContext
from agentkit.llm.resilience.breaker import CircuitBreaker
from agentkit.llm.resilience.gate import address

_IN_PROCESS = ("auto", "local", "scripted")  # auto chooses between this machine's Ollama and local


class SharedCircuits(Protocol):
    """What breakers of one gateway have in common with those of other replicas.

    Every method may be called from any thread and loop, and none raises.
    """

    def watch(self, name: str, breaker: CircuitBreaker) -> None:
        """Let `breaker` follow what other replicas say about `name`; cheap when it does already."""
        ...

    def announce(self, name: str, open_for: float | None) -> None:
        """Tell the others that it opened, for so many seconds, or (None) closed. Does not block."""
        ...

    async def claim(self, name: str, *, force: bool = False) -> float:
        """Ask to be the one replica that probes.

        Args:
            name: Of the breaker.
            force: Although its open period is not over.

        Returns:
            0 if the caller may; else seconds after which to ask again.
        """
        ...

    def release(self, name: str) -> None:
        """The probe is over; its outcome was announced before. Does not block."""
        ...

    async def aclose(self) -> None:
        """Give back what is held. May be used again."""
        ...


@dataclass(frozen=True, slots=True)
class SharedCircuit:
    """One breaker's place among the shared ones."""

    circuits: SharedCircuits
    name: str


def circuit_name(config: LLMConfig, context: ProviderContext) -> str | None:
    """What replicas call the breaker of a model; None for one that is nobody else's business.

    A model in this process has its own breaker. One on loopback is shared with the processes
    of this host only: every machine has its own 127.0.0.1.
    """
    if config.provider in _IN_PROCESS:
        return None
    _, url = address(config.provider, config, context)
    host = socket.gethostname() if url and is_loopback(url) else ""
    # Hashed: an address may hold a password, and a model's name anything.
    digest = hashlib.sha256(json.dumps([config.provider, config.model, url, host]).encode())
    return f"{config.provider}:{digest.hexdigest()[:32]}"
