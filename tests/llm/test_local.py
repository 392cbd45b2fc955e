"""The real embedded model: Qwen2.5 0.5B in llama.cpp, in this process."""

import asyncio
import subprocess
import sys
import textwrap
from pathlib import Path

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_tests.integration_tests import ChatModelIntegrationTests
from pydantic import BaseModel

from agentkit.errors import ProviderError
from agentkit.events import ModelCallFinished
from agentkit.llm import GatewayChatModel, LLMConfig, LLMGateway, LLMProvider, ProviderContext
from agentkit.llm.providers._llama_server import servers
from agentkit.llm.providers.local import LocalProvider
from agentkit.llm.translate import TranslatingProvider
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore

MODEL = "qwen2.5-coder-0.5b-instruct"
OPTIONS = {"threads": 1}


class Person(BaseModel):
    name: str
    age: int


def get_weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


@pytest.fixture(autouse=True)
def _keep_loaded(local_gateway: LLMGateway) -> None:
    """The session's gateway holds the server, so that a closed provider does not unload it."""
    from agentkit import portal

    portal.run(local_gateway.chat_model().provider.start)


class TestLocalContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _store(self, weights_store: WeightsStore):
        self.store = weights_store

    def make(self, purpose: str) -> LLMProvider:
        model = "/nowhere/model.gguf" if purpose == "fail" else MODEL
        config = LLMConfig("local", model=model, max_tokens=40, options=OPTIONS)
        # The model itself has no tools: the contract is kept by what the gateway makes of it.
        return TranslatingProvider(LocalProvider(config, ProviderContext(self.store)))


class TestStandardIntegration(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _gateway(self, local_gateway: LLMGateway):
        self.gateway = local_gateway

    @property
    def chat_model_params(self) -> dict:
        return {"provider": self.gateway.chat_model().provider}

    @pytest.fixture
    def model(self, local_gateway: LLMGateway) -> BaseChatModel:
        return local_gateway.chat_model()

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return GatewayChatModel

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return False  # a 0.5B model does not find the keys of a schema it is only told about in prose

    @property
    def supports_image_inputs(self) -> bool:
        return False  # a text model

    @property
    def supports_anthropic_inputs(self) -> bool:
        return False  # Anthropic's own content blocks are not a common format

    @property
    def supports_model_override(self) -> bool:
        return False  # a gateway model is one configured model; another is another name


async def test_structured_output_always_fits(local_gateway: LLMGateway):
    model = local_gateway.chat_model().with_structured_output(Person)
    assert await model.ainvoke("John is 33 years old.") == Person(name="John", age=33)


async def test_calls_a_tool_and_answers_from_its_result(local_gateway: LLMGateway):
    model = local_gateway.chat_model().bind_tools([get_weather])
    question = HumanMessage("What is the weather in Paris?")
    call = await model.ainvoke([question])
    assert [(c["name"], c["args"]) for c in call.tool_calls] == [("get_weather", {"city": "Paris"})]
    result = ToolMessage("sunny, 20 degrees", tool_call_id=call.tool_calls[0]["id"], name="get_weather")
    pieces = [chunk.text async for chunk in model.astream([question, call, result])]
    assert "sunny" in "".join(pieces)
    assert len([piece for piece in pieces if piece]) > 3  # the answer streams out of its JSON


async def test_tool_choice_is_obeyed(local_gateway: LLMGateway):
    model = local_gateway.chat_model()
    forced = await model.bind_tools([get_weather], tool_choice="any").ainvoke("Tell me about Rome.")
    assert forced.tool_calls[0]["name"] == "get_weather"
    none = await model.bind_tools([get_weather], tool_choice="none").ainvoke("Say hello.")
    assert none.text
    assert not none.tool_calls


async def test_the_bare_provider_says_that_it_makes_no_calls(local_gateway: LLMGateway):
    bare = local_gateway.chat_model().provider.unwrapped
    tool = {"type": "function", "function": {"name": "get_weather"}}
    with pytest.raises(ProviderError, match="makes no tool calls") as caught:
        await bare.complete([HumanMessage("hi")], tools=[tool])
    assert "tool_calls: json" in str(caught.value)


async def test_a_shared_prefix_is_not_computed_again(local_gateway: LLMGateway):
    model = local_gateway.chat_model().bind(max_tokens=4)
    long = "Remember: the blue door leads to the garden. " * 8
    await model.ainvoke([("system", long), ("human", "Which door?")])
    second = await model.ainvoke([("system", long), ("human", "What colour?")])
    assert second.usage_metadata["input_token_details"]["cache_read"] > 50


async def test_a_prompt_too_long_says_how_long_and_what_to_do(local_gateway: LLMGateway):
    with pytest.raises(ProviderError, match=r"too long for .*: \d+ tokens, the context holds 8192") as caught:
        await local_gateway.chat_model().ainvoke("word " * 9000)
    assert (caught.value.status, caught.value.is_retryable) == (400, False)
    assert "context_tokens" in str(caught.value)


async def test_cancelling_frees_the_model_for_the_next_call(local_gateway: LLMGateway, events):
    model = local_gateway.chat_model()
    stream = model.bind(max_tokens=4000).astream("Count from 1 to 1000 in words, one a line.")
    async for chunk in stream:
        if chunk.content:
            break
    await stream.aclose()
    async with asyncio.timeout(30):  # 4000 tokens would take minutes
        assert (await model.bind(max_tokens=4).ainvoke("Hi")).text
    finished = [event for event in events if isinstance(event, ModelCallFinished)]
    assert [event.status for event in finished] == ["cancelled", "ok"]


async def test_cancelling_while_the_prompt_is_read_frees_the_model_too(local_gateway: LLMGateway):
    model = local_gateway.chat_model()
    task = asyncio.create_task(model.ainvoke("one two three four five " * 1000))
    await asyncio.sleep(1)  # reading 5000 tokens takes a minute
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(40):
        assert (await model.bind(max_tokens=4).ainvoke("Hi")).text


async def test_concurrent_calls_all_answer(local_gateway: LLMGateway):
    model = local_gateway.chat_model().bind(max_tokens=5)
    answers = await asyncio.gather(*(model.ainvoke(f"Say the number {n}.") for n in range(4)))
    assert all(answer.text for answer in answers)


async def test_images_are_refused(local_gateway: LLMGateway):
    image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
    with pytest.raises(ProviderError, match="reads text only, not image"):
        await local_gateway.chat_model().ainvoke([HumanMessage([image])])


async def test_other_users_of_the_machine_are_kept_out(local_gateway: LLMGateway):
    server = local_gateway.chat_model().provider.unwrapped._server
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{server.url}/v1/chat/completions", json={"messages": []})
    assert answer.status_code == 401


async def test_one_server_serves_all_gateways(weights_store: WeightsStore, bus):
    small = LLMConfig("local", model="smollm2-135m-instruct", max_tokens=5, options=OPTIONS)
    one, two = (LLMGateway({"main": small}, events=bus, weights=weights_store) for _ in range(2))
    await asyncio.gather(one.chat_model().ainvoke("Hi"), two.chat_model().ainvoke("Hi"))
    first, second = (gateway.chat_model().provider.unwrapped._server for gateway in (one, two))
    assert first is second
    await one.aclose()
    assert (await two.chat_model().ainvoke("Hi")).text
    await two.aclose()
    assert first not in servers._running.values()
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"{first.url}/health")


async def test_a_file_that_is_not_a_model_is_a_provider_error(tmp_path: Path, weights_store: WeightsStore):
    path = tmp_path / "x.gguf"
    path.write_bytes(b"not a model")
    provider = LocalProvider(LLMConfig("local", model=str(path)), ProviderContext(weights_store))
    with pytest.raises(ProviderError, match=r"llama\.cpp cannot load .*x\.gguf"):
        await provider.complete([HumanMessage("hi")])


def run(program: str, weights: WeightsStore) -> subprocess.CompletedProcess[str]:
    head = f"""
        import asyncio, os, signal, sys, threading
        from pathlib import Path
        from agentkit.events import EventBus
        from agentkit.llm import LLMConfig, LLMGateway
        from agentkit.weights import WeightsStore
        config = LLMConfig("local", model="smollm2-135m-instruct", options={{"threads": 1}})
        store = WeightsStore(Path({str(weights.root)!r}))
        gateway = LLMGateway({{"main": config}}, events=EventBus(), weights=store)
        model = gateway.chat_model()
    """
    code = textwrap.dedent(head) + textwrap.dedent(program)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )


def test_the_process_ends_cleanly_and_quietly_without_closing(weights_store: WeightsStore):
    ended = run('print(len(model.invoke("Hi", max_tokens=4).text) > 0)', weights_store)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "True\n", "")


def test_the_process_ends_in_mid_stream(weights_store: WeightsStore):
    ended = run(
        """
        stream = model.stream("Tell me a long story.", max_tokens=2000)
        next(stream); next(stream)
        print("leaving")
        """,
        weights_store,
    )
    assert (ended.returncode, ended.stdout) == (0, "leaving\n")


def test_ctrl_c_interrupts_an_answer(weights_store: WeightsStore):
    ended = run(
        """
        try:
            for number, chunk in enumerate(model.stream("Tell me a long story.", max_tokens=2000)):
                if number == 3:
                    os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            print("interrupted")
        print(len(model.invoke("Hi", max_tokens=4).text) > 0)
        """,
        weights_store,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "interrupted\nTrue\n", "")


def test_a_server_let_go_the_moment_it_is_there_ends(weights_store: WeightsStore):
    """A turn cancelled while the model loads: llama.cpp forgets an order to end given too early."""
    ended = run(
        """
        from agentkit.llm.providers._llama_server import ServerSpec, servers
        spec = ServerSpec(store.ensure("smollm2-135m-instruct").file("model.gguf"), 2048, 1)
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # threads that get in each other's way
        for owner in range(20):
            servers.acquire(spec, owner)
            servers.release(owner)
        print("ended")
        """,
        weights_store,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "ended\n", "")


async def test_missing_weights_are_fetched_with_progress(
    tmp_path: Path, weights_store: WeightsStore, bus, monkeypatch
):
    """The provider passes the progress callback on; the store's own tests fetch for real."""
    seen = []
    installed = weights_store.ensure("smollm2-135m-instruct")

    def ensure(name, progress=None, *, stop=None):
        progress(name, 1, 2)
        return installed

    store = WeightsStore(tmp_path)
    monkeypatch.setattr(store, "ensure", ensure)
    config = LLMConfig("local", model="smollm2-135m-instruct", max_tokens=4, options=OPTIONS)
    gateway = LLMGateway(
        {"main": config}, events=bus, weights=store, progress=lambda *args: seen.append(args)
    )
    assert isinstance(await gateway.chat_model().ainvoke("Hi"), AIMessage)
    assert seen == [("smollm2-135m-instruct", 1, 2)]
    await gateway.aclose()
