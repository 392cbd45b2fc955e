"""Any LangChain chat model as a provider: real ones, and models as users write them."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from agentkit import portal
from agentkit.errors import ConfigurationError, ProviderError
from agentkit.events import EventBus
from agentkit.llm import GatewayChatModel, LLMConfig, LLMGateway, LLMProvider, ProviderContext
from agentkit.llm.providers.langchain import LangChainProvider
from agentkit.llm.providers.local import LocalProvider
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore

from . import foreign_models

HERE = foreign_models.__name__
PROMPT = [HumanMessage("hello")]
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
KEY = "sk-secret-of-the-test"


class City(BaseModel):
    city: str


@pytest.fixture(scope="module")
def llama(weights_store: WeightsStore) -> Iterator[dict[str, Any]]:
    """A real OpenAI-compatible server: what ChatOpenAI needs to use it."""
    options = {"threads": 1, "context_tokens": 2048}
    config = LLMConfig("local", model="smollm2-135m-instruct", options=options)
    local = LocalProvider(config, ProviderContext(weights_store))
    portal.run(local.start)
    # Its own client: LangChain's is shared by all event loops of the process and kept alive.
    http = openai.DefaultAsyncHttpxClient(limits=httpx2.Limits(max_keepalive_connections=0))
    yield {
        "base_url": f"{local._server.url}/v1",
        "api_key": local._server.api_key,
        "stream_usage": True,
        "http_async_client": http,
    }
    portal.run(local.aclose)


def make(use: str, *allowed: str, **config: Any) -> LangChainProvider:
    """A provider of a model of `foreign_models`, or, with `allowed`, of any."""
    use = use if allowed else f"{HERE}:{use}"
    one = LLMConfig("langchain", use=use, allowed_modules=allowed or (HERE,), **config)
    return LangChainProvider(one, ProviderContext(WeightsStore("unused")))


def chat_openai(llama: dict[str, Any], **config: Any) -> LangChainProvider:
    config = {"model": "served", "max_tokens": 12, "options": llama} | config
    return make("langchain_openai:ChatOpenAI", "langchain_openai", **config)


class TestChatOpenAIContract(ProviderContract):
    """ChatOpenAI on a real server. The small model calls no tools of its own accord."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: dict[str, Any]) -> None:
        self.llama = llama

    def make(self, purpose: str) -> LLMProvider:
        if purpose == "fail":
            return chat_openai(self.llama | {"api_key": "wrong"})
        if purpose == "tool":
            return make("Tools")
        return chat_openai(self.llama)


class TestFakeModelContract(ProviderContract):
    """LangChain's own fake: streams from a generator, in a thread."""

    def make(self, purpose: str) -> LLMProvider:
        if purpose == "fail":
            return make("Whole", options={"error": RuntimeError("no")})
        if purpose == "tool":
            return make("Tools")
        return make(
            "langchain_core.language_models.fake_chat_models:GenericFakeChatModel",
            "langchain_core",
            options={"messages": foreign_models.endless_talk()},
        )


async def test_a_real_model_streams_with_usage_and_a_reason(llama):
    chunks = [chunk async for chunk in chat_openai(llama).chat(PROMPT)]
    assert len(chunks) > 2
    assert 0 < chunks[-1].usage_metadata["output_tokens"] <= 12
    assert chunks[-1].response_metadata["finish_reason"] in ("stop", "length")


async def test_a_real_model_is_held_to_a_schema_by_its_own_means(llama):
    provider = chat_openai(llama, max_tokens=40)
    assert (await provider.get_model_info()).structured_output == "native"
    model = GatewayChatModel(provider=provider)
    assert isinstance(await model.with_structured_output(City).ainvoke("I live in Paris."), City)


async def test_a_real_server_that_refuses_the_key(llama):
    with pytest.raises(ProviderError) as caught:
        await chat_openai(llama | {"api_key": KEY}).complete(PROMPT)
    assert (caught.value.status, caught.value.is_retryable) == (401, False)
    assert KEY not in str(caught.value)


async def test_a_server_that_is_not_there_is_worth_another_attempt(llama):
    with pytest.raises(ProviderError, match="Connection error") as caught:
        await chat_openai(llama | {"base_url": "http://127.0.0.1:9/v1"}).complete(PROMPT)
    assert (caught.value.status, caught.value.is_retryable) == (None, True)


def test_each_event_loop_has_its_own_model():
    texts = iter(["one", "two"])
    made = []
    provider = make("talker", options={"texts": texts})
    build = provider._build
    provider._build = lambda: made.append(1) or build()
    for expected in ("one", "two"):
        assert asyncio.run(provider.complete(PROMPT)).text == expected
    assert made == [1]  # the first loop took the one that was made at the start


async def test_tokens_are_reported_once_and_by_one_run():
    class Counts(AsyncCallbackHandler):
        def __init__(self) -> None:
            self.runs: list[Any] = []
            self.tokens: list[str] = []

        async def on_chat_model_start(self, *_: Any, **__: Any) -> None:
            self.runs.append(1)

        async def on_llm_new_token(self, token: str, **_: Any) -> None:
            self.tokens.append(token)

    counts = Counts()
    model = GatewayChatModel(provider=make("talker", options={"texts": iter(["a b c"])}))
    async for _ in model.astream("hello", config={"callbacks": [counts]}):
        pass
    assert (len(counts.runs), "".join(counts.tokens)) == (1, "a b c")


async def test_a_model_that_only_answers_as_a_whole():
    provider = make("Whole", model=None, max_tokens=7, temperature=0.3)
    one, last = [chunk async for chunk in provider.chat(PROMPT)]
    assert (one.text, last.response_metadata["finish_reason"]) == ("Hello there.", "stop")
    assert last.usage_metadata["total_tokens"] == 5
    info = await provider.get_model_info()
    assert (info.native_tools, info.structured_output) == (False, "none")
    model = provider._models.get()
    assert (model.temperature, model.num_predict, model.max_retries) == (0.3, 7, 0)


async def test_a_call_may_want_it_otherwise():
    provider = make("Whole")
    await provider.complete(PROMPT, temperature=0.9, max_tokens=3)
    await provider.complete(PROMPT)
    assert [seen[:2] for seen in provider._models.get().seen] == [(0.9, 3), (0.0, None)]


async def test_an_option_that_is_null_leaves_the_argument_out():
    provider = make("Whole", options={"temperature": None})
    assert provider._models.get().temperature == 1.0


async def test_tools_are_bound_by_the_model_itself():
    provider = make("Tools")
    assert (await provider.get_model_info()).native_tools
    answer = await provider.complete(PROMPT, tools=[TOOL], tool_choice="any")
    assert [call["args"] for call in answer.message.tool_calls] == [{"city": "Paris"}]
    assert not (await provider.complete(PROMPT, tools=[TOOL], tool_choice="none")).message.tool_calls
    with pytest.raises(ProviderError, match="tool_calls to json"):
        await make("Whole").complete(PROMPT, tools=[TOOL])


def broken(**attributes: Any) -> Exception:
    return foreign_models.Broken("no", **attributes)


class _Response:
    def __init__(self, status: int, **headers: str) -> None:
        self.status_code = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (broken(status_code=429, response=_Response(429, retry_after="7")), (429, 7.0, True)),
        (broken(response=_Response(503)), (503, None, True)),
        (broken(http_status=401), (401, None, False)),
        (broken(code=400), (400, None, False)),
        (
            broken(
                response={"ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": "2"}}}
            ),
            (429, 2.0, True),
        ),
        (broken(code="invalid", status="FAILED"), (None, None, False)),
        (foreign_models.ReadTimeout(), (None, None, True)),
        (TimeoutError(), (None, None, True)),
        (ConnectionResetError("reset"), (None, None, True)),
        (FileNotFoundError("a.gguf"), (None, None, False)),
        (ValueError("no"), (None, None, False)),
        (KeyError(), (None, None, False)),
    ],
)
async def test_errors_are_read_by_what_they_carry(error: Exception, expected: tuple[Any, ...]):
    with pytest.raises(ProviderError, match=type(error).__name__) as caught:
        await make("Whole", options={"error": error}).complete(PROMPT)
    mapped = caught.value
    assert (mapped.status, mapped.retry_after, mapped.is_retryable) == expected
    assert mapped.provider == "langchain"


async def test_the_cause_of_an_error_counts():
    error = broken()
    error.__cause__ = broken(status_code=500)
    with pytest.raises(ProviderError) as caught:
        await make("Whole", options={"error": error}).complete(PROMPT)
    assert (caught.value.status, caught.value.is_retryable) == (500, True)


async def test_a_pause_of_the_graph_is_no_error():
    with pytest.raises(foreign_models.GraphBubbleUp):
        provider = make("Whole", options={"error": foreign_models.GraphBubbleUp()})
        await provider.complete(PROMPT)


async def test_cancelling_reaches_the_model():
    cancelled = asyncio.Event()
    provider = make("Endless", options={"cancelled": cancelled})
    task = asyncio.create_task(provider.complete(PROMPT))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    [outcome] = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(outcome, asyncio.CancelledError)
    assert cancelled.is_set()


def test_a_module_that_is_not_allowed_is_never_imported():
    sys.modules.pop("antigravity", None)
    with pytest.raises(ConfigurationError, match=r"not under security\.allowed_modules. Allowed: mine, that"):
        make("antigravity:geohash", "mine", "that")
    with pytest.raises(ConfigurationError, match="not under"):
        make("antigravity:geohash", "anti")
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    ("use", "config", "says"),
    [
        ("NOT_A_MODEL", {}, "neither a chat model nor a function"),
        ("wrong", {}, "made a str, which is no LangChain chat model"),
        ("wrong", {"options": {"x": 1}}, "could not make a model: TypeError"),
        ("wrong", {"model": "a"}, "takes no argument 'model'"),
        ("TALKER", {"model": "a"}, "is a model already"),
        ("MISSING", {}, "The model '.*:MISSING' cannot be imported"),
        ("Whole", {"options": {"temperature": "hot"}}, "could not make a model"),
    ],
)
def test_mistakes_show_before_the_first_call(use: str, config: dict[str, Any], says: str):
    with pytest.raises(ConfigurationError, match=says):
        make(use, **config)


def test_use_is_needed():
    with pytest.raises(ConfigurationError, match="needs 'use'"):
        LangChainProvider(LLMConfig("langchain"), ProviderContext(WeightsStore("unused")))


async def test_a_model_that_is_one_already():
    provider = make("TALKER")
    assert (provider.model, (await provider.complete(PROMPT)).text) == (
        "GenericFakeChatModel",
        "Hello there, how are you?",
    )


async def test_the_gateway_keeps_breakers_of_different_models_apart():
    one = {"provider": "langchain", "allowed_modules": (HERE,)}
    models = {name: LLMConfig(use=f"{HERE}:{name}", **one) for name in ("Whole", "Tools")}
    gateway = LLMGateway(models, events=EventBus(), weights=WeightsStore("unused"))
    for name in models:
        assert (await gateway.chat_model(name).ainvoke("hello")).text == "Hello there."
    assert len(gateway._breakers) == 2
    await gateway.aclose()
