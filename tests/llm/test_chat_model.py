"""The chat model itself, over scripted and hand-made providers: no weights needed."""

import asyncio
import gc
import time

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_tests.unit_tests import ChatModelUnitTests
from pydantic import BaseModel

from agentkit.errors import ConfigurationError, ProviderError, StructuredOutputError
from agentkit.events import EventBus, ModelCallFinished
from agentkit.llm import GatewayChatModel, Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext
from agentkit.llm.providers.scripted import ScriptedProvider
from agentkit.llm.resilience import AttemptProvider
from agentkit.testing import Script, Step, ToolUse, scripted_model
from agentkit.weights import WeightsStore


class Person(BaseModel):
    name: str
    age: int


def weather(city: str) -> str:
    """Weather of a city."""
    return city


def recorded() -> tuple[EventBus, list[ModelCallFinished]]:
    bus, seen = EventBus(), []
    bus.subscribe(seen.append)
    return bus, seen


class Handmade(LLMProvider):
    """A role chunk, then content, then a wait: what a real stream does, under our control."""

    name = "handmade"
    model = "m1"

    def __init__(self, *contents: str, hang: bool = False, timeout: float | None = None) -> None:
        super().__init__(LLMConfig("handmade", timeout=timeout), ProviderContext(WeightsStore("unused")))
        self.contents, self.hang = contents, hang
        self.options: dict[str, object] = {}
        self.waiting, self.closed = asyncio.Event(), False

    async def chat(self, messages, *, tools=None, stream=True, **options):
        self.options = {"tools": tools, **options}
        try:
            yield AIMessageChunk(content="")
            for content in self.contents:
                yield AIMessageChunk(content=content)
            if self.hang:
                self.waiting.set()
                await asyncio.Event().wait()
            yield AIMessageChunk(content="", response_metadata={"model_name": "m1"}, chunk_position="last")
        finally:
            self.closed = True

    async def health_check(self):
        return Health(ok=True, detail="fine")

    async def get_model_info(self):
        return ModelInfo("handmade", "m1", None, native_tools=True, structured_output="native")

    async def list_models(self):
        return ["m1"]


class TestStandardUnit(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return GatewayChatModel

    @property
    def chat_model_params(self) -> dict:
        config = LLMConfig("scripted", options={"script": Script()})
        return {"provider": ScriptedProvider(config, ProviderContext(WeightsStore("unused")))}

    @property
    def standard_chat_model_params(self) -> dict:
        return {}  # temperature and the like belong to the LLMConfig the gateway was given


async def test_every_way_of_calling_gives_the_answer_and_one_event():
    bus, seen = recorded()
    model = scripted_model(*["hello there"] * 6, events=bus)
    assert model.invoke("x").text == "hello there"
    assert "".join(c.text for c in model.stream("x")) == "hello there"
    assert (await model.ainvoke("x")).text == "hello there"
    assert "".join([c.text async for c in model.astream("x")]) == "hello there"
    assert [a.text for a in await model.abatch(["x", "y"])] == ["hello there"] * 2
    assert [event.streaming for event in seen] == [False, True, False, True, False, False]
    assert {(e.provider, e.model, e.status, e.output_tokens) for e in seen} == {
        ("scripted", "scripted", "ok", 3)
    }


async def test_the_whole_answer_carries_usage_and_where_it_came_from():
    answer = await scripted_model("hi", name="my-model").ainvoke("hello")
    assert answer.usage_metadata["total_tokens"] == 3
    assert answer.response_metadata["model_name"] == "my-model"
    assert answer.response_metadata["model_provider"] == "scripted"
    assert answer.response_metadata["finish_reason"] == "stop"


async def test_time_to_first_token_skips_the_role_chunk_and_unknown_usage_stays_unknown():
    bus, seen = recorded()
    await GatewayChatModel(provider=Handmade("text"), events=bus).ainvoke("x")
    assert seen[0].time_to_first_token is not None
    assert (seen[0].input_tokens, seen[0].output_tokens) == (None, None)
    await GatewayChatModel(provider=Handmade(), events=bus).ainvoke("x")
    assert seen[1].time_to_first_token is None


async def test_estimated_usage_is_labelled_in_the_event():
    bus, seen = recorded()
    await scripted_model("hi", events=bus).ainvoke("x")
    assert seen[0].usage_estimated


async def test_default_stop_strings_apply_unless_a_call_names_its_own():
    provider = Handmade("x")
    model = GatewayChatModel(provider=provider, stop=["A"])
    await model.ainvoke("x")
    assert provider.options["stop"] == ["A"]
    await model.ainvoke("x", stop=["B"])
    assert provider.options["stop"] == ["B"]


async def test_an_error_is_reported_once_and_raised():
    bus, seen = recorded()
    with pytest.raises(ProviderError, match="boom"):
        await scripted_model(ProviderError("boom", provider="scripted"), events=bus).ainvoke("x")
    [event] = seen
    assert (event.status, event.error_type) == ("error", "ProviderError")


async def test_cancelling_is_reported_and_closes_the_provider():
    bus, seen = recorded()
    provider = Handmade("text", hang=True)
    task = asyncio.create_task(GatewayChatModel(provider=provider, events=bus).ainvoke("x"))
    await provider.waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert provider.closed
    [event] = seen
    assert (event.status, event.error_type) == ("cancelled", "")
    assert event.time_to_first_token is not None


async def test_an_abandoned_stream_is_reported_as_cancelled():
    bus, seen = recorded()
    provider = Handmade("a", "b", hang=True)
    stream = GatewayChatModel(provider=provider, events=bus).astream("x")
    async for chunk in stream:
        if chunk.content:
            break
    await stream.aclose()
    gc.collect()
    await asyncio.sleep(0)
    assert provider.closed
    assert [event.status for event in seen] == ["cancelled"]


def test_an_abandoned_synchronous_stream_stops_the_provider():
    bus, seen = recorded()
    provider = Handmade("a", hang=True)
    stream = GatewayChatModel(provider=provider, events=bus).stream("x")
    assert next(stream).content == ""
    assert next(stream).content == "a"
    stream.close()
    gc.collect()
    for _ in range(100):
        if seen:
            break
        time.sleep(0.02)
    assert provider.closed
    assert [event.status for event in seen] == ["cancelled"]


async def test_the_total_timeout_is_a_retryable_provider_error():
    bus, seen = recorded()
    provider = Handmade("text", hang=True, timeout=0.05)
    bounded = AttemptProvider(provider, timeouts=provider.config.timeouts, events=EventBus())
    with pytest.raises(ProviderError, match=r"not complete after 0\.05 s") as caught:
        await GatewayChatModel(provider=bounded, events=bus).ainvoke("x")
    assert caught.value.is_retryable
    assert caught.value.provider == "handmade"
    assert provider.closed
    assert [event.status for event in seen] == ["error"]


async def test_a_slow_consumer_does_not_lose_its_stream_to_the_timeout_of_another():
    model = GatewayChatModel(provider=Handmade("a", "b", timeout=5))
    seen = []
    async for chunk in model.astream("x"):
        await asyncio.sleep(0.01)
        seen.append(chunk.content)
    assert "".join(seen) == "ab"


async def test_the_agents_name_comes_from_the_run():
    bus, seen = recorded()
    model = scripted_model("a", "b", events=bus)
    node = RunnableLambda(lambda _: None, afunc=lambda _: model.ainvoke("x"))
    await node.ainvoke(None, config={"metadata": {"lc_agent_name": "kubernetes"}})
    RunnableLambda(lambda _: model.invoke("x")).invoke(None, config={"metadata": {"lc_agent_name": "python"}})
    assert [event.agent for event in seen] == ["kubernetes", "python"]


async def test_bound_tools_reach_the_provider_and_fallbacks_keep_working():
    provider = Handmade("x")
    bound = GatewayChatModel(provider=provider).bind_tools([weather], tool_choice="required")
    await bound.ainvoke("x")
    assert provider.options["tools"][0]["function"]["name"] == "weather"
    assert provider.options["tool_choice"] == "any"
    failing = scripted_model(ProviderError("down", provider="scripted"))
    backup = scripted_model(ToolUse("weather", {"city": "Rome"}))
    # with_fallbacks() forwards bind_tools only because of its Runnable annotation
    answer = await failing.with_fallbacks([backup]).bind_tools([weather]).ainvoke("x")
    assert answer.tool_calls[0]["args"] == {"city": "Rome"}


def test_a_tool_choice_nobody_has_is_refused():
    with pytest.raises(
        ConfigurationError, match=r"'other' is not auto, any, none or a bound tool \(weather\)"
    ):
        scripted_model().bind_tools([weather], tool_choice="other")


async def test_structured_output_in_all_its_forms():
    data = {"name": "Ana", "age": 7}
    model = scripted_model(data, data, data, ToolUse("Person", data), data)
    assert await model.with_structured_output(Person).ainvoke("x") == Person(**data)
    assert await model.with_structured_output(Person.model_json_schema()).ainvoke("x") == data
    assert await model.with_structured_output(Person, method="json_mode").ainvoke("x") == Person(**data)
    assert await model.with_structured_output(Person, method="function_calling").ainvoke("x") == Person(
        **data
    )
    whole = await model.with_structured_output(Person, include_raw=True).ainvoke("x")
    assert whole["parsed"] == Person(**data)
    assert whole["parsing_error"] is None
    assert whole["raw"].usage_metadata


async def test_an_answer_that_does_not_fit_is_a_structured_output_error():
    with pytest.raises(StructuredOutputError, match="does not fit the schema") as caught:
        await scripted_model('{"name": "Ana"}').with_structured_output(Person).ainvoke("x")
    assert "age" in str(caught.value)
    whole = await scripted_model("not json").with_structured_output(Person, include_raw=True).ainvoke("x")
    assert whole["parsed"] is None
    assert isinstance(whole["parsing_error"], StructuredOutputError)
    with pytest.raises(ConfigurationError, match="does not know tools"):
        scripted_model().with_structured_output(Person, tools=[])


async def test_nested_schemas_reach_the_provider_without_references():
    class Team(BaseModel):
        lead: Person

    provider = Handmade('{"lead": {"name": "A", "age": 1}}')
    await GatewayChatModel(provider=provider).with_structured_output(Team).ainvoke("x")
    schema = provider.options["response_format"]["json_schema"]["schema"]
    assert "$ref" not in str(schema)
    assert schema["properties"]["lead"]["properties"]["age"]["type"] == "integer"


async def test_tokens_are_reported_once_inside_a_graph_node():
    model = scripted_model("one two three")
    node = RunnableLambda(lambda _: None, afunc=lambda _: model.ainvoke("x"))
    tokens = [
        event["data"]["chunk"].content
        async for event in node.astream_events(None, version="v2")
        if event["event"] == "on_chat_model_stream"
    ]
    assert "".join(tokens) == "one two three"


async def test_a_provider_that_says_nothing_is_an_error():
    class Silent(Handmade):
        async def chat(self, messages, *, tools=None, stream=True, **options):
            return
            yield

    with pytest.raises(ProviderError, match="returned no answer"):
        await GatewayChatModel(provider=Silent()).ainvoke([HumanMessage("x")])


async def test_a_partial_answer_before_an_error_still_streams():
    parts = []
    with pytest.raises(ProviderError, match="cut"):
        async for chunk in scripted_model(
            Step("some text", error=ProviderError("cut", provider="s"))
        ).astream("x"):
            parts.append(chunk.text)  # noqa: PERF401 - the loop raises
    assert "".join(parts) == "some text"
