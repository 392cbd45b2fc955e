"""What a turn used: tokens and money of every model call in it, routing included."""

from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, LLMResult


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens and US dollars of one turn; None where any call did not say, which is not zero."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class UsageCounter(BaseCallbackHandler):
    """Adds up the model calls of one run; attach a new one to each."""

    def __init__(self) -> None:
        self._messages: list[AIMessage] = []

    def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Note the answer of one call."""
        del kwargs
        for generations in response.generations:
            for generation in generations:
                if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
                    self._messages.append(generation.message)

    @property
    def usage(self) -> Usage:
        """The sum so far."""
        counts = [message.usage_metadata for message in self._messages]
        costs: list[float | None] = [message.response_metadata.get("cost_usd") for message in self._messages]
        known = [count for count in counts if count is not None]
        if not counts or len(known) < len(counts):
            return Usage()
        return Usage(
            input_tokens=sum(count["input_tokens"] for count in known),
            output_tokens=sum(count["output_tokens"] for count in known),
            cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        )
