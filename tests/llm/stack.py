"""A gateway as an application builds it, whose providers are told to go to an upstream of a test."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agentkit.events import Event, EventBus
from agentkit.llm import GatewayChatModel, LLMConfig, LLMGateway
from agentkit.llm.providers._llama_server import LlamaServer
from agentkit.llm.providers.local import LocalProvider
from agentkit.weights import WeightsStore

from .wires.anthropic import AnthropicWire
from .wires.ollama import OllamaWire
from .wires.openai import OpenAIWire, VLLMWire

WIRES: dict[str, type[Any]] = {
    "openai": OpenAIWire,
    "vllm": VLLMWire,
    "anthropic": AnthropicWire,
    "ollama": OllamaWire,
    "local": VLLMWire,
}
PROVIDERS = tuple(WIRES)


@dataclass(frozen=True, slots=True)
class Stack:
    """A chat model of a gateway, and what the gateway reports."""

    gateway: LLMGateway
    model: GatewayChatModel
    events: list[Event]


def model_config(provider: str, url: str, key: str, **config: Any) -> LLMConfig:
    """A model of `provider` at `url`."""
    named = {"ollama": None, "local": None}.get(provider, WIRES[provider].models[0])
    options = {} if provider in ("ollama", "local") else {"base_url": url, "api_key": key}
    return LLMConfig(provider, model=named, options=options, **config)


def stack(provider: str, url: str, key: str, fallbacks: Sequence[LLMConfig] = (), **config: Any) -> Stack:
    """A gateway with one model of `provider`, which is at `url`."""
    events: list[Event] = []
    bus = EventBus()
    bus.subscribe(events.append)
    gateway = LLMGateway(
        {"main": model_config(provider, url, key, fallbacks=tuple(fallbacks), **config)},
        events=bus,
        weights=WeightsStore("unused"),
        ollama_base_url=url,
    )
    model = gateway.chat_model()
    inner = model.provider.unwrapped
    if isinstance(inner, LocalProvider):
        # In the place of llama.cpp's own server: what the provider talks to, and how, is the same.
        inner._server = LlamaServer(url.removesuffix("/v1"), key, None)
    return Stack(gateway, model, events)
