"""What a call costs: the configured price, else the price list, else unknown (which is not zero).

The list is genai-prices' (https://github.com/pydantic/genai-prices), as installed: nothing
is fetched. It is asked for OpenAI and Anthropic at their own addresses only; what a model
costs elsewhere is for the configuration to say.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata

from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.policies import Price
from agentkit.llm.resilience.wrapper import ProviderWrapper

LISTED = ("openai", "anthropic")
"""Providers whose own prices are listed, by the names the list knows them by."""

_MILLION = 1_000_000


def cost(usage: UsageMetadata, price: Price) -> float:
    """Return what `usage` costs at `price`, in US dollars."""
    cached = usage.get("input_token_details", {}).get("cache_read", 0)
    cached_price = price.input if price.cache_read is None else price.cache_read
    fresh = usage["input_tokens"] - cached
    return (fresh * price.input + cached * cached_price + usage["output_tokens"] * price.output) / _MILLION


def listed_cost(provider: str, model: str, usage: UsageMetadata) -> float | None:
    """Return what `usage` costs by the price list, or None when the list does not know the model."""
    from genai_prices import Usage, calc_price

    counts = Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=usage.get("input_token_details", {}).get("cache_read", 0),
    )
    try:
        return float(calc_price(counts, model_ref=model, provider_id=provider).total_price)
    except LookupError:
        return None


class PricedProvider(ProviderWrapper):
    """Adds `cost_usd` to the last chunk's `response_metadata`, where the cost is known."""

    def __init__(self, inner: LLMProvider) -> None:
        super().__init__(inner)
        elsewhere = self.config.options.get("base_url") or getattr(
            self.context, f"{inner.name}_base_url", None
        )
        self._listed = inner.name in LISTED and not elsewhere
        self._loaded = not self._listed

    async def start(self) -> None:
        """Get the inner provider ready, and the price list loaded: it takes a moment, once a process."""
        await self.inner.start()
        if not self._loaded:
            await asyncio.to_thread(import_module, "genai_prices.data")
            self._loaded = True

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the inner provider; see `LLMProvider.chat`."""
        source = self.inner.chat(messages, tools=tools, stream=stream, **options)
        async with closing(source) as chunks:
            async for chunk in chunks:
                if chunk.usage_metadata and chunk.response_metadata:
                    dollars = self._cost(chunk.usage_metadata)
                    if dollars is not None:
                        chunk.response_metadata["cost_usd"] = dollars
                yield chunk

    def _cost(self, usage: UsageMetadata) -> float | None:
        if self.config.price is not None:
            return cost(usage, self.config.price)
        return listed_cost(self.name, self.model, usage) if self._listed else None
