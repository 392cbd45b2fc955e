"""A provider that does as it is told, attempt by attempt."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import ProviderError
from agentkit.events import Event, EventBus
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext
from agentkit.weights import WeightsStore

HANG = object()
"""In a plan: say nothing more."""

ROLE = AIMessageChunk(content="")


def unavailable(**fields: Any) -> ProviderError:
    return ProviderError("down", provider="flaky", **({"status": 503, "is_retryable": True} | fields))


class Flaky(LLMProvider):
    """Each attempt follows the next plan: texts are said, errors raised, floats waited for, HANG hangs."""

    def __init__(
        self, *plans: Sequence[object], name: str = "flaky", config: LLMConfig | None = None
    ) -> None:
        super().__init__(
            config or LLMConfig(name, model=f"{name}-model"), ProviderContext(WeightsStore("unused"))
        )  # type: ignore[arg-type]
        self.name = name
        self.plans = list(plans)
        self.attempts = 0
        self.closed = 0

    @property
    def model(self) -> str:
        return self.config.model or ""

    async def chat(self, messages: Sequence[BaseMessage], **options: Any) -> AsyncIterator[AIMessageChunk]:
        plan = self.plans[min(self.attempts, len(self.plans) - 1)]
        self.attempts += 1
        try:
            for step in plan:
                if isinstance(step, BaseException):
                    raise step
                if step is HANG:
                    await asyncio.sleep(3600)
                elif isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step if isinstance(step, AIMessageChunk) else AIMessageChunk(content=str(step))
            metadata = {"model_name": self.model, "model_provider": self.name, "finish_reason": "stop"}
            yield AIMessageChunk(content="", response_metadata=metadata, chunk_position="last")
        finally:
            self.closed += 1

    async def health_check(self) -> Health:
        return Health(ok=True, detail="")

    async def get_model_info(self) -> ModelInfo:
        return ModelInfo(self.name, self.model, None, native_tools=True, structured_output="native")

    async def list_models(self) -> list[str]:
        return [self.model]


def recorded() -> tuple[EventBus, list[Event]]:
    bus = EventBus()
    seen: list[Event] = []
    bus.subscribe(seen.append)
    return bus, seen


async def text(provider: LLMProvider) -> str:
    return "".join([str(chunk.text) async for chunk in provider.chat([])])
