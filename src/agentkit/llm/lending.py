"""Models that are given back: what a graph holds that a newer one will replace."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from agentkit.llm.base import LLMConfig
from agentkit.llm.chat_model import GatewayChatModel


class ChatModels(Protocol):
    """Hands out chat models: a gateway, or a view of one whose models are given back."""

    def chat_model(self, model: str | LLMConfig = "main") -> GatewayChatModel:
        """Return the chat model for a configured name, or for a configuration."""
        ...


@dataclass(eq=False, slots=True)
class Lent:
    """A model a gateway has made.

    Attributes:
        config: What it was asked for with.
        model: The model.
        links: Configurations of the providers in its chain, without fallbacks.
        borrowers: How many hold it for a while.
        kept: Whether somebody holds it for good.
    """

    config: LLMConfig
    model: GatewayChatModel
    links: Sequence[LLMConfig]
    borrowers: int = 0
    kept: bool = False


@dataclass(eq=False, slots=True)
class BorrowedModels:
    """A gateway's models, noted as they are handed out, until `aclose` gives them back.

    May be used from any thread, by one at a time.
    """

    _lend: Callable[[str | LLMConfig], Lent]
    _take_back: Callable[[Sequence[Lent]], Awaitable[None]]
    _held: list[Lent] = field(default_factory=list[Lent])

    def chat_model(self, model: str | LLMConfig = "main") -> GatewayChatModel:
        """Return a chat model; arguments and errors as for `LLMGateway.chat_model`."""
        lent = self._lend(model)
        self._held.append(lent)
        return lent.model

    async def aclose(self) -> None:
        """Give all models back; may be called twice."""
        held, self._held = self._held, []
        await self._take_back(held)
