"""The embedded model, a real one, takes over from another provider and is asked in words alone."""

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from pydantic import BaseModel, SecretStr

from agentkit import portal
from agentkit.events import EventBus
from agentkit.llm import LLMConfig, LLMGateway, ModelInfo
from agentkit.llm.policies import RetryPolicy
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.providers.local import LocalProvider
from agentkit.registry import Registry
from agentkit.weights import WeightsStore

MODEL = "qwen2.5-coder-0.5b-instruct"
OPTIONS = {"threads": 1}
QUESTION = HumanMessage("What is the weather in Paris?")


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


class Unheld(LocalProvider):
    """The embedded model without its grammar: it can only be asked."""

    async def get_model_info(self) -> ModelInfo:
        return ModelInfo(self.name, self.model, None, native_tools=False, structured_output="none")


@pytest.fixture(autouse=True)
def _keep_loaded(local_gateway: LLMGateway) -> None:
    portal.run(local_gateway.chat_model().provider.start)


def gateway(weights: WeightsStore, main: LLMConfig) -> LLMGateway:
    registry = Registry("provider", table=PROVIDERS._lazy)
    registry.register("unheld", Unheld)
    nobody = "http://127.0.0.1:9/v1"  # the discard port: nothing answers
    return LLMGateway(
        {"main": main},
        events=EventBus(),
        weights=weights,
        providers=registry,
        openai_api_key=SecretStr("sk-none"),
        openai_base_url=nobody,
    )


async def test_the_embedded_model_finishes_what_openai_began(weights_store: WeightsStore):
    local = LLMConfig("local", model=MODEL, max_tokens=64, options=OPTIONS)
    made = gateway(weights_store, LLMConfig("openai", retry=RetryPolicy(attempts=1), fallbacks=(local,)))
    call = {"name": "get_weather", "args": {"city": "Paris"}, "id": "call_abc", "type": "tool_call"}
    began = AIMessage("", tool_calls=[call], response_metadata={"model_provider": "openai"})
    result = ToolMessage("sunny, 20 degrees", tool_call_id="call_abc", name="get_weather")
    model = made.chat_model()
    pieces = [chunk async for chunk in model.bind_tools([get_weather]).astream([QUESTION, began, result])]
    whole = pieces[0].__add__(pieces[1:])
    assert "sunny" in whole.text
    assert len([piece for piece in pieces if piece.text]) > 3
    assert whole.response_metadata["fallback"]["from"] == "gpt-4.1-mini"
    structured = model.with_structured_output(Person)
    assert await structured.ainvoke("John is 33 years old.") == Person(name="John", age=33)
    await made.aclose()


async def test_auto_calls_tools_whoever_it_chose(weights_store: WeightsStore):
    made = gateway(weights_store, LLMConfig("auto", model=MODEL, max_tokens=64, options=OPTIONS))
    called = await made.chat_model().bind_tools([get_weather]).ainvoke([QUESTION])
    assert [call["args"] for call in called.tool_calls] == [{"city": "Paris"}]
    await made.aclose()


async def test_a_model_that_nothing_holds_to_the_form_calls_and_answers_all_the_same(
    weights_store: WeightsStore,
):
    made = gateway(weights_store, LLMConfig("unheld", model=MODEL, max_tokens=64, options=OPTIONS))
    model = made.chat_model()
    called = await model.bind_tools([get_weather], tool_choice="any").ainvoke([QUESTION])
    assert [(call["name"], call["args"]) for call in called.tool_calls] == [
        ("get_weather", {"city": "Paris"})
    ]
    result = ToolMessage("sunny, 20 degrees", tool_call_id=called.tool_calls[0]["id"], name="get_weather")
    answer = await model.bind_tools([get_weather]).ainvoke([QUESTION, called, result])
    assert "sunny" in answer.text
    structured = model.with_structured_output(Person)
    assert await structured.ainvoke("John is 33 years old.") == Person(name="John", age=33)
    await made.aclose()
