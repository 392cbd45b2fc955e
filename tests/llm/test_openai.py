"""The OpenAI provider: a real server (llama.cpp) and a loopback fake for what goes wrong."""

import asyncio
import email.utils
import inspect
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage
from pydantic import BaseModel, SecretStr

from agentkit.errors import ConfigurationError, MissingExtraError, ProviderError
from agentkit.llm import GatewayChatModel, LLMConfig, LLMProvider, ProviderContext
from agentkit.llm.base import has_content, whole
from agentkit.llm.providers import PROVIDERS
from agentkit.llm.providers.openai import OpenAIProvider
from agentkit.llm.providers.vllm import VLLMProvider
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore

from .upstream import CUT, HANG, Upstream
from .wires.openai import DONE, TOOL_ANSWER, OpenAIWire, answer, event

PROMPT = [HumanMessage("hello")]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
KEY = "sk-secret-of-the-test"


class Person(BaseModel):
    name: str
    age: int


def make(url: str, kind: type[LLMProvider] = OpenAIProvider, **config: Any) -> LLMProvider:
    context = ProviderContext(
        WeightsStore("unused"), openai_api_key=SecretStr(KEY), openai_base_url=url, vllm_base_url=url
    )
    return kind(LLMConfig(kind.name, **{"model": "gpt-4.1-mini", **config}), context)


@pytest.fixture
async def api() -> AsyncIterator[Upstream]:
    async with Upstream(OpenAIWire()) as server:
        yield server


both = pytest.mark.parametrize("kind", [OpenAIProvider, VLLMProvider])


class _Contract(ProviderContract):
    kind: type[LLMProvider]

    @pytest.fixture(autouse=True)
    def _server(self, api):
        self.server = api

    def make(self, purpose: str) -> LLMProvider:
        texts = answer("Hello", " there.")
        failure = (500, {}, {"error": {"message": "no"}})
        self.server.script = [{"tool": TOOL_ANSWER, "fail": failure}.get(purpose, texts)]
        return make(self.server.url, self.kind)


class TestOpenAIContract(_Contract):
    kind = OpenAIProvider


class TestVLLMContract(_Contract):
    kind = VLLMProvider


async def failing(provider: LLMProvider, match: str, *, stream: bool = False) -> ProviderError:
    with pytest.raises(ProviderError, match=match) as caught:
        await whole(provider, provider.chat(PROMPT, stream=stream))
    assert KEY not in str(caught.value)
    return caught.value


@both
@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 422, 501)),
        *((status, True) for status in (408, 409, 429, 500, 503, 529)),
    ],
)
async def test_statuses_are_mapped_after_one_request(api, kind, status: int, retryable: bool):
    api.script = [(status, {}, {"error": {"message": f"because of {KEY}", "type": "x", "code": None}})]
    error = await failing(make(api.url, kind, options={"api_key": KEY}), r"because of \*\*\*")
    assert (error.provider, error.status, error.is_retryable) == (kind.name, status, retryable)
    assert len(api.requests) == 1  # the SDK does not try again behind our back


@both
async def test_retry_after_is_seconds(api, kind):
    later = email.utils.formatdate(time.time() + 100, usegmt=True)
    waits = []
    for value in ("7", "1.5", later, "-3", "soon", "inf"):
        api.script = [(429, {"Retry-After": value}, {"error": {"message": "slow down"}})]
        waits.append((await failing(make(api.url, kind), "slow down")).retry_after)
    assert waits[:2] == [7.0, 1.5]
    assert 80 < waits[2] <= 100
    assert waits[3:] == [0.0, None, None]


async def test_an_empty_account_is_not_retried(api):
    api.script = [(429, {}, {"error": {"message": "quota", "code": "insufficient_quota"}})]
    assert not (await failing(make(api.url), "quota")).is_retryable


async def test_hints_say_what_to_do(api):
    api.script = [(401, {}, {"error": {"message": "bad key"}}), (404, {}, {"error": {"message": "none"}})]
    assert "Set OPENAI_API_KEY" in str(await failing(make(api.url), "bad key"))
    assert "'gpt-9'" in str(await failing(make(api.url, model="gpt-9"), "none"))


@both
@pytest.mark.parametrize(
    ("ending", "words", "status", "retryable"),
    [
        ([{"error": {"message": "engine died", "code": 500}}], "engine died", 500, True),
        ([{"error": {"message": "busy", "type": "server_error"}}], "busy", 500, True),
        ([{"error": {"message": "too long", "code": "context_length_exceeded"}}], "too long", 400, False),
        ([{"error": {"message": "odd", "type": "never_seen"}}], "odd", None, True),
        (["data: {broken\n\n"], "not valid JSON", None, True),
        ([CUT], "broke off", None, True),
        ([DONE], "before the answer was complete", None, True),  # a polite ending that is none
    ],
)
async def test_faults_inside_the_stream_come_after_the_text(  # noqa: PLR0917 - one per column
    api, kind, ending, words, status, retryable
):
    api.script = [[event(role="assistant", content=""), event(content="half"), *ending]]
    seen = ""
    with pytest.raises(ProviderError, match=words) as caught:
        async for chunk in make(api.url, kind).chat(PROMPT):
            seen += str(chunk.text)
    assert seen == "half"
    assert (caught.value.status, caught.value.is_retryable) == (status, retryable)
    assert len(api.requests) == 1


async def test_what_is_no_api_is_told(api):
    api.script = [(200, {"Content-Type": "text/html"}, "<html>hello</html>")]
    for stream in (True, False):
        await failing(make(api.url), "the address of an API", stream=stream)


@both
async def test_nobody_there(kind):
    error = await failing(make("http://127.0.0.1:9/v1", kind), r"No connection to .* http://127\.0\.0\.1:9")
    assert (error.status, error.is_retryable) == (None, True)
    health = await make("http://127.0.0.1:9/v1", kind).health_check()
    assert not health.ok


@pytest.mark.parametrize("how", ["cancel", "close"])
async def test_leaving_hangs_up(api, how: str):
    api.script = [[event(role="assistant", content=""), event(content="word"), HANG]]
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
    api.script = [answer("{}")]
    schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    one = make(api.url, max_tokens=50, options={"seed": 7})
    asked = {"stop": ["END"], "temperature": 0.5, "response_format": schema, "tool_choice": "any"}
    result = await whole(one, one.chat(PROMPT, tools=[TOOL], stream=stream, **asked))
    [request] = api.requests
    how = {"stream": True, "stream_options": {"include_usage": True}} if stream else {"stream": False}
    assert request == {
        **how,
        "model": "gpt-4.1-mini",
        "messages": [{"role": "user", "content": "hello"}],
        "max_completion_tokens": 50,
        "seed": 7,
        "stop": ["END"],
        "temperature": 0.5,
        "response_format": schema,
        "tools": [TOOL],
        "tool_choice": "required",
    }
    assert f"bearer {KEY}" in api.heads[0].lower()
    assert result.usage is not None
    assert (result.usage["input_tokens"], result.usage["output_tokens"]) == (9, 4)
    assert (result.model, result.provider, result.finish_reason) == ("gpt-4.1-mini", "openai", "stop")


async def test_vllm_gets_no_key_and_fields_of_its_own(api):
    api.script = [answer("a")]
    await make(api.url, VLLMProvider, model="o3", max_tokens=5, options={"top_k": 3}).complete(PROMPT)
    [request] = api.requests
    assert (request["max_tokens"], request["top_k"], request["temperature"]) == (5, 3, 0.0)
    assert "bearer empty" in api.heads[0].lower()


async def test_a_model_that_refuses_a_temperature_gets_none(api):
    api.script = [answer("a"), answer("a")]
    await make(api.url, model="o3").complete(PROMPT)
    await make(api.url, model="made-up").complete(PROMPT)
    assert [request.get("temperature") for request in api.requests] == [None, 0.0]


async def test_the_environment_does_not_redirect(api, monkeypatch):
    for name in ("OPENAI_PROXY", "OPENAI_BASE_URL", "OPENAI_API_BASE", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-environment")
    api.script = [answer("a")]
    await make(api.url).complete(PROMPT)
    assert f"bearer {KEY}" in api.heads[0].lower()


async def test_unknown_usage_stays_unknown(api):
    api.script = [[event(content="a"), event("length"), DONE]]
    result = await make(api.url).complete(PROMPT)
    assert result.usage is None
    assert result.finish_reason == "length"


async def test_structured_output_and_tools_through_the_gateway_model(api):
    api.script = [answer('{"name": "Ada",', ' "age": 36}'), TOOL_ANSWER]
    model = GatewayChatModel(provider=make(api.url))
    assert await model.with_structured_output(Person).ainvoke("who?") == Person(name="Ada", age=36)
    assert api.requests[0]["response_format"]["json_schema"]["strict"] is True
    message = await model.bind_tools([TOOL], tool_choice="get_weather").ainvoke("weather?")
    [made] = message.tool_calls
    assert (made["name"], made["args"], made["id"]) == ("get_weather", {"city": "Paris"}, "call_1")
    assert api.requests[1]["tool_choice"] == {"type": "function", "function": {"name": "get_weather"}}
    assert message.response_metadata["finish_reason"] == "tool_calls"


async def test_health_and_models(api):
    assert await make(api.url).list_models() == ["gpt-4.1-mini"]
    assert (await make(api.url).health_check()).ok
    missing = await make(api.url, model="gpt-4.1-mimi").health_check()
    assert "Did you mean gpt-4.1-mini?" in missing.detail
    info = await make(api.url).get_model_info()
    assert (info.context_tokens, info.native_tools, info.structured_output) == (1047576, True, "native")
    assert (await make(api.url, model="made-up").get_model_info()).context_tokens is None


def error_classes(root: type[Exception]) -> list[type[Exception]]:
    found = {root}
    for child in root.__subclasses__():
        found.update(error_classes(child))
    return sorted(found, key=lambda one: (one.__module__, one.__qualname__))


def instance(kind: type[Exception]) -> Exception:
    """An error of `kind`, made with what its constructor asks for."""
    status = getattr(kind, "status_code", 418)
    request = httpx2.Request("POST", "http://127.0.0.1/")
    response = httpx2.Response(status if isinstance(status, int) else 418, request=request)
    known = {"message": "because", "request": request, "response": response, "body": None}
    given = {}
    own = kind.__init__ is not Exception.__init__
    for name, parameter in inspect.signature(kind).parameters.items() if own else ():
        if name in known and (parameter.default is inspect.Parameter.empty or name == "message"):
            given[name] = known[name]
        elif parameter.default is inspect.Parameter.empty and parameter.kind is parameter.KEYWORD_ONLY:
            given[name] = [] if name.startswith("unsent") else type("Any", (), {"usage": None})()
    return kind(**given)


@pytest.mark.parametrize("kind", error_classes(openai.OpenAIError))
def test_every_error_of_the_sdk_is_mapped(kind: type[Exception]):
    one = make("http://127.0.0.1:9/v1")
    error = instance(kind)
    assert isinstance(error, one._errors)
    mapped = one._mapped(error)
    assert mapped.provider == "openai"
    status = getattr(error, "status_code", None)
    assert mapped.status == status
    waits = isinstance(error, openai.APIConnectionError) or status in (408, 409, 429)
    assert mapped.is_retryable == waits


def test_a_missing_key_names_the_variable():
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        OpenAIProvider(LLMConfig("openai"), ProviderContext(WeightsStore("unused")))


def test_keys_do_not_print():
    one = make("http://127.0.0.1:9/v1", options={"api_key": SecretStr("sk-other")})
    assert KEY not in repr(one.context)
    assert "sk-other" not in f"{one!r} {one.config!r}"
    assert one._key.get_secret_value() == "sk-other"


def test_options_that_would_break_the_stream_are_refused():
    with pytest.raises(ConfigurationError, match="n, stream cannot be set"):
        make("http://127.0.0.1:9/v1", options={"stream": False, "n": 2})


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "langchain_openai", None)
    with pytest.raises(MissingExtraError, match=r"langgraph-agentkit\[openai\]"):
        make("http://127.0.0.1:9/v1")


def test_works_from_several_loops_in_turn():
    one = make("http://127.0.0.1:9/v1")
    texts = {str(asyncio.run(failing(one, "No connection"))) for _ in range(3)}
    assert len(texts) == 1


def test_the_names_are_in_the_table():
    assert {"openai", "vllm", "anthropic"} <= set(PROVIDERS.names())


def real(llama: tuple[str, str], **config: Any) -> OpenAIProvider:
    url, key = llama
    options = {"base_url": url, "api_key": key}
    context = ProviderContext(WeightsStore("unused"))
    return OpenAIProvider(LLMConfig("openai", model="any-name", options=options, **config), context)


async def test_real_server_streams_with_usage(llama):
    chunks: list[AIMessageChunk] = [c async for c in real(llama, max_tokens=12).chat(PROMPT)]
    assert len([chunk for chunk in chunks if chunk.text]) > 1
    last = chunks[-1]
    assert last.usage_metadata is not None
    assert last.usage_metadata["input_tokens"] > 0
    assert 0 < last.usage_metadata["output_tokens"] <= 12
    assert last.response_metadata["finish_reason"] in ("stop", "length")


async def test_real_server_holds_to_a_schema(llama):
    model = GatewayChatModel(provider=real(llama, max_tokens=60))
    found = await model.with_structured_output(Person).ainvoke("Ada is 36 years old. Who is she?")
    assert isinstance(found, Person)


async def test_real_server_refuses_a_wrong_key(llama):
    with pytest.raises(ProviderError, match="OPENAI_API_KEY") as caught:
        await real((llama[0], "wrong")).complete(PROMPT)
    assert (caught.value.status, caught.value.is_retryable) == (401, False)


async def test_secrets_among_the_options_are_sent_and_never_repeated(api):
    token = "token-of-the-team"
    options = {"metadata": {"team": SecretStr(f"Bearer {token}"), "tags": ["a"]}}
    api.script = [(400, {}, {"error": {"message": f"no {token} here, nor Bearer {token}"}})]
    error = await failing(make(api.url, options=options), r"no \*\*\* here, nor \*\*\*")
    assert api.requests[0]["metadata"] == {"team": f"Bearer {token}", "tags": ["a"]}
    assert token not in str(error)
