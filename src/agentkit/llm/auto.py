"""`provider: auto`: the best model that is on this machine already.

Ollama, if it answers on a loopback address and has the model; otherwise the embedded
local model. Never anything across a network: that needs a setting that names the place.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import ProviderError
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec, closing
from agentkit.registry import Registry

logger = logging.getLogger(__name__)

_LOCAL_OPTIONS = ("context_tokens", "threads")
_PROBE_SECONDS = 1.0


class AutoProvider(LLMProvider):
    """Decides at its first call who answers, and then stays with it.

    Args:
        config: The model wished for; its `provider` is `auto`.
        context: What the application lends.
        providers: Where `ollama` and `local` are found.
    """

    name = "auto"

    def __init__(
        self, config: LLMConfig, context: ProviderContext, providers: Registry[type[LLMProvider]]
    ) -> None:
        super().__init__(config, context)
        self._providers = providers
        self._chosen: LLMProvider | None = None

    @property
    def model(self) -> str:
        """The chosen model's name; before the choice, the one wished for."""
        return self._chosen.model if self._chosen else self.config.model or "default"

    async def start(self) -> None:
        """Choose, then get the choice ready."""
        await (await self.choose()).start()

    async def choose(self) -> LLMProvider:
        """Return who answers; decided once."""
        if self._chosen is None:
            # Two first calls at once probe twice and decide the same; the first one is kept.
            chosen = await self._choose()
            self._chosen = self._chosen or chosen
            self.name = self._chosen.name
        return self._chosen

    async def _choose(self) -> LLMProvider:
        local = self._providers.get("local")(self._local_config(), self.context)
        if self._is_local_model() or not is_loopback(self.context.ollama_base_url):
            return local
        # Nobody there is the usual case, and known before Ollama's SDK is imported for half a second.
        if not await _listens(self.context.ollama_base_url):
            logger.info("Ollama does not answer: using the embedded model %s", local.model)
            return local
        ollama = self._providers.get("ollama")(replace(self.config, provider="ollama"), self.context)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                pulled = await ollama.list_models()
        except (ProviderError, TimeoutError):
            logger.info("Ollama does not answer: using the embedded model %s", local.model)
            return local
        if ollama.model in pulled:
            return ollama
        logger.warning(
            "Ollama has not pulled %s: using the embedded model %s. For Ollama run: ollama pull %s",
            ollama.model, local.model, ollama.model,
        )  # fmt: skip
        return local

    def _is_local_model(self) -> bool:
        wished = self.config.model or ""
        return wished in self.context.weights.catalogue or wished.endswith(".gguf")

    def _local_config(self) -> LLMConfig:
        # Options were written for whoever answers: the embedded model takes those it knows.
        options = {key: value for key, value in self.config.options.items() if key in _LOCAL_OPTIONS}
        model = self.config.model if self._is_local_model() else None
        return replace(self.config, provider="local", model=model, options=options)

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Let the chosen provider answer."""
        chosen = await self.choose()
        async with closing(chosen.chat(messages, tools=tools, stream=stream, **options)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def health_check(self) -> Health:
        """Health of the chosen provider."""
        return await (await self.choose()).health_check()

    async def get_model_info(self) -> ModelInfo:
        """Description of the chosen model."""
        return await (await self.choose()).get_model_info()

    async def list_models(self) -> list[str]:
        """Models of the chosen provider."""
        return await (await self.choose()).list_models()

    async def aclose(self) -> None:
        """Close the chosen provider, if there is one."""
        if self._chosen is not None:
            await self._chosen.aclose()


def is_loopback(url: str) -> bool:
    """Whether `url` stays on this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


async def _listens(url: str) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(_PROBE_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True
