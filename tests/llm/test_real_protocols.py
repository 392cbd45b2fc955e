"""Ollama's and Anthropic's documented protocols on loopback, with the real local model behind them.

OpenAI's and vLLM's are spoken by llama.cpp itself: see `test_openai.py` and `test_vllm.py`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from pydantic import BaseModel

from agentkit.errors import ProviderError
from agentkit.events import ModelCallFinished
from agentkit.llm.base import has_content

from .faults import KEY
from .real import Llama, RealAnthropic, RealOllama
from .stack import WIRES, Stack, stack
from .upstream import Upstream

SERVERS = {"ollama": RealOllama, "anthropic": RealAnthropic}


class City(BaseModel):
    city: str


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@dataclass(frozen=True, slots=True)
class Real:
    """A model of the provider under test, and the server it talks to."""

    stack: Stack
    server: Upstream

    def limited(self, max_tokens: int):
        return self.stack.model.bind(max_tokens=max_tokens)


@pytest.fixture(params=SERVERS)
async def real(request: pytest.FixtureRequest, llama: tuple[str, str]) -> AsyncIterator[Real]:
    provider: str = request.param
    behind = SERVERS[provider](Llama(*llama))
    async with Upstream(WIRES[provider](), serve=behind.serve) as server:
        one = stack(provider, server.url, KEY, max_tokens=60)
        yield Real(one, server)
        await one.gateway.aclose()


async def test_streams_with_usage_and_reason(real: Real) -> None:
    chunks = [chunk async for chunk in real.limited(12).astream("Say hello.")]
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    whole = chunks[0].__add__(chunks[1:])
    assert whole.text.strip()
    assert whole.response_metadata["finish_reason"] in ("stop", "length")
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] > 5
    assert 0 < whole.usage_metadata["output_tokens"] <= 12
    [call] = [event for event in real.stack.events if isinstance(event, ModelCallFinished)]
    assert (call.status, call.input_tokens) == ("ok", whole.usage_metadata["input_tokens"])
    assert call.time_to_first_token is not None


async def test_answers_as_a_whole_and_says_that_it_was_cut_short(real: Real) -> None:
    answer = await real.limited(3).ainvoke("Tell me a long story.")
    assert answer.text.strip()
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 3


async def test_stops_where_it_is_told(real: Real) -> None:
    answer = await real.stack.model.ainvoke("Count: 1, 2, 3, 4, 5", stop=[",", ".", "\n"], max_tokens=40)
    assert not set(",.\n") & set(answer.text)
    assert answer.response_metadata["finish_reason"] == "stop"


async def test_the_conversation_arrives(real: Real) -> None:
    first, more = (
        [HumanMessage("Hi")],
        [SystemMessage("Be brief. " * 10), HumanMessage("Hi"), AIMessage("Yes?")],
    )
    short = await real.limited(2).ainvoke(first)
    long = await real.limited(2).ainvoke([*more, HumanMessage("Hi")])
    assert short.usage_metadata is not None
    assert long.usage_metadata is not None
    assert long.usage_metadata["input_tokens"] > short.usage_metadata["input_tokens"] + 20


async def test_holds_to_a_schema(real: Real) -> None:
    found = await real.stack.model.with_structured_output(City).ainvoke("I live in Paris. Where do I live?")
    assert isinstance(found, City)


async def test_calls_a_tool_and_answers_from_its_result(real: Real) -> None:
    model = real.stack.model.bind_tools([get_weather])
    question = HumanMessage("What is the weather in Paris?")
    call = await model.ainvoke([question])
    [made] = call.tool_calls
    assert made["name"] == "get_weather"
    assert isinstance(made["args"]["city"], str)
    assert made["id"]
    assert call.response_metadata["finish_reason"] == "tool_calls"
    assert call.usage_metadata is not None
    result = ToolMessage("sunny, 20 degrees", tool_call_id=made["id"], name="get_weather")
    answer = await model.ainvoke([question, call, result], max_tokens=12)
    assert answer.text.strip()
    assert not answer.tool_calls


async def test_a_prompt_too_long_is_the_callers_mistake(real: Real) -> None:
    with pytest.raises(ProviderError, match="context size") as caught:
        await real.stack.model.ainvoke("word " * 3000)
    assert (caught.value.status, caught.value.is_retryable) == (400, False)
    assert len(real.server.requests) == 1


async def test_leaving_early_leaves_the_model_free(real: Real) -> None:
    async with aclosing(real.limited(1500).astream("Count to 1000 in words.")) as chunks:
        async for chunk in chunks:
            if has_content(chunk):
                break
    async with asyncio.timeout(30):
        await real.server.disconnected.wait()
        assert (await real.limited(3).ainvoke("Hi")).text
    calls = [event.status for event in real.stack.events if isinstance(event, ModelCallFinished)]
    assert calls == ["cancelled", "ok"]


async def test_concurrent_answers_do_not_mix(real: Real) -> None:
    answers = await asyncio.gather(*(real.limited(4).ainvoke(f"Say {number}.") for number in range(4)))
    assert all(answer.text for answer in answers)
    assert real.server.open == 0


async def test_describes_what_is_served(real: Real) -> None:
    provider = real.stack.model.provider
    assert await provider.list_models() == list(real.server.models)
    assert (await provider.health_check()).ok
    real.server.models = ["another"]
    assert not (await provider.health_check()).ok
