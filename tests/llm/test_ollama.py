import asyncio

import pytest
from langchain_core.messages import HumanMessage

from agentkit.errors import ProviderError
from agentkit.llm import LLMConfig, LLMProvider, ProviderContext
from agentkit.llm.providers.ollama import OllamaProvider
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore

from .upstream import HANG

PROMPT = [HumanMessage("hello")]
CALL = {"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}


def provider(url: str, **config) -> OllamaProvider:
    return OllamaProvider(
        LLMConfig("ollama", **config), ProviderContext(WeightsStore("unused"), ollama_base_url=url)
    )


class TestOllamaContract(ProviderContract):
    @pytest.fixture(autouse=True)
    def _server(self, ollama):
        self.server = ollama

    def make(self, purpose: str) -> LLMProvider:
        if purpose == "tool":
            self.server.script = [
                [self.server.say("", tool_calls=[CALL]), self.server.done(prompt_eval_count=9, eval_count=4)]
            ]
        elif purpose == "fail":
            self.server.script = [(500, {"error": "out of memory"})]
        else:
            counts = {"prompt_eval_count": 9, "eval_count": 2}
            self.server.script = [
                [self.server.say("Hello"), self.server.say(" there."), self.server.done(**counts)]
            ]
        return provider(self.server.url)


async def test_the_request_carries_model_options_and_format(ollama):
    ollama.script = [[ollama.say("{}"), ollama.done()]]
    one = provider(ollama.url, max_tokens=50, options={"context_tokens": 4096, "seed": 7, "keep_alive": "5m"})
    response_format = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}}
    answer = await one.complete(PROMPT, stop=["END"], temperature=0.5, response_format=response_format)
    [request] = ollama.requests
    assert request["options"] == {
        "num_ctx": 4096,
        "seed": 7,
        "temperature": 0.5,
        "num_predict": 50,
        "stop": ["END"],
    }
    assert request["format"] == {"type": "object"}
    assert request["keep_alive"] == "5m"
    assert request["messages"] == [{"role": "user", "content": "hello"}]
    assert answer.usage is None  # Ollama left the counts out: unknown, not 0


async def test_a_model_that_is_not_pulled_names_the_command(ollama):
    with pytest.raises(ProviderError, match=r"has no model llama9:latest") as caught:
        await provider(ollama.url, model="llama9").complete(PROMPT)
    assert "ollama pull llama9" in str(caught.value)
    assert (caught.value.status, caught.value.is_retryable) == (404, False)


async def test_ollama_not_running_names_the_command():
    with pytest.raises(ProviderError, match=r"does not answer at http://127\.0\.0\.1:9") as caught:
        await provider("http://127.0.0.1:9").complete(PROMPT)
    assert "ollama serve" in str(caught.value)
    assert caught.value.is_retryable
    health = await provider("http://127.0.0.1:9").health_check()
    assert not health.ok
    assert "ollama serve" in health.detail


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (429, True), (500, True), (503, True)]
)
async def test_statuses_are_mapped(ollama, status: int, retryable: bool):
    ollama.script = [(status, {"error": "because"})]
    with pytest.raises(ProviderError, match="because") as caught:
        await provider(ollama.url).complete(PROMPT)
    assert (caught.value.status, caught.value.is_retryable) == (status, retryable)


async def test_an_error_inside_the_stream_is_raised_after_the_text(ollama):
    ollama.script = [[ollama.say("half"), {"error": "model crashed"}]]
    seen = []
    with pytest.raises(ProviderError, match="model crashed"):
        async for chunk in provider(ollama.url).chat(PROMPT):
            seen.append(chunk.content)  # noqa: PERF401 - the loop raises
    assert seen == ["half"]


async def test_cancelling_hangs_up_so_that_ollama_stops_generating(ollama):
    ollama.script = [[ollama.say("word"), HANG]]
    started = asyncio.Event()

    async def read():
        async for _ in provider(ollama.url).chat(PROMPT):
            started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        await ollama.disconnected.wait()


async def test_describes_its_model(ollama):
    info = await provider(ollama.url).get_model_info()
    assert (info.context_tokens, info.native_tools, info.structured_output) == (40960, True, "native")
    assert await provider(ollama.url).list_models() == ["qwen3:8b"]
    assert (await provider(ollama.url).health_check()).ok
    missing = await provider(ollama.url, model="other").health_check()
    assert not missing.ok
    assert "ollama pull other:latest" in missing.detail


def test_works_from_several_loops_in_turn():
    async def ask() -> str:
        async with asyncio.timeout(20):
            try:
                await one.complete(PROMPT)
            except ProviderError as error:
                return str(error)
        raise AssertionError

    one = provider("http://127.0.0.1:9")
    assert asyncio.run(ask()) == asyncio.run(ask())


@pytest.mark.parametrize(
    ("name", "full"), [(None, "qwen3:8b"), ("a", "a:latest"), ("a:b", "a:b"), ("h:1/u/a", "h:1/u/a:latest")]
)
def test_a_name_without_tag_means_latest(name: str | None, full: str):
    assert provider("http://127.0.0.1:9", model=name).model == full
