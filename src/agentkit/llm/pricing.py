"""What a call costs: the configured price, else the price list, else unknown (which is not zero).

The list is genai-prices' (https://github.com/pydantic/genai-prices), as installed: nothing
is fetched. It is asked for OpenAI and Anthropic at their own addresses only; what a model
costs elsewhere is for the configuration to say.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from importlib import import_module
from typing import Any, Literal

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata

from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.policies import Price
from agentkit.llm.resilience.wrapper import ProviderWrapper

LISTED = ("openai", "anthropic")
"""Providers whose own prices are listed, by the names the list knows them by."""

_MILLION = 1_000_000
_SOME = 1000  # tokens, few enough for the lowest tier


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


def price_of(provider: LLMProvider) -> tuple[Price | None, Literal["configured", "list", "unknown"]]:
    """Return what a model costs, and who says so. Of tiered prices the list's lowest is meant."""
    if provider.config.price is not None:
        return provider.config.price, "configured"
    if _is_listed(provider):
        read, written, cached = (
            listed_cost(provider.name, provider.model, usage)
            for usage in (_usage(read=_SOME), _usage(written=_SOME), _usage(read=_SOME, cached=_SOME))
        )
        if read is not None and written is not None:
            scale = _MILLION / _SOME
            cache_read = None if cached is None else round(cached * scale, 6)
            return Price(round(read * scale, 6), round(written * scale, 6), cache_read), "list"
    return None, "unknown"


def _usage(read: int = 0, written: int = 0, cached: int = 0) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=read,
        output_tokens=written,
        total_tokens=read + written,
        input_token_details={"cache_read": cached},
    )


def _is_listed(provider: LLMProvider) -> bool:
    """Whether the price list speaks of this model: it is asked at its vendor's own address."""
    elsewhere = provider.config.options.get("base_url") or getattr(
        provider.context, f"{provider.name}_base_url", None
    )
    return provider.name in LISTED and not elsewhere


class PricedProvider(ProviderWrapper):
    """Adds `cost_usd` to the last chunk's `response_metadata`, where the cost is known."""

    def __init__(self, inner: LLMProvider) -> None:
        super().__init__(inner)
        self._listed = _is_listed(inner)
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
