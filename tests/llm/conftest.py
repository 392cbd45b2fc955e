"""The real local model, loaded once a session, and a stand-in for Ollama."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agentkit import portal
from agentkit.events import Event, EventBus
from agentkit.llm import LLMConfig, LLMGateway, ProviderContext
from agentkit.llm.providers.local import LocalProvider
from agentkit.weights import WeightsStore

from .upstream import Upstream
from .wires.ollama import OllamaWire, done, say

CHAT_MODEL = "qwen2.5-coder-0.5b-instruct"


class OllamaUpstream(Upstream):
    """A stand-in for Ollama, with the words of its streams at hand."""

    say = staticmethod(say)
    done = staticmethod(done)


@pytest.fixture(scope="session")
def weights_store(models_dir: Path) -> WeightsStore:
    return WeightsStore(models_dir)


@pytest.fixture(scope="session")
def bus() -> EventBus:
    return EventBus()


@pytest.fixture(scope="session")
def local_gateway(weights_store: WeightsStore, bus: EventBus) -> Iterator[LLMGateway]:
    # One thread: other work on a small machine makes two wait for each other.
    main = LLMConfig(provider="local", model=CHAT_MODEL, max_tokens=64, options={"threads": 1})
    gateway = LLMGateway({"main": main}, events=bus, weights=weights_store)
    yield gateway
    portal.run(gateway.aclose)


@pytest.fixture(scope="session")
def llama(weights_store: WeightsStore) -> Iterator[tuple[str, str]]:
    """A real OpenAI-compatible server: its address and its key."""
    options = {"threads": 1, "context_tokens": 2048}
    config = LLMConfig("local", model="smollm2-135m-instruct", options=options)
    local = LocalProvider(config, ProviderContext(weights_store))
    portal.run(local.start)
    yield f"{local._server.url}/v1", local._server.api_key
    portal.run(local.aclose)


@pytest.fixture
def events(bus: EventBus) -> Iterator[list[Event]]:
    seen: list[Event] = []
    unsubscribe = bus.subscribe(seen.append)
    yield seen
    unsubscribe()


@pytest.fixture
async def ollama() -> AsyncIterator[OllamaUpstream]:
    async with OllamaUpstream(OllamaWire()) as server:
        yield server


# LangChain's standard tests forbid overriding; what cannot apply to a gateway is left out here.
NOT_APPLICABLE = {
    "test_init_from_env": "parts of agentkit take arguments and never read the environment",
    "test_serdes": "a gateway model holds live connections; blueprints are what is saved",
    "test_json_mode": "a 0.5B model does not find the keys of a schema it is told about in prose",
    "test_image_inputs": "a text model",
    "test_pdf_inputs": "a text model",
    "test_audio_inputs": "a text model",
    "test_image_tool_message": "a text model",
    "test_pdf_tool_message": "a text model",
    "test_anthropic_inputs": "Anthropic's own content blocks are no common format",
    "test_invoke_with_model_override": "a gateway model is one configured model",
    "test_ainvoke_with_model_override": "a gateway model is one configured model",
    "test_stream_with_model_override": "a gateway model is one configured model",
    "test_astream_with_model_override": "a gateway model is one configured model",
    "test_standard_params_model_override": "a gateway model is one configured model",
    "test_stream_time": "needs the VCR cassettes of a cloud provider",
}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    def standard(item: pytest.Item) -> bool:
        return getattr(item, "cls", None) is not None and item.cls.__name__.startswith("TestStandard")

    left_out = [item for item in items if standard(item) and item.originalname in NOT_APPLICABLE]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
