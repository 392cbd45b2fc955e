"""The gateway: configured models by name, each a LangChain chat model."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from agentkit.errors import AgentKitError, ConfigurationError, UnknownNameError
from agentkit.events import CircuitChanged, EventBus
from agentkit.llm.auto import AutoProvider
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ProviderContext
from agentkit.llm.cache.answers import AnswerCache, CacheSource
from agentkit.llm.cache.provider import CachedProvider
from agentkit.llm.chat_model import GatewayChatModel
from agentkit.llm.lending import BorrowedModels, Lent
from agentkit.llm.policies import DEFAULT_ON, Reason
from agentkit.llm.pricing import PricedProvider
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.resilience import CircuitBreaker, FallbackProvider, resilient_link
from agentkit.llm.resilience.breaker import State
from agentkit.llm.resilience.gate import Gates, address
from agentkit.llm.resilience.shared import SharedCircuit, SharedCircuits, circuit_name
from agentkit.llm.translate import TranslatingProvider
from agentkit.registry import Registry
from agentkit.weights import Progress, WeightsStore

_HEALTH_SECONDS = 15.0  # over the providers' own limits, which say more about what was slow


class LLMGateway:
    """Hands out chat models and closes what they hold.

    Args:
        models: Configured models by the names blueprints use.
        events: Where every call is reported.
        weights: Where local weights are kept.
        ollama_base_url: Where Ollama is expected.
        progress: Told about downloads of weights, on the downloading thread.
        providers: Known providers; by default the built-in ones and installed plug-ins.
        cache: Where models with a `cache` keep their answers: any LangChain cache that keeps
            messages, or what opens one at first use. Closing it is up to whoever made it.
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
        cache: CacheSource | None = None,
        circuits: SharedCircuits | None = None,
        **access: Any,
    ) -> None:
        self.models = dict(models)
        self._events = events
        self._context = ProviderContext(weights, progress, ollama_base_url, **access)
        self._providers = providers
        self._answers = None if cache is None else AnswerCache(cache)
        self._breakers: dict[tuple[object, ...], CircuitBreaker] = {}
        self._circuits = circuits
        self._gates = Gates(self._context)
        for config in self.models.values():
            for link in (config, *config.fallbacks):
                self._gates.add(link)
        self._made: list[Lent] = []
        self._links: list[tuple[LLMConfig, LLMProvider]] = []
        self._lock = threading.RLock()

    def chat_model(self, model: str | LLMConfig = "main") -> GatewayChatModel:
        """Return the chat model for a configured name, or for a configuration. Cached.

        Raises:
            UnknownNameError: No model, or no provider, has that name.
            ConfigurationError: It keeps answers, and the gateway has no cache.
        """
        with self._lock:
            made = self._make(self._config(model))
            made.kept = True
            return made.model

    def borrow(self) -> BorrowedModels:
        """Return a view of this gateway whose models can be given back, for what comes and goes.

        What `chat_model` returned stays open until the gateway is closed. A model that was only
        borrowed is closed when its last borrower gives it back: its connections, and the embedded
        model in memory.
        """
        return BorrowedModels(self._lend, self._take_back)

    def set_fallback_chain(
        self,
        model: str | LLMConfig,
        fallbacks: Sequence[str | LLMConfig],
        *,
        on: Sequence[Reason] | None = None,
    ) -> None:
        """Change whom a model falls back to, from its next call on, wherever it is held already.

        Calls under way keep the chain they began with; breakers keep their state. Two names with
        the same configuration are one model and have one chain. May be called from any thread.

        Args:
            model: Configured name, or the configuration it was asked for with.
            fallbacks: Names or configurations in the order they are asked; their own fallbacks
                do not count. Empty: none.
            on: Reasons for which they are asked; None leaves them.

        Raises:
            UnknownNameError: No model has one of the names.
            ConfigurationError: The model is its own fallback, or one is there twice.
        """
        config = self._config(model)
        links = [_alone(config)]
        for fallback in fallbacks:
            link = _alone(self._config(fallback))
            if link in links:
                name = fallback if isinstance(fallback, str) else fallback.model or fallback.provider
                fault = "is that model itself" if link == links[0] else "is in it twice"
                raise ConfigurationError(f"The fallback chain cannot hold {name!r}: it {fault}.")
            links.append(link)
        wanted = replace(
            config, fallbacks=tuple(links[1:]), fallback_on=config.fallback_on if on is None else tuple(on)
        )
        with self._lock:
            made = self._make(config)
            # One assignment: a call takes its provider once, when it begins.
            made.model.provider = self._chain(wanted)
            made.links = links

    async def health(self) -> dict[str, Health]:
        """Whether each configured model could answer now.

        All are asked at once, each for 15 s at most. Makes no call and does not raise.
        """
        found = await asyncio.gather(*(self._health(config) for config in self.models.values()))
        return dict(zip(self.models, found, strict=True))

    async def _health(self, config: LLMConfig) -> Health:
        try:
            async with asyncio.timeout(_HEALTH_SECONDS):
                return await self.chat_model(config).provider.health_check()
        except TimeoutError:
            return Health(ok=False, detail=f"No answer within {_HEALTH_SECONDS:g} s.")
        except AgentKitError as error:
            return Health(ok=False, detail=str(error))

    async def aclose(self) -> None:
        """Close every provider; the embedded model leaves memory."""
        with self._lock:
            links, self._links, self._made = self._links, [], []
        try:
            for _, link in links:
                await link.aclose()
        finally:
            if self._circuits is not None:
                await self._circuits.aclose()

    def _make(self, config: LLMConfig) -> Lent:
        for made in self._made:
            if made.config == config:
                return made
        links = [_alone(link) for link in (config, *config.fallbacks)]
        made = Lent(config, GatewayChatModel(provider=self._chain(config), events=self._events), links)
        self._made.append(made)
        return made

    def _lend(self, model: str | LLMConfig) -> Lent:
        with self._lock:
            made = self._make(self._config(model))
            made.borrowers += 1
            return made

    async def _take_back(self, returned: Sequence[Lent]) -> None:
        with self._lock:
            for made in returned:
                made.borrowers -= 1
            self._made = [made for made in self._made if made.kept or made.borrowers]
            used = [link for made in self._made for link in made.links]
            unused = [link for config, link in self._links if config not in used]
            self._links = [(config, link) for config, link in self._links if config in used]
            keys = {self._breaker_key(config) for config, _ in self._links}
            self._breakers = {key: breaker for key, breaker in self._breakers.items() if key in keys}
            named = [link for config in self.models.values() for link in (config, *config.fallbacks)]
            self._gates.only([*named, *used])
        for link in unused:
            await link.aclose()

    def _config(self, model: str | LLMConfig) -> LLMConfig:
        if isinstance(model, LLMConfig):
            return model
        if model not in self.models:
            raise UnknownNameError("model", model, self.models)
        return self.models[model]

    def _chain(self, config: LLMConfig) -> LLMProvider:
        """The model and its fallbacks, each retried, guarded and bounded in time."""
        links = [self._link(_alone(link)) for link in (config, *config.fallbacks)]
        if len(links) == 1:
            return self._cached(links[0], config)
        return self._cached(FallbackProvider(links, events=self._events, on=config.fallback_on), config)

    def _cached(self, chain: LLMProvider, config: LLMConfig) -> LLMProvider:
        """Outermost: a kept answer needs neither the model nor its fallbacks."""
        if config.cache is None:
            return chain
        if self._answers is None:
            raise ConfigurationError(
                f"The model {chain.model!r} keeps its answers, and the gateway has no cache.",
                hint="Give it one: LLMGateway(cache=…), any LangChain cache.",
            )
        return CachedProvider(chain, self._answers, config, events=self._events)

    def _link(self, config: LLMConfig) -> LLMProvider:
        """One provider for each configuration, whatever chains it is in: connections are shared."""
        for known, link in self._links:
            if known == config:
                return link
        link = self._new_link(config)
        self._links.append((config, link))
        return link

    def _new_link(self, config: LLMConfig) -> LLMProvider:
        provider = self._provider(config)
        key = self._breaker_key(config)
        name = circuit_name(config, self._context) if self._circuits is not None else None
        shared = SharedCircuit(self._circuits, name) if self._circuits and name else None
        if key not in self._breakers:
            self._breakers[key] = self._breaker(provider, shared)
        self._gates.add(config)
        return resilient_link(
            PricedProvider(provider),
            self._breakers[key],
            self._events,
            translate=TranslatingProvider,
            gates=self._gates,
            shared=shared,
        )

    def _breaker_key(self, config: LLMConfig) -> tuple[object, ...]:
        return config.use, config.model, address(config.provider, config, self._context)

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


def _alone(config: LLMConfig) -> LLMConfig:
    """A configuration without what only matters to the chain it heads."""
    return replace(config, fallbacks=(), fallback_on=DEFAULT_ON)
