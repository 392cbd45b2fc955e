"""The Anthropic provider against a loopback server that speaks the documented Messages stream."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import anthropic
import httpx2
import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel, SecretStr

from agentkit.errors import ConfigurationError, MissingExtraError, ProviderError
from agentkit.llm import GatewayChatModel, LLMConfig, LLMProvider, ProviderContext
from agentkit.llm.base import has_content, whole
from agentkit.llm.providers.anthropic import AnthropicProvider
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore

from .upstream import CUT, HANG, Upstream
from .wires.anthropic import MODEL, TOOL_ANSWER, AnthropicWire, end, error_body, said, start

PROMPT = [HumanMessage("hello")]
KEY = "sk-ant-secret-of-the-test"
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}


class Person(BaseModel):
    name: str
    age: int


def make(url: str, **config: Any) -> AnthropicProvider:
    context = ProviderContext(
        WeightsStore("unused"), anthropic_api_key=SecretStr(KEY), anthropic_base_url=url
    )
    return AnthropicProvider(LLMConfig("anthropic", **{"model": MODEL, **config}), context)


@pytest.fixture
async def api() -> AsyncIterator[Upstream]:
    async with Upstream(AnthropicWire()) as server:
        yield server


class TestAnthropicContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _server(self, api):
        self.server = api

    def make(self, purpose: str) -> LLMProvider:
        failure = (500, {}, error_body("api_error", "no"))
        texts = [*said("Hello", " there."), *end()]
        self.server.script = [{"tool": TOOL_ANSWER, "fail": failure}.get(purpose, texts)]
        return make(self.server.url)


async def failing(provider: LLMProvider, match: str) -> ProviderError:
    with pytest.raises(ProviderError, match=match) as caught:
        await provider.complete(PROMPT)
    assert KEY not in str(caught.value)
    return caught.value


async def test_usage_and_reason_come_with_the_last_chunk(api):
    api.script = [[*said("Hi"), *end("max_tokens")]]
    answer = await make(api.url).complete(PROMPT)
    assert answer.usage is not None
    assert (answer.usage["input_tokens"], answer.usage["output_tokens"]) == (25, 15)
    assert (answer.text, answer.finish_reason) == ("Hi", "length")


@pytest.mark.parametrize("stream", [True, False])
async def test_usage_without_a_prompt_is_unknown_and_not_zero(api, stream):
    _, *rest = said("Hi")
    api.script = [[start(input_tokens=0), *rest, *end("end_turn", output_tokens=15)]]
    one = make(api.url)
    assert (await whole(one, one.chat(PROMPT, stream=stream))).usage is None


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 402, 403, 404, 413, 422, 501)),
        *((status, True) for status in (408, 409, 429, 500, 503, 504, 529)),
    ],
)
async def test_statuses_are_mapped_after_one_request(api, status: int, retryable: bool):
    api.script = [(status, {}, error_body("some_error", f"because of {KEY}"))]
    error = await failing(make(api.url), r"because of \*\*\*")
    assert (error.provider, error.status, error.is_retryable) == ("anthropic", status, retryable)
    assert len(api.requests) == 1


async def test_retry_after_is_seconds(api):
    api.script = [(429, {"Retry-After": "12"}, error_body("rate_limit_error", "slow down"))]
    assert (await failing(make(api.url), "slow down")).retry_after == 12.0


async def test_a_spent_budget_is_not_retried(api):
    body = error_body("rate_limit_error", "spent")
    body["error"]["details"] = {"error_code": "enforced_spend_limit_reached"}
    api.script = [(429, {}, body)]
    assert not (await failing(make(api.url), "spent")).is_retryable


async def test_hints_say_what_to_do(api):
    api.script = [
        (401, {}, error_body("authentication_error", "bad key")),
        (404, {}, error_body("not_found_error", "none")),
    ]
    assert "Set ANTHROPIC_API_KEY" in str(await failing(make(api.url), "bad key"))
    assert "'claude-9'" in str(await failing(make(api.url, model="claude-9"), "none"))


@pytest.mark.parametrize(
    ("ending", "words", "status", "retryable"),
    [
        ([error_body("overloaded_error", "Overloaded")], "Overloaded", 529, True),
        ([error_body("rate_limit_error", "too fast")], "too fast", 429, True),
        ([error_body("invalid_request_error", "wrong")], "wrong", 400, False),
        ([error_body("never_seen", "odd")], "odd", None, True),
        (["event: content_block_delta\ndata: {broken\n\n"], "not valid JSON", None, True),
        ([CUT], "broke off", None, True),
        ([], "before the answer was complete", None, True),
    ],
)
async def test_faults_inside_the_stream_come_after_the_text(api, ending, words, status, retryable):
    api.script = [[*said("half"), *ending]]
    seen = ""
    with pytest.raises(ProviderError, match=words) as caught:
        async for chunk in make(api.url).chat(PROMPT):
            seen += str(chunk.text)
    assert seen == "half"
    assert (caught.value.status, caught.value.is_retryable) == (status, retryable)
    assert len(api.requests) == 1


async def test_nobody_there():
    error = await failing(make("http://127.0.0.1:9"), r"No connection to Anthropic at http://127\.0\.0\.1:9")
    assert (error.status, error.is_retryable) == (None, True)
    assert not (await make("http://127.0.0.1:9").health_check()).ok


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_leaving_hangs_up(api, how: str):
    api.script = [[*said("word"), HANG]]
    started = asyncio.Event()

    async def read():
        async with aclosing(make(api.url).chat(PROMPT)) as chunks:
            async for chunk in chunks:
                if has_content(chunk):
                    started.set()
                    if how == "close":
                        return

    task = asyncio.create_task(read())
    await started.wait()
    if how == "cancel":
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await task
    async with asyncio.timeout(10):
        await api.disconnected.wait()


@pytest.mark.parametrize("stream", [True, False])
async def test_the_request_says_what_was_asked(api, stream):
    api.script = [[*said("a"), *end()]]
    one = make(api.url, max_tokens=50, options={"top_k": 7})
    messages = [SystemMessage("Be kind."), *PROMPT]
    await whole(one, one.chat(messages, stream=stream, stop=["END"], temperature=0.5))
    [request] = api.requests
    assert request == ({"stream": True} if stream else {}) | {
        "model": MODEL,
        "system": "Be kind.",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 50,
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "top_k": 7,
    }
    assert KEY in api.heads[0]  # as x-api-key or as a bearer token: the SDK's own business


async def test_a_model_that_refuses_a_temperature_gets_none(api):
    api.script = [[*said("a"), *end()]] * 2
    await make(api.url, model="claude-opus-5").complete(PROMPT)
    await make(api.url, model="claude-of-tomorrow").complete(PROMPT)
    assert all("temperature" not in request for request in api.requests)


async def test_structured_output_is_enforced_by_the_api(api):
    api.script = [[*said('{"name": "Ada",', ' "age": 36}'), *end()]]
    model = GatewayChatModel(provider=make(api.url))
    assert await model.with_structured_output(Person).ainvoke("who?") == Person(name="Ada", age=36)
    asked = api.requests[0]["output_config"]["format"]
    assert asked["type"] == "json_schema"
    assert asked["schema"]["required"] == ["name", "age"]
    assert asked["schema"]["additionalProperties"] is False


async def test_json_mode_is_asked_for_in_words(api):
    api.script = [[*said("{}"), *end()]] * 2
    one = make(api.url)
    await one.complete(PROMPT, response_format={"type": "json_object"})
    await one.complete([SystemMessage("Be kind."), *PROMPT], response_format={"type": "json_object"})
    plain, kind = (request["system"] for request in api.requests)
    assert "one JSON object" in plain
    assert kind.startswith("Be kind.")
    assert kind.endswith(plain)
    assert "output_config" not in api.requests[0]


async def test_tools_through_the_gateway_model(api):
    api.script = [TOOL_ANSWER] * 3
    model = GatewayChatModel(provider=make(api.url))
    for choice in ("get_weather", "any", "none"):
        message = await model.bind_tools([TOOL], tool_choice=choice).ainvoke("weather?")
    [call] = message.tool_calls
    assert (call["name"], call["args"], call["id"]) == ("get_weather", {"city": "Paris"}, "toolu_1")
    assert message.response_metadata["finish_reason"] == "tool_calls"
    choices = [request["tool_choice"] for request in api.requests]
    assert choices == [{"type": "tool", "name": "get_weather"}, {"type": "any"}, {"type": "none"}]
    assert api.requests[0]["tools"][0]["input_schema"]["properties"] == {"city": {"type": "string"}}


async def test_health_and_models(api):
    assert await make(api.url).list_models() == [MODEL]
    assert (await make(api.url).health_check()).ok
    missing = await make(api.url, model="claude-9").health_check()
    assert not missing.ok
    assert "'claude-9'" in missing.detail
    info = await make(api.url).get_model_info()
    assert (info.context_tokens, info.native_tools, info.structured_output) == (200000, True, "native")


def error_classes(root: type[Exception]) -> list[type[Exception]]:
    found = {root}
    for child in root.__subclasses__():
        found.update(error_classes(child))
    return sorted(found, key=lambda one: (one.__module__, one.__qualname__))


def status_of(kind: type[Exception]) -> int:
    """The status an error class is for: its own, or the one its table of classes gives it."""
    from anthropic._error_classes import ERROR_CLASSES

    listed = next((status for (status, _), one in ERROR_CLASSES.items() if one is kind), 418)
    fixed = getattr(kind, "status_code", listed)
    return fixed if isinstance(fixed, int) else listed


def instance(kind: type[Exception]) -> Exception:
    request = httpx2.Request("POST", "http://127.0.0.1/")
    response = httpx2.Response(status_of(kind), request=request)
    known = {"message": "because", "request": request, "response": response, "body": None}
    if not inspect.isfunction(kind.__init__):
        return kind("because")
    wanted = inspect.signature(kind.__init__).parameters.values()
    given = [one for one in list(wanted)[1:] if one.default is one.empty and one.kind != one.VAR_POSITIONAL]
    return kind(**{one.name: known.get(one.name, "x") for one in given if one.kind != one.VAR_KEYWORD})


@pytest.mark.parametrize("kind", error_classes(anthropic.AnthropicError))
def test_every_error_of_the_sdk_is_mapped(kind: type[Exception]):
    one = make("http://127.0.0.1:9")
    error = instance(kind)
    assert isinstance(error, one._errors)
    mapped = one._mapped(error)
    assert mapped.provider == "anthropic"
    status = getattr(error, "status_code", None)
    assert mapped.status == status
    waits = (
        isinstance(error, (anthropic.APIConnectionError, anthropic.RetryableError))
        or status in (408, 409, 429)
        or (status is not None and status >= 500 and status != 501)
    )
    assert mapped.is_retryable == waits


def test_a_missing_key_names_the_variable():
    with pytest.raises(ConfigurationError, match="ANTHROPIC_API_KEY"):
        AnthropicProvider(LLMConfig("anthropic"), ProviderContext(WeightsStore("unused")))


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "langchain_anthropic", None)
    with pytest.raises(MissingExtraError, match=r"langgraph-agentkit\[anthropic\]"):
        make("http://127.0.0.1:9")


def test_works_from_several_loops_in_turn():
    one = make("http://127.0.0.1:9")
    assert len({str(asyncio.run(failing(one, "No connection"))) for _ in range(3)}) == 1
