"""Contract suites: subclass one, give it your part, and pytest checks that it keeps the contract.

::

    class TestMyProvider(ProviderContract):
        def make(self) -> LLMProvider:
            return MyProvider(LLMConfig(...), ProviderContext(...))
"""
# ruff: noqa: S101 - a suite for pytest asserts

import asyncio
from abc import ABC, abstractmethod
from contextlib import aclosing
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, HumanMessage

from agentkit.errors import ProviderError
from agentkit.llm.base import Health, LLMProvider, ModelInfo, closing, has_content

_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


class ProviderContract(ABC):
    """What every `LLMProvider` must do. Each check makes at most one call of a fresh provider.

    Scripted and fake providers prepare what the check will need in `make`, by its `purpose`.
    """

    prompt = "Say hello in one short sentence."
    tool_prompt = "What is the weather in Paris? Use the tool."
    long_prompt = "Count from 1 to 100 in words."

    @abstractmethod
    def make(self, purpose: str) -> LLMProvider:
        """Return a provider for one check.

        Args:
            purpose: `text` (it will be asked for text), `tool` (it will be asked to call
                `get_weather` with a city), or `fail` (its next call must fail).
        """

    async def test_streams_text_and_ends_with_its_metadata(self) -> None:
        """Chunks make up the text; the last one names model, provider, reason and usage."""
        provider = self.make("text")
        try:
            chunks = await self._collect(provider, self.prompt)
        finally:
            await provider.aclose()
        assert "".join(str(chunk.text) for chunk in chunks).strip(), "no text was streamed"
        last = chunks[-1]
        assert last.chunk_position == "last"
        assert [chunk for chunk in chunks if chunk.chunk_position == "last"] == [last]
        metadata = cast("dict[str, Any]", last.response_metadata)
        assert metadata["model_provider"] == provider.name
        assert metadata["model_name"] == provider.model
        assert metadata["finish_reason"]
        if last.usage_metadata is not None:
            assert last.usage_metadata["input_tokens"] > 0
            assert last.usage_metadata["output_tokens"] > 0

    async def test_not_streamed_is_exactly_one_chunk(self) -> None:
        """`stream=False` has the same shape, with one chunk that holds everything."""
        provider = self.make("text")
        try:
            chunks = [chunk async for chunk in provider.chat([HumanMessage(self.prompt)], stream=False)]
        finally:
            await provider.aclose()
        assert len(chunks) == 1
        assert str(chunks[0].text).strip()
        assert chunks[0].response_metadata["finish_reason"]

    async def test_whole_answer(self) -> None:
        """`complete` returns text, names and reason."""
        provider = self.make("text")
        try:
            answer = await provider.complete([HumanMessage(self.prompt)])
        finally:
            await provider.aclose()
        assert answer.text.strip()
        assert (answer.provider, answer.model) == (provider.name, provider.model)
        assert answer.finish_reason

    async def test_tool_calls_are_complete_and_have_ids(self) -> None:
        """The chunks add up to a call with a name, arguments and an id."""
        provider = self.make("tool")
        messages = [HumanMessage(self.tool_prompt)]
        try:
            answer = await provider.complete(messages, tools=[_TOOL])
        finally:
            await provider.aclose()
        [call] = answer.message.tool_calls
        assert call["name"] == "get_weather"
        assert isinstance(call["args"]["city"], str)
        assert call["id"]
        assert answer.finish_reason == "tool_calls"

    async def test_a_closed_stream_leaves_the_provider_usable(self) -> None:
        """A consumer that stops at the first content and closes does no harm."""
        provider = self.make("text")
        try:
            async with closing(provider.chat([HumanMessage(self.long_prompt)])) as chunks:
                async for chunk in chunks:
                    if has_content(chunk):
                        break
            assert isinstance(await provider.health_check(), Health)
        finally:
            await provider.aclose()

    async def test_cancellation_is_not_swallowed(self) -> None:
        """Cancelling the task that reads ends it with CancelledError, not with an error of ours."""
        provider = self.make("text")
        started = asyncio.Event()

        async def read() -> None:
            source = provider.chat([HumanMessage(self.long_prompt)])
            async with aclosing(cast("Any", source)) as chunks:
                async for _ in chunks:
                    started.set()
                    await asyncio.Event().wait()

        task = asyncio.create_task(read())
        try:
            await started.wait()
            task.cancel()
            [outcome] = await asyncio.gather(task, return_exceptions=True)
        finally:
            await provider.aclose()
        assert isinstance(outcome, asyncio.CancelledError)

    async def test_failure_is_a_provider_error(self) -> None:
        """What goes wrong arrives as `ProviderError` that names the provider."""
        provider = self.make("fail")
        try:
            await self._collect(provider, self.prompt)
        except ProviderError as error:
            assert error.provider == provider.name  # noqa: PT017 - pytest is not needed to use this suite
            assert str(error)  # noqa: PT017 - as above
        else:
            raise AssertionError("the call did not fail")
        finally:
            await provider.aclose()

    async def test_describes_itself(self) -> None:
        """Health, model information and the list of models have their types."""
        provider = self.make("text")
        try:
            health, info = await provider.health_check(), await provider.get_model_info()
            names = await provider.list_models()
        finally:
            await provider.aclose()
        assert isinstance(health, Health)
        assert health.detail
        assert isinstance(info, ModelInfo)
        assert (info.provider, info.model) == (provider.name, provider.model)
        assert all(isinstance(name, str) for name in names)

    async def test_closing_twice_is_harmless(self) -> None:
        """`aclose` may be called again, and before any call."""
        provider = self.make("text")
        await provider.aclose()
        await provider.aclose()

    async def _collect(self, provider: LLMProvider, prompt: str) -> list[AIMessageChunk]:
        async with closing(provider.chat([HumanMessage(prompt)])) as source:
            return [chunk async for chunk in source]
