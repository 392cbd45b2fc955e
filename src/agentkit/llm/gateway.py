"""The gateway: configured models by name, each a LangChain chat model."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from agentkit.errors import ConfigurationError, UnknownNameError
from agentkit.events import CircuitChanged, EventBus
from agentkit.llm.auto import AutoProvider
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ProviderContext
from agentkit.llm.chat_model import GatewayChatModel
from agentkit.llm.pricing import PricedProvider
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.resilience import CircuitBreaker, FallbackProvider, resilient_link
from agentkit.llm.resilience.breaker import State
from agentkit.llm.resilience.gate import Gates, address
from agentkit.llm.resilience.shared import SharedCircuit, SharedCircuits, circuit_name
from agentkit.registry import Registry
from agentkit.weights import Progress, WeightsStore


class LLMGateway:
    """Hands out chat models and closes what they hold.

    Args:
        models: Configured models by the names blueprints use.
        events: Where every call is reported.
        weights: Where local weights are kept.
        ollama_base_url: Where Ollama is expected.
        progress: Told about downloads of weights, on the downloading thread.
        providers: Known providers; by default the built-in ones and installed plug-ins.
        circuits: Where breakers are shared with other replicas, or None; closed with the gateway.
        **access: Further fields of `ProviderContext`: keys and addresses of named providers.
    """

    def __init__(
        self,
        models: Mapping[str, LLMConfig],
        *,
        events: EventBus,
        weights: WeightsStore,
        ollama_base_url: str = "http://127.0.0.1:11434",
        progress: Progress | None = None,
        providers: Registry[type[LLMProvider]] = PROVIDERS,
        circuits: SharedCircuits | None = None,
        **access: Any,
    ) -> None:
        self.models = dict(models)
        self._events = events
        self._context = ProviderContext(weights, progress, ollama_base_url, **access)
        self._providers = providers
        self._breakers: dict[tuple[object, ...], CircuitBreaker] = {}
        self._circuits = circuits
        self._gates = Gates(self._context)
        for config in self.models.values():
            for link in (config, *config.fallbacks):
                self._gates.add(link)
        self._made: list[tuple[LLMConfig, GatewayChatModel]] = []

    def chat_model(self, model: str | LLMConfig = "main") -> GatewayChatModel:
        """Return the chat model for a configured name, or for a configuration. Cached.

        Raises:
            UnknownNameError: No model, or no provider, has that name.
        """
        config = self._config(model)
        for known, made in self._made:
            if known == config:
                return made
        chat_model = GatewayChatModel(provider=self._chain(config), events=self._events)
        self._made.append((config, chat_model))
        return chat_model

    async def health(self) -> dict[str, Health]:
        """Whether each configured model could answer now. Makes no call and does not raise."""
        found: dict[str, Health] = {}
        for name, config in self.models.items():
            try:
                found[name] = await self.chat_model(config).provider.health_check()
            except ConfigurationError as error:
                found[name] = Health(ok=False, detail=str(error))
        return found

    async def aclose(self) -> None:
        """Close every provider; the embedded model leaves memory."""
        made, self._made = self._made, []
        try:
            for _, chat_model in made:
                await chat_model.provider.aclose()
        finally:
            if self._circuits is not None:
                await self._circuits.aclose()

    def _config(self, model: str | LLMConfig) -> LLMConfig:
        if isinstance(model, LLMConfig):
            return model
        if model not in self.models:
            raise UnknownNameError("model", model, self.models)
        return self.models[model]

    def _chain(self, config: LLMConfig) -> LLMProvider:
        """The model and its fallbacks, each retried, guarded and bounded in time."""
        links = [self._link(link) for link in (config, *config.fallbacks)]
        if len(links) == 1:
            return links[0]
        return FallbackProvider(links, events=self._events, on=config.fallback_on)

    def _link(self, config: LLMConfig) -> LLMProvider:
        provider = self._provider(config)
        key = (config.model, address(config.provider, config, self._context))
        name = circuit_name(config, self._context) if self._circuits is not None else None
        shared = SharedCircuit(self._circuits, name) if self._circuits and name else None
        if key not in self._breakers:
            self._breakers[key] = self._breaker(provider, shared)
        self._gates.add(config)
        return resilient_link(
            PricedProvider(provider), self._breakers[key], self._events, self._gates, shared
        )

    def _breaker(self, provider: LLMProvider, shared: SharedCircuit | None) -> CircuitBreaker:
        policy = provider.config.breaker

        def changed(state: State) -> None:
            self._events.emit(CircuitChanged(provider.name, provider.model, state))

        return CircuitBreaker(
            failures=policy.failures,
            open_for=policy.open_for,
            on_change=changed,
            announce=partial(shared.circuits.announce, shared.name) if shared else None,
        )

    def _provider(self, config: LLMConfig) -> LLMProvider:
        if config.provider == "auto":
            return AutoProvider(config, self._context, self._providers)
        try:
            provider = self._providers.get(config.provider)
        except UnknownNameError as error:
            raise UnknownNameError("provider", error.name, ("auto", *error.choices)) from None
        return provider(config, self._context)
