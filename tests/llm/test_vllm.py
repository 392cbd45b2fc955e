"""The vLLM provider against a real OpenAI-compatible server (llama.cpp).

Its contract, and what it makes of faults, are tested with the OpenAI provider's in `test_openai.py`.
"""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from agentkit.errors import ConfigurationError
from agentkit.llm import GatewayChatModel, LLMConfig, ProviderContext
from agentkit.llm.base import has_content
from agentkit.llm.providers.vllm import DEFAULT_BASE_URL, VLLMProvider
from agentkit.weights import WeightsStore

PROMPT = [HumanMessage("Say hello.")]


class City(BaseModel):
    city: str


def make(llama: tuple[str, str], model: str = "served-name", **config: Any) -> VLLMProvider:
    context = ProviderContext(WeightsStore("unused"), vllm_base_url=llama[0])
    return VLLMProvider(LLMConfig("vllm", model=model, options={"api_key": llama[1]}, **config), context)


async def test_streams_with_usage(llama):
    chunks = [chunk async for chunk in make(llama, max_tokens=8).chat(PROMPT)]
    assert "".join(str(chunk.text) for chunk in chunks).strip()
    assert chunks[-1].usage_metadata is not None
    assert 0 < chunks[-1].usage_metadata["output_tokens"] <= 8
    assert chunks[-1].response_metadata["model_provider"] == "vllm"


async def test_answers_as_a_whole(llama):
    answer = await make(llama, max_tokens=8).complete(PROMPT)
    assert answer.text.strip()
    assert (answer.provider, answer.model) == ("vllm", "served-name")
    assert answer.usage is not None


async def test_decoding_is_guided_by_the_schema(llama):
    model = GatewayChatModel(provider=make(llama, max_tokens=40))
    assert isinstance(await model.with_structured_output(City).ainvoke("I live in Paris."), City)


async def test_a_stream_left_early_leaves_the_server_usable(llama):
    one = make(llama, max_tokens=200)
    async with aclosing(one.chat([HumanMessage("Count to 100.")])) as chunks:
        async for chunk in chunks:
            if has_content(chunk):
                break
    async with asyncio.timeout(60):
        assert (await make(llama, max_tokens=4).complete(PROMPT)).text


async def test_lists_and_describes_what_is_served(llama):
    [served] = await make(llama).list_models()
    assert (await make(llama, served).health_check()).ok
    missing = await make(llama, "other").health_check()
    assert not missing.ok
    assert "has no model other" in missing.detail
    info = await make(llama, served).get_model_info()
    assert (info.provider, info.structured_output) == ("vllm", "native")


def test_a_model_must_be_named():
    with pytest.raises(ConfigurationError, match="name that vLLM serves"):
        VLLMProvider(LLMConfig("vllm"), ProviderContext(WeightsStore("unused")))


def test_needs_neither_key_nor_address():
    one = VLLMProvider(LLMConfig("vllm", model="a"), ProviderContext(WeightsStore("unused")))
    assert (one._url, one._key.get_secret_value()) == (DEFAULT_BASE_URL, "EMPTY")
