"""Conversations that move between providers, as each of them sees it on the wire."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from pydantic import BaseModel

from agentkit import portal
from agentkit.errors import ProviderError, StreamInterruptedError
from agentkit.events import AttemptFinished, Event, EventBus, FellBack
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.llm.resilience import AttemptProvider, BreakerProvider, RetryProvider
from agentkit.llm.translate import TranslatingProvider

from .upstreams import DOWN, Answer, Upstream, anthropic, gateway, model, ollama, openai

QUESTION = HumanMessage("What is the weather in Paris?")
IN_PARIS = {"city": "Paris"}
CALL_IN_JSON = json.dumps({"tool": "get_weather", "arguments": IN_PARIS})
PERSON = {"name": "Ana", "age": 7}


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as server:
        yield server


async def tool_loop(made: LLMGateway) -> tuple[AIMessage, AIMessage]:
    """Ask, run the tool that was called, ask again: the call and the answer to its result."""
    bound = made.chat_model().bind_tools([get_weather])
    called = await bound.ainvoke([QUESTION])
    [call] = called.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", IN_PARIS)
    result = ToolMessage(get_weather(**call["args"]), tool_call_id=call["id"], name=call["name"])
    return called, await bound.ainvoke([QUESTION, called, result])


async def test_a_native_model_dies_and_one_that_writes_json_finishes(upstream: Upstream):
    made = gateway(upstream, model("openai", model("vllm", tool_calls="json")))
    upstream.answers = [
        openai(call=("call_abc", "get_weather", IN_PARIS)),
        DOWN,
        openai('{"answer": "It is', ' sunny."}'),
    ]
    called, answer = await tool_loop(made)
    assert (answer.text, answer.tool_calls) == ("It is sunny.", [])
    assert answer.response_metadata["fallback"]["reason"] == "unavailable"
    native, died, in_json = upstream.requests
    assert native["tools"][0]["function"]["name"] == "get_weather"
    assert died["messages"][1]["tool_calls"][0]["id"] == died["messages"][2]["tool_call_id"] == "call_abc"
    assert "tools" not in in_json
    assert in_json["response_format"]["json_schema"]["schema"]["anyOf"]
    roles = [(message["role"], message["content"]) for message in in_json["messages"]]
    assert [role for role, _ in roles] == ["system", "user", "assistant", "user"]
    assert json.loads(roles[2][1]) == json.loads(CALL_IN_JSON)
    assert roles[3][1].startswith("get_weather returned: sunny in Paris\n")
    assert called.tool_calls[0]["id"] == "call_abc"  # the conversation itself is as it was


async def test_a_model_that_writes_json_dies_and_a_native_one_finishes(upstream: Upstream):
    made = gateway(upstream, model("vllm", model("openai"), tool_calls="json"))
    upstream.answers = [openai(CALL_IN_JSON[:20], CALL_IN_JSON[20:]), DOWN, openai("It is sunny.")]
    called, answer = await tool_loop(made)
    assert (called.content, called.response_metadata["finish_reason"]) == ("", "tool_calls")
    assert answer.text == "It is sunny."
    native = upstream.requests[-1]
    assert native["tools"][0]["function"]["name"] == "get_weather"
    _, asked, result = native["messages"]
    [call] = asked["tool_calls"]
    assert json.loads(call["function"]["arguments"]) == IN_PARIS
    assert (result["role"], result["tool_call_id"]) == ("tool", call["id"])
    assert "response_format" not in native


async def test_structured_output_falls_back_to_a_model_without_schemas(upstream: Upstream):
    made = gateway(upstream, model("openai", model("wordy")))
    upstream.answers = [DOWN, openai("Sure, here it is:\n``", f"`json\n{json.dumps(PERSON)}", "\n```\nDone.")]
    structured = made.chat_model().with_structured_output(Person)
    assert await structured.ainvoke("Ana is 7.") == Person(**PERSON)
    native, prompted = upstream.requests
    assert native["response_format"]["json_schema"]["schema"]["required"] == ["name", "age"]
    assert "response_format" not in prompted
    assert '"required": ["name", "age"]' in prompted["messages"][0]["content"]


async def test_structured_output_falls_back_from_a_model_without_schemas(upstream: Upstream):
    made = gateway(upstream, model("wordy", model("openai")))
    upstream.answers = [DOWN, openai(json.dumps(PERSON))]
    structured = made.chat_model().with_structured_output(Person)
    assert await structured.ainvoke("Ana is 7.") == Person(**PERSON)
    prompted, native = upstream.requests
    assert "response_format" not in prompted
    assert native["response_format"]["type"] == "json_schema"
    assert [message["role"] for message in native["messages"]] == ["user"]


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
async def test_every_method_of_structured_output_works_in_words(upstream: Upstream, method: str):
    in_words = {"tool": "Person", "arguments": PERSON} if method == "function_calling" else PERSON
    upstream.answers = [openai("Here: ", json.dumps(in_words))]
    made = gateway(upstream, model("wordy"))
    structured = made.chat_model().with_structured_output(Person, method=method)
    assert await structured.ainvoke("Ana is 7.") == Person(**PERSON)


async def test_a_model_without_tools_is_asked_in_words_and_may_call_several(upstream: Upstream):
    two = f"I look it up.\n```json\n{CALL_IN_JSON}\n```\n{CALL_IN_JSON.replace('Paris', 'Rome')}"
    upstream.answers = [openai(*two)]  # one character a chunk
    bound = gateway(upstream, model("wordy")).chat_model().bind_tools([get_weather], tool_choice="any")
    chunks = [chunk async for chunk in bound.astream([QUESTION])]
    whole = chunks[0].__add__(chunks[1:])
    assert whole.text == "I look it up."
    assert [call["args"]["city"] for call in whole.tool_calls] == ["Paris", "Rome"]
    assert len({call["id"] for call in whole.tool_calls}) == 2
    assert whole.response_metadata["finish_reason"] == "tool_calls"
    [request] = upstream.requests
    assert request.keys().isdisjoint({"tools", "tool_choice", "response_format"})
    assert "do not answer in text" in request["messages"][0]["content"]


async def test_the_answer_streams_out_of_its_json(upstream: Upstream):
    upstream.answers = [openai('{"answer": "', "one ", "two ", 'three"}')]
    bound = gateway(upstream, model("vllm", tool_calls="json")).chat_model().bind_tools([get_weather])
    texts = [chunk.text async for chunk in bound.astream([QUESTION]) if chunk.text]
    assert texts == ["one ", "two ", "three"]


async def test_tools_and_a_schema_for_the_answer_go_together(upstream: Upstream):
    upstream.answers = [openai(json.dumps({"answer": PERSON}))]
    schema = {"type": "json_schema", "json_schema": {"name": "p", "schema": Person.model_json_schema()}}
    bound = gateway(upstream, model("vllm", tool_calls="json")).chat_model().bind_tools([get_weather])
    answer = await bound.ainvoke([QUESTION], response_format=schema)
    assert json.loads(answer.text) == PERSON
    variants = upstream.requests[0]["response_format"]["json_schema"]["schema"]["anyOf"]
    assert variants[-1]["properties"]["answer"]["required"] == ["name", "age"]


async def test_anthropic_can_be_asked_to_write_its_calls_too(upstream: Upstream):
    upstream.answers = [anthropic({"type": "text", "text": CALL_IN_JSON})]
    bound = gateway(upstream, model("anthropic", tool_calls="json")).chat_model().bind_tools([get_weather])
    called = await bound.ainvoke([QUESTION])
    assert called.tool_calls[0]["args"] == IN_PARIS
    [request] = upstream.requests
    assert not request.get("tools")
    assert "anyOf" in json.dumps(request["output_config"])


async def test_ollama_can_be_made_to_call_a_tool(upstream: Upstream):
    upstream.answers = [
        ollama(json.dumps({"tool": "Person", "arguments": PERSON})),
        ollama(call=("get_weather", IN_PARIS)),
    ]
    chat_model = gateway(upstream, model("ollama")).chat_model()
    structured = chat_model.with_structured_output(Person, method="function_calling")
    assert await structured.ainvoke("Ana is 7.") == Person(**PERSON)
    free = await chat_model.bind_tools([get_weather]).ainvoke([QUESTION])
    assert free.tool_calls[0]["args"] == IN_PARIS
    forced, native = upstream.requests
    assert not forced.get("tools")
    assert forced["format"]["properties"]["tool"] == {"const": "Person"}
    assert native["tools"][0]["function"]["name"] == "get_weather"
    assert not native.get("format")


async def test_a_model_of_ollama_without_tools_writes_json(upstream: Upstream):
    upstream.capabilities = ["completion"]
    upstream.answers = [ollama(CALL_IN_JSON), ollama('{"answer": "Sunny."}'), ollama("You are welcome.")]
    made = gateway(upstream, model("ollama"))
    called, answer = await tool_loop(made)
    assert answer.text == "Sunny."
    assert all(not request.get("tools") and request["format"] for request in upstream.requests)
    history = [QUESTION, called, ToolMessage("sunny", tool_call_id="x"), answer, HumanMessage("Thanks")]
    await made.chat_model().ainvoke(history)  # without tools now, but they were used
    told = [message for request in upstream.requests for message in request["messages"]]
    assert all(not message.get("tool_calls") and message["role"] != "tool" for message in told)
    assert upstream.shown == 1


async def test_what_a_model_can_do_is_asked_once_and_only_for_tools(upstream: Upstream):
    upstream.answers = [ollama("hi")] * 11
    chat_model = gateway(upstream, model("ollama")).chat_model()
    await chat_model.ainvoke("hi")
    assert upstream.shown == 0
    bound = chat_model.bind_tools([get_weather])
    await asyncio.gather(*(bound.ainvoke("hi") for _ in range(9)))
    assert upstream.shown == 1
    await asyncio.to_thread(portal.run, bound.ainvoke, "hi")  # another event loop
    assert upstream.shown == 1


async def test_a_model_that_does_not_say_what_it_can_do_is_taken_to_be_able(upstream: Upstream):
    upstream.capabilities = None
    upstream.answers = [ollama("hi")] * 3
    chat_model = gateway(upstream, model("ollama")).chat_model()
    bound = chat_model.bind_tools([get_weather])
    assert [(await bound.ainvoke("hi")).text for _ in range(2)] == ["hi", "hi"]
    assert all(request["tools"] for request in upstream.requests)
    assert upstream.shown == 1
    link = chat_model.provider.inner.inner
    link._ask_after = 0.0  # a minute later
    upstream.capabilities = ["completion"]
    await bound.ainvoke("hi")
    assert (upstream.shown, bool(upstream.requests[-1]["tools"])) == (2, False)


async def test_native_is_taken_at_its_word(upstream: Upstream):
    upstream.capabilities = ["completion"]
    upstream.answers = [ollama("hi")]
    chat_model = gateway(upstream, model("ollama", tool_calls="native")).chat_model()
    await chat_model.bind_tools([get_weather], tool_choice="any").ainvoke("hi")
    assert (upstream.shown, bool(upstream.requests[0]["tools"])) == (0, True)


THOUGHT = {"type": "thinking", "thinking": "Hm."}
USED = {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": IN_PARIS}


@pytest.mark.parametrize("other", ["openai", "vllm", "ollama"])
async def test_what_anthropic_thought_and_called_is_understood_elsewhere(upstream: Upstream, other: str):
    made = gateway(upstream, model("anthropic", model(other)))
    answered = ollama("Sunny.") if other == "ollama" else openai("Sunny.")
    upstream.answers = [anthropic(THOUGHT, {"type": "text", "text": "Let me see."}, USED), DOWN, answered]
    called, answer = await tool_loop(made)
    assert isinstance(called.content, list)
    assert answer.text == "Sunny."
    _, own, elsewhere = upstream.requests
    assert [block["type"] for block in own["messages"][1]["content"]] == ["thinking", "text", "tool_use"]
    assert own["messages"][1]["content"][0]["signature"] == "sig"
    asked, result = elsewhere["messages"][1:]
    assert asked["content"] == "Let me see."
    assert asked["tool_calls"][0]["function"]["name"] == "get_weather"
    assert result["content"] == "sunny in Paris"
    if other != "ollama":  # Ollama has no ids
        assert asked["tool_calls"][0]["id"] == result["tool_call_id"] == "toolu_1"


@pytest.mark.parametrize("call_id", ["functions.get_weather:0", "chatcmpl-tool-" + "0" * 32, "call_1"])
@pytest.mark.parametrize("other", ["anthropic", "openai"])
async def test_ids_of_one_provider_are_taken_by_the_others(upstream: Upstream, other: str, call_id: str):
    made = gateway(upstream, model("vllm", model(other)))
    sunny = {"type": "text", "text": "Sunny."}
    answered = anthropic(sunny) if other == "anthropic" else openai("Sunny.")
    upstream.answers = [openai(call=(call_id, "get_weather", IN_PARIS)), DOWN, answered]
    _, answer = await tool_loop(made)
    assert answer.text == "Sunny."
    asked, result = upstream.requests[-1]["messages"][-2:]
    if other == "anthropic":
        ids = asked["content"][0]["id"], result["content"][0]["tool_use_id"]
    else:
        ids = asked["tool_calls"][0]["id"], result["tool_call_id"]
    assert ids[0] == ids[1]
    assert len(ids[0]) <= 40
    assert ids[0].replace("_", "").replace("-", "").isalnum()
    assert (ids[0] == call_id) == (call_id == "call_1")


async def test_vllm_without_a_tool_parser_says_what_to_do(upstream: Upstream):
    said = '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
    upstream.answers = [Answer(json.dumps({"message": said, "type": "BadRequestError", "code": 400}), 400)]
    bound = gateway(upstream, model("vllm")).chat_model().bind_tools([get_weather])
    with pytest.raises(ProviderError, match="tool_calls: json") as caught:
        await bound.ainvoke([QUESTION])
    assert (caught.value.status, caught.value.is_retryable) == (400, False)


def recorded() -> tuple[EventBus, list[Event]]:
    bus, seen = EventBus(), []
    bus.subscribe(seen.append)
    return bus, seen


async def test_a_call_that_broke_off_was_never_seen_and_somebody_else_makes_it(upstream: Upstream):
    bus, seen = recorded()
    made = gateway(upstream, model("vllm", model("openai"), tool_calls="json"), bus)
    upstream.answers = [
        openai('{"tool": "get_weather", "arg', end="cut"),
        openai(call=("call_1", "get_weather", IN_PARIS)),
    ]
    chunks = [chunk async for chunk in made.chat_model().bind_tools([get_weather]).astream([QUESTION])]
    whole = chunks[0].__add__(chunks[1:])
    assert [call["args"] for call in whole.tool_calls] == [IN_PARIS]
    assert [type(event) for event in seen if isinstance(event, FellBack)] == [FellBack]
    assert [event.status for event in seen if isinstance(event, AttemptFinished)] == ["error", "ok"]


async def test_an_answer_that_broke_off_is_not_begun_again(upstream: Upstream):
    made = gateway(upstream, model("vllm", model("openai"), tool_calls="json"))
    upstream.answers = [openai('{"answer": "It is su', end="cut")]
    with pytest.raises(StreamInterruptedError) as caught:
        async for _ in made.chat_model().bind_tools([get_weather]).astream([QUESTION]):
            pass
    assert caught.value.partial == "It is su"
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("provider", [model("vllm", tool_calls="json"), model("wordy")])
async def test_cancelling_while_a_call_is_written_hangs_up(upstream: Upstream, provider: LLMConfig):
    bus, seen = recorded()
    upstream.answers = [openai('{"tool": "get_weather", "arg', end="hang")]
    bound = gateway(upstream, provider, bus).chat_model().bind_tools([get_weather])
    task = asyncio.create_task(bound.ainvoke([QUESTION]))
    async with asyncio.timeout(20):
        await upstream.asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await upstream.hung_up.wait()
    assert [event.status for event in seen if isinstance(event, AttemptFinished)] == ["cancelled"]


async def test_timeouts_see_what_the_model_writes_and_retries_what_the_user_reads(upstream: Upstream):
    retry = gateway(upstream, model("vllm")).chat_model().provider
    order = [type(retry), type(retry.inner), type(retry.inner.inner), type(retry.inner.inner.inner)]
    assert order == [RetryProvider, BreakerProvider, TranslatingProvider, AttemptProvider]


async def test_a_whole_answer_is_one_chunk(upstream: Upstream):
    upstream.answers = [openai("Hm. ", CALL_IN_JSON)]
    provider = gateway(upstream, model("wordy")).chat_model().provider
    tools = [{"type": "function", "function": {"name": "get_weather"}}]
    messages: list[BaseMessage] = [QUESTION]
    [chunk] = [chunk async for chunk in provider.chat(messages, tools=tools, stream=False)]
    assert (chunk.text, chunk.tool_calls[0]["args"]) == ("Hm.", IN_PARIS)
    assert chunk.response_metadata["model_provider"] == "wordy"
