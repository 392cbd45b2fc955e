"""A provider around a provider: the shape every part of resilience has."""

from agentkit.llm.base import Health, LLMProvider, ModelInfo


class ProviderWrapper(LLMProvider):
    """Passes everything but `chat` on to `inner`."""

    def __init__(self, inner: LLMProvider) -> None:
        super().__init__(inner.config, inner.context)
        self.inner = inner

    @property
    def name(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] - it may still be chosen
        """The inner provider's name."""
        return self.inner.name

    @property
    def model(self) -> str:
        """The inner provider's model."""
        return self.inner.model

    @property
    def unwrapped(self) -> LLMProvider:
        """The provider beneath all wrappers."""
        return self.inner.unwrapped

    async def start(self) -> None:
        """Get the inner provider ready."""
        await self.inner.start()

    async def health_check(self) -> Health:
        """Health of the inner provider."""
        return await self.inner.health_check()

    async def get_model_info(self) -> ModelInfo:
        """Description of the inner provider's model."""
        return await self.inner.get_model_info()

    async def list_models(self) -> list[str]:
        """Models of the inner provider."""
        return await self.inner.list_models()

    async def aclose(self) -> None:
        """Close the inner provider."""
        await self.inner.aclose()
