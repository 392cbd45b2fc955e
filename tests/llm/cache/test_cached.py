"""Models with a cache: what is given again, what never is, and a cache that fails."""

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.load import dumps, loads
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import BaseModel

from agentkit.errors import ConfigurationError, ProviderError, StreamInterruptedError
from agentkit.events import CacheLooked, Event, EventBus, ModelCallFinished
from agentkit.llm import LLMConfig, LLMGateway, MemoryCache
from agentkit.llm.cache.answers import LLM_STRING, AnswerCache
from agentkit.llm.cache.provider import CachedProvider
from agentkit.llm.policies import Price, RetryPolicy
from agentkit.llm.providers.scripted import Script, Step, ToolUse
from agentkit.services.usage import UsageCounter
from agentkit.weights import WeightsStore

from ..resilience.helpers import Flaky, recorded, text, unavailable

CONFIG = LLMConfig("scripted", cache=60)
PRICE = Price(1000, 1000)
TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "d", "parameters": {"type": "object"}},
}


def outcomes(seen: Sequence[Event]) -> list[str]:
    return [event.outcome for event in seen if isinstance(event, CacheLooked)]


class Bench:
    """A gateway over a real HTTP upstream, and what it reported."""

    def __init__(self, ollama: Any, cache: Any = None, **config: Any) -> None:
        self.events, self.seen = recorded()
        self.ollama = ollama
        config = {"cache": 60.0, "price": PRICE, **config}
        self.gateway = LLMGateway(
            {"main": LLMConfig("ollama", model="qwen3:8b", **config)},
            events=self.events,
            weights=WeightsStore("unused"),
            ollama_base_url=ollama.url,
            cache=cache or MemoryCache(),
        )
        self.model = self.gateway.chat_model()

    def will_say(self, *parts: Any) -> None:
        said = [self.ollama.say(part) if isinstance(part, str) else part for part in parts]
        self.ollama.script.append([*said, self.ollama.done(prompt_eval_count=7, eval_count=3)])

    @property
    def outcomes(self) -> list[str]:
        return outcomes(self.seen)

    @property
    def calls(self) -> list[ModelCallFinished]:
        return [event for event in self.seen if isinstance(event, ModelCallFinished)]


async def test_the_second_answer_costs_no_request_no_token_and_no_money(ollama):
    bench = Bench(ollama)
    bench.will_say("Hé", "llo ✓")
    first = await bench.model.ainvoke("hi")
    second = await bench.model.ainvoke("hi")
    assert first.text == second.text == "Héllo ✓"
    assert len(ollama.requests) == 1
    assert bench.outcomes == ["miss", "hit"]
    assert first.response_metadata["cost_usd"] > 0
    assert "cached" not in first.response_metadata
    assert second.response_metadata["cached"] is True
    assert second.response_metadata["cost_usd"] == 0.0
    assert second.response_metadata["model_name"] == "qwen3:8b"
    assert second.usage_metadata == {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    assert second.response_metadata["cached_usage"]["input_tokens"] == 7
    assert first.id != second.id
    paid, free = bench.calls
    assert (paid.cached, paid.input_tokens, free.cached, free.input_tokens) == (False, 7, True, 0)
    assert (free.status, free.provider, free.cost_usd) == ("ok", "ollama", 0.0)


async def test_streamed_and_whole_answers_are_the_same_answer(ollama):
    bench = Bench(ollama)
    bench.will_say("One ", "two ", "three.")
    chunks = [chunk async for chunk in bench.model.astream("count")]
    assert "".join(chunk.text for chunk in chunks) == "One two three."
    again = [chunk async for chunk in bench.model.astream("count")]
    assert [chunk.text for chunk in again] == ["One two three.", ""]
    assert again[-1].chunk_position == "last"
    assert again[-1].response_metadata["cached"] is True
    assert (await bench.model.ainvoke("count")).text == "One two three."
    assert bench.model.invoke("count").text == "One two three."  # on another loop
    assert len(ollama.requests) == 1
    assert bench.outcomes == ["miss", "hit", "hit", "hit"]
    assert bench.calls[1].time_to_first_token is not None


async def test_tool_calls_are_given_again_and_merge_as_streamed_ones(ollama):
    bench = Bench(ollama)
    calls = [{"function": {"name": "look", "arguments": {"q": name, "n": {"x": [1]}}}} for name in ("ä", "b")]
    bench.will_say(ollama.say("", tool_calls=calls))
    model = bench.model.bind_tools([TOOL])
    first = await model.ainvoke("look twice")
    second = await model.ainvoke("look twice")
    assert [call["args"]["q"] for call in second.tool_calls] == ["ä", "b"]
    assert second.tool_calls == first.tool_calls
    streamed = None
    async for chunk in model.astream("look twice"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed is not None
    assert streamed.tool_calls == first.tool_calls
    assert streamed.response_metadata["finish_reason"] == "tool_calls"
    assert len(ollama.requests) == 1


class Point(BaseModel):
    x: int


async def test_structured_output_is_given_again_and_parsed_again(ollama):
    bench = Bench(ollama)
    bench.will_say('{"x": ', "4}")
    bench.will_say("elsewhere")
    model = bench.model.with_structured_output(Point)
    assert await model.ainvoke("where") == Point(x=4) == await model.ainvoke("where")
    assert (await bench.model.ainvoke("where")).text == "elsewhere"  # no schema: another request
    assert len(ollama.requests) == 2


async def test_a_hit_can_be_changed_by_whoever_gets_it(ollama):
    bench = Bench(ollama)
    calls = [{"function": {"name": "look", "arguments": {"q": ["a"]}}}]
    bench.will_say(ollama.say("", tool_calls=calls))
    model = bench.model.bind_tools([TOOL])
    for _ in range(3):
        answer = await model.ainvoke("look")
        assert answer.tool_calls[0]["args"] == {"q": ["a"]}
        assert "mine" not in answer.response_metadata
        answer.tool_calls[0]["args"]["q"].append("b")
        answer.response_metadata["mine"] = True
        answer.content = "changed"
    assert bench.outcomes == ["miss", "hit", "hit"]


@pytest.mark.parametrize("stream", [True, False])
async def test_whoever_reads_may_write_into_what_it_reads(stream: bool):
    blocks = [{"type": "text", "text": "words"}]
    provider, seen = cached(Ending(ending("stop", content=blocks, additional_kwargs={"a": ["b"]})))
    for _ in range(3):
        read = []
        async for chunk in provider.chat([], stream=stream):
            read.append(chunk.model_copy(deep=True))
            if isinstance(chunk.content, list):
                chunk.content.append("more")
                chunk.additional_kwargs["a"].append("c")
            chunk.response_metadata["finish_reason"] = "length"
            chunk.content, chunk.response_metadata = "changed", {}
        whole = read[0].__add__(read[1:])
        assert whole.content == blocks
        assert whole.additional_kwargs == {"a": ["b"]}
        assert whole.response_metadata["finish_reason"] == "stop"
    assert outcomes(seen) == ["miss", "hit", "hit"]


async def test_a_turn_with_a_hit_still_knows_what_it_used(ollama):
    bench = Bench(ollama)
    bench.will_say("yes")
    for expected in (10, 0):
        counter = UsageCounter()
        await bench.model.ainvoke("hi", config={"callbacks": [counter]})
        usage = counter.usage
        assert (usage.input_tokens or 0) + (usage.output_tokens or 0) == expected
        assert usage.cost_usd == pytest.approx(expected * 0.001)


async def test_without_cache_nothing_is_kept_and_nothing_reported(ollama):
    bench = Bench(ollama, cache=InMemoryCache())
    model = bench.gateway.chat_model(LLMConfig("ollama", model="qwen3:8b"))
    bench.will_say("a")
    bench.will_say("b")
    assert [(await model.ainvoke("hi")).text for _ in range(2)] == ["a", "b"]
    assert bench.outcomes == []


def test_a_model_that_keeps_answers_needs_a_gateway_that_can():
    gateway = LLMGateway(
        {"main": LLMConfig("scripted", model="m", cache=1)}, events=EventBus(), weights=WeightsStore("unused")
    )
    with pytest.raises(ConfigurationError, match=r"'m' keeps its answers.*\n.*LLMGateway\(cache="):
        gateway.chat_model()


def cached(inner: Flaky, cache: BaseCache | None = None, **more: Any) -> tuple[CachedProvider, list[Event]]:
    bus, seen = recorded()
    answers = AnswerCache(cache or MemoryCache(), **more)
    return CachedProvider(inner, answers, CONFIG, events=bus), seen


def ending(reason: str | None, *, content: Any = "words", **more: Any) -> list[Any]:
    metadata = {"model_name": "m", "model_provider": "p", "finish_reason": reason}
    return [AIMessageChunk(content=content, response_metadata=metadata, chunk_position="last", **more)]


class Ending(Flaky):
    """Says exactly its chunks; `Flaky` adds a last one of its own."""

    async def chat(self, messages, **options):
        self.attempts += 1
        for chunk in self.plans[0]:
            yield chunk.model_copy(deep=True)


CUT = [{"name": "look", "args": '{"q": ', "id": "1", "index": 0, "type": "tool_call_chunk"}]


@pytest.mark.parametrize(
    "plan",
    [
        ending("length"), ending("content_filter"), ending(None), ending("stop", content=" \n"),
        ending("stop", content="", additional_kwargs={"reasoning_content": "hm"}),
        ending("tool_calls", tool_call_chunks=CUT),
    ],
    ids=["length", "filtered", "no reason", "blank", "only reasoning", "half a tool call"],
)  # fmt: skip
async def test_an_answer_that_is_not_whole_is_not_kept(plan):
    inner = Ending(plan)
    provider, seen = cached(inner)
    for _ in range(2):
        await text(provider)
    assert (inner.attempts, outcomes(seen)) == (2, ["miss", "miss"])


async def test_json_that_cannot_be_read_is_not_kept():
    inner = Flaky(['{"x": '], ['{"x": 1}'])
    provider, seen = cached(inner)
    asked = {"response_format": {"type": "json_object"}}
    said = ["".join([chunk.text async for chunk in provider.chat([], **asked)]) for _ in range(3)]
    assert said == ['{"x": ', '{"x": 1}', '{"x": 1}']
    assert outcomes(seen) == ["miss", "miss", "hit"]


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "STOP"])
async def test_a_whole_answer_is_kept(reason: str):
    inner = Ending(ending(reason))
    provider, seen = cached(inner)
    assert [await text(provider) for _ in range(2)] == ["words", "words"]
    assert (inner.attempts, outcomes(seen)) == (1, ["miss", "hit"])


async def test_what_json_cannot_say_is_left_out_of_a_kept_answer():
    plan = ending("stop", additional_kwargs={"parsed": object(), "refusal": None})
    plan[0].response_metadata["raw"] = object()
    provider, _ = cached(Ending(plan))
    await text(provider)
    (hit,) = [chunk async for chunk in provider.chat([], stream=False)]
    assert "raw" not in hit.response_metadata
    assert hit.additional_kwargs == {"refusal": None}


@pytest.mark.parametrize(
    ("plan", "error"), [([unavailable()], ProviderError), (["half", unavailable()], Exception)]
)
async def test_a_failed_answer_is_not_kept(plan, error):
    inner = Flaky(plan, ["fine"])
    provider, seen = cached(inner)
    with pytest.raises(error):
        await text(provider)
    assert [await text(provider), await text(provider)] == ["fine", "fine"]
    assert (inner.attempts, outcomes(seen)) == (2, ["miss", "miss", "hit"])


async def test_a_cancelled_or_abandoned_answer_is_not_kept():
    inner = Flaky(["half", 3600.0], ["half", " done"], ["half", " done"])
    provider, seen = cached(inner)
    started = asyncio.Event()

    async def read() -> None:
        async for _ in provider.chat([]):
            started.set()

    reading = asyncio.create_task(read())
    await started.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    stream = provider.chat([])
    await anext(stream)
    await stream.aclose()
    assert await text(provider) == "half done" == await text(provider)
    assert (inner.attempts, inner.closed, outcomes(seen)) == (3, 3, ["miss", "miss", "miss", "hit"])


async def test_what_a_fallback_said_is_not_kept(ollama):
    bench = Bench(
        ollama,
        retry=RetryPolicy(attempts=1),
        fallbacks=(LLMConfig("scripted", options={"replies": ["from the fallback"]}),),
    )
    ollama.script.append((503, {"error": "overloaded"}))
    bench.will_say("from the model")
    answers = [await bench.model.ainvoke("hi") for _ in range(3)]
    assert [answer.text for answer in answers] == ["from the fallback", "from the model", "from the model"]
    assert bench.outcomes == ["miss", "miss", "hit"]
    assert [call.provider for call in bench.calls] == ["scripted", "ollama", "ollama"]
    assert [call.cached for call in bench.calls] == [False, False, True]


async def test_a_stream_cut_by_the_server_is_not_kept(ollama):
    bench = Bench(ollama, retry=RetryPolicy(attempts=1))
    ollama.script.append([ollama.say("half"), {"error": "out of memory"}])
    bench.will_say("whole")
    with pytest.raises(StreamInterruptedError):
        _ = [chunk async for chunk in bench.model.astream("hi")]
    assert [(await bench.model.ainvoke("hi")).text for _ in range(2)] == ["whole", "whole"]
    assert bench.outcomes == ["miss", "miss", "hit"]


async def test_an_answer_is_given_for_so_many_seconds():
    now = [1000.0]
    inner = Flaky(["old"], ["new"])
    provider, seen = cached(inner, InMemoryCache(), clock=lambda: now[0])
    said = []
    for seconds in (0, 59.9, 0.2, 1):
        now[0] += seconds
        said.append(await text(provider))
    assert said == ["old", "old", "new", "new"]
    assert outcomes(seen) == ["miss", "hit", "miss", "hit"]


async def test_equal_calls_at_once_are_all_made_and_later_ones_none():
    inner = Flaky(["a", 0.01, "b"])
    provider, seen = cached(inner)
    assert set(await asyncio.gather(*(text(provider) for _ in range(20)))) == {"ab"}
    assert inner.attempts == 20
    assert await text(provider) == "ab"
    assert (inner.attempts, outcomes(seen)) == (20, ["miss"] * 20 + ["hit"])


async def test_a_request_that_cannot_be_compared_is_made_and_said_once(caplog):
    inner = Flaky(["a"])
    provider, seen = cached(inner)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert [chunk async for chunk in provider.chat([], parser=object())]
    assert (inner.attempts, outcomes(seen)) == (2, [])
    assert caplog.text.count("an option of the request holds a object is no plain data") == 1


class Failing(BaseCache):
    """A cache that does as it is told: `trouble` is raised, hung on, or called."""

    def __init__(self) -> None:
        self.entered, self.cancelled = asyncio.Event(), asyncio.Event()
        self.trouble: Any = None
        self.inner = InMemoryCache()
        self.asked = 0
        self.deaf = asyncio.Event()

    async def _suffer(self) -> None:
        self.asked += 1
        self.entered.set()
        if isinstance(self.trouble, BaseException):
            raise self.trouble
        if self.trouble == "hang":
            try:
                await asyncio.sleep(3600)
            finally:
                self.cancelled.set()
        if self.trouble == "deaf":  # as a driver that first wants to hear the server's goodbye
            while not self.deaf.is_set():
                try:
                    await self.deaf.wait()
                except asyncio.CancelledError:
                    continue

    async def alookup(self, prompt, llm_string):
        await self._suffer()
        return await self.inner.alookup(prompt, llm_string)

    async def aupdate(self, prompt, llm_string, return_val):
        await self._suffer()
        await self.inner.aupdate(prompt, llm_string, return_val)

    def lookup(self, prompt, llm_string):
        raise NotImplementedError

    def update(self, prompt, llm_string, return_val):
        raise NotImplementedError

    def clear(self, **kwargs):
        self.inner.clear()


@pytest.mark.parametrize("trouble", [ConnectionError("gone"), "hang", "deaf"])
async def test_a_cache_in_trouble_is_left_alone_warned_of_once_and_used_again(trouble, caplog):
    cache = Failing()
    cache.trouble = trouble
    inner = Flaky(["answer"])
    provider, seen = cached(inner, cache, patience=0.01, left_alone=0.2)
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(30):
            for _ in range(4):
                assert await text(provider) == "answer"
        assert inner.attempts == 4
        assert cache.asked == 3  # then it is left alone
        assert set(outcomes(seen)) == {"error"}
        assert caplog.text.count("The response cache is of no use") == 1
        cache.trouble = None
        cache.deaf.set()
        await asyncio.sleep(0.25)
        seen.clear()
        assert [await text(provider), await text(provider)] == ["answer", "answer"]
    # A write that was not waited for may have gone through meanwhile: the first look may be a hit.
    assert outcomes(seen) in (["miss", "hit"], ["hit", "hit"])
    assert caplog.text.count("The response cache works again") == 1


async def test_a_cache_that_answers_others_is_not_away():
    class OneByOne(InMemoryCache):
        turn = asyncio.Lock()

        async def alookup(self, prompt, llm_string):
            async with self.turn:
                await asyncio.sleep(0.05)
                return self.lookup(prompt, llm_string)

    inner = Flaky(["answer"])
    provider, seen = cached(inner, OneByOne(), patience=0.5)
    await asyncio.gather(*(text(provider) for _ in range(20)))  # the last waits a whole second
    assert len(outcomes(seen)) == 20
    assert "error" not in outcomes(seen)


async def test_a_busy_loop_of_our_own_is_no_slow_cache():
    class Elsewhere(InMemoryCache):
        async def alookup(self, prompt, llm_string):
            asyncio.get_running_loop().call_soon(time.sleep, 0.1)  # somebody's synchronous work
            return await asyncio.to_thread(self.lookup, prompt, llm_string)

    provider, seen = cached(Flaky(["answer"]), Elsewhere(), patience=0.05)
    assert [await text(provider), await text(provider)] == ["answer", "answer"]
    assert outcomes(seen) == ["miss", "hit"]


async def test_a_write_that_fails_is_an_error_and_the_answer_arrived():
    cache = Failing()
    inner = Flaky(["answer"])
    provider, seen = cached(inner, cache)
    said = []
    async for chunk in provider.chat([]):
        said.append(chunk.text)
        cache.trouble = OSError("disk full")
    assert "".join(said) == "answer"
    assert outcomes(seen) == ["miss", "error"]


async def test_a_look_that_takes_too_long_is_cancelled():
    cache = Failing()
    cache.trouble = "hang"
    provider, seen = cached(Flaky(["answer"]), cache, patience=0.01)
    chunks = provider.chat([])
    await anext(chunks)
    async with asyncio.timeout(30):
        await cache.cancelled.wait()
    assert outcomes(seen) == ["error"]
    await chunks.aclose()


async def test_cancelling_a_call_that_waits_for_the_cache_cancels_it():
    cache = Failing()
    cache.trouble = "hang"
    provider, seen = cached(Flaky(["answer"]), cache, patience=3600)
    waiting = asyncio.create_task(text(provider))
    await cache.entered.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert seen == []


GARBLED: list[Any] = [
    [Generation(text="words")],
    [ChatGeneration(message=AIMessage("x"), generation_info={})],
    [ChatGeneration(message=AIMessage("x"), generation_info={"key": "another request", "stored_at": 1.0})],
    ["not even a generation"],
]


@pytest.mark.parametrize("entry", GARBLED, ids=["text only", "no info", "another's answer", "no generation"])
async def test_a_garbled_entry_is_an_error_and_replaced(entry):
    class Odd(Failing):
        async def alookup(self, prompt, llm_string):
            assert llm_string == LLM_STRING
            return await super().alookup(prompt, llm_string) or entry

    inner = Flaky(["answer"])
    provider, seen = cached(inner, Odd())
    assert [await text(provider), await text(provider)] == ["answer", "answer"]
    assert (inner.attempts, outcomes(seen)) == (1, ["error", "hit"])


async def test_a_cache_with_synchronous_methods_only_will_do():
    threads = set()

    class Sync(InMemoryCache):
        alookup, aupdate = BaseCache.alookup, BaseCache.aupdate

        def lookup(self, prompt, llm_string):
            threads.add(threading.current_thread())
            return super().lookup(prompt, llm_string)

    provider, seen = cached(Flaky(["answer"]), Sync())
    assert [await text(provider), await text(provider)] == ["answer", "answer"]
    assert outcomes(seen) == ["miss", "hit"]
    assert threading.current_thread() not in threads


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_a_cache_that_writes_as_langchain_does_will_do():
    class Written(InMemoryCache):
        async def aupdate(self, prompt, llm_string, return_val):
            self._cache[prompt, llm_string] = [dumps(generation) for generation in return_val]

        async def alookup(self, prompt, llm_string):
            kept = self._cache.get((prompt, llm_string))
            return kept and [loads(text, allowed_objects="core") for text in kept]

    inner = Ending(
        ending("tool_calls", content="ä", tool_calls=[{"name": "look", "args": {"q": 1}, "id": "c"}])
    )
    provider, seen = cached(inner, Written())
    first, second = [[chunk async for chunk in provider.chat([], stream=False)] for _ in range(2)]
    assert outcomes(seen) == ["miss", "hit"]
    assert second[0].tool_calls == first[0].tool_calls
    assert second[0].text == "ä"


async def test_a_cache_is_opened_at_the_first_call_and_a_failure_is_tried_again():
    tries: list[str] = []

    async def source() -> BaseCache:
        tries.append("open")
        if len(tries) == 1:
            raise ConfigurationError("no such place")
        return memory

    memory = MemoryCache()
    provider, seen = cached(Flaky(["answer"]), source)
    assert tries == []
    await provider.start()
    for _ in range(3):
        assert await text(provider) == "answer"
    assert tries == ["open", "open"]
    assert outcomes(seen) == ["miss", "hit", "hit"]


async def test_the_prompt_is_not_in_the_cache():
    memory = MemoryCache()
    gateway = LLMGateway(
        {"main": LLMConfig("scripted", cache=60, options={"api_key": "sk-secret", "replies": ["fine"]})},
        events=EventBus(),
        weights=WeightsStore("unused"),
        cache=memory,
    )
    assert (await gateway.chat_model().ainvoke("private question")).text == "fine"
    assert len(memory._cache) == 1
    assert "private" not in repr(memory._cache)
    assert "sk-secret" not in repr(memory._cache)


def test_the_memory_is_bounded_and_replacing_makes_none_go():
    memory = MemoryCache(maxsize=2)
    for name in ("a", "b", "b", "c"):
        memory.update(name, "", [Generation(text=name)])
    assert [memory.lookup(name, "") is not None for name in "abc"] == [False, True, True]


def test_the_memory_stands_many_threads():
    memory = MemoryCache(maxsize=5)
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(2000):
                memory.update(f"{number} {turn}", "", [])
        except Exception as error:  # noqa: BLE001 - whatever it is
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert len(memory._cache) == 5


async def test_auto_is_keyed_by_what_it_became(ollama):
    seen = []
    for models, expected in ((["qwen3:8b"], "ollama"), ([], "local")):
        ollama.models = models
        bus, _ = recorded()
        gateway = LLMGateway(
            {"main": LLMConfig(cache=60)},
            events=bus,
            weights=WeightsStore("unused"),
            ollama_base_url=ollama.url,
            cache=MemoryCache(),
        )
        provider = gateway.chat_model().provider
        assert isinstance(provider, CachedProvider)
        await provider.unwrapped.choose()
        assert provider.name == expected
        seen.append(provider._key([], None, {}))
    assert seen[0] != seen[1]


async def test_a_script_with_objects_still_answers():
    script = Script("one", Step(tool_calls=(ToolUse("look", {}),)))
    gateway = LLMGateway(
        {"main": LLMConfig("scripted", cache=60, options={"script": script})},
        events=EventBus(),
        weights=WeightsStore("unused"),
        cache=MemoryCache(),
    )
    assert (await gateway.chat_model().ainvoke("hi")).text == "one"


def test_the_gateway_keys_answers_by_the_whole_chain():
    main = LLMConfig("scripted", cache=60)
    chained = replace(main, fallbacks=(LLMConfig("scripted", model="other"),))
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore("unused"), cache=MemoryCache())
    providers = [gateway.chat_model(config).provider for config in (main, chained)]
    assert all(isinstance(provider, CachedProvider) for provider in providers)
    assert len({provider._key([], None, {}) for provider in providers}) == 2
