import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentkit.errors import ConfigurationError, DuplicateNameError, ProviderError, UnknownNameError
from agentkit.events import EventBus
from agentkit.llm import PROVIDERS, LLMConfig, LLMGateway
from agentkit.llm.auto import is_loopback
from agentkit.llm.base import Health
from agentkit.llm.policies import BreakerPolicy, RetryPolicy
from agentkit.llm.providers.local import DEFAULT_MODEL
from agentkit.llm.providers.scripted import ScriptedProvider
from agentkit.weights import WeightsStore


def gateway(models=None, **more) -> LLMGateway:
    return LLMGateway(
        models or {"main": LLMConfig()}, events=EventBus(), weights=WeightsStore("unused"), **more
    )


def test_models_are_found_by_name_and_cached():
    one = gateway(
        {
            "main": LLMConfig("scripted"),
            "same": LLMConfig("scripted"),
            "hot": LLMConfig("scripted", temperature=1),
        }
    )
    assert one.chat_model() is one.chat_model("main") is one.chat_model(LLMConfig("scripted"))
    assert one.chat_model("same") is one.chat_model("main")
    assert one.chat_model("hot") is not one.chat_model("main")


def test_unknown_names_list_the_valid_ones():
    with pytest.raises(UnknownNameError, match=r"Unknown model 'mian'\. Did you mean 'main'\?"):
        gateway().chat_model("mian")
    with pytest.raises(
        UnknownNameError, match=r"Unknown provider 'olama'\. Did you mean 'ollama'\?"
    ) as caught:
        gateway().chat_model(LLMConfig("olama"))
    assert caught.value.choices == (
        "anthropic",
        "auto",
        "langchain",
        "local",
        "ollama",
        "openai",
        "scripted",
        "vllm",
    )
    with pytest.raises(UnknownNameError, match="Unknown model 'gpt'"):
        gateway().chat_model(LLMConfig("local", model="gpt"))
    with pytest.raises(UnknownNameError, match="Did you mean 'threads'"):
        gateway().chat_model(LLMConfig("local", options={"thread": 2}))
    with pytest.raises(ConfigurationError, match="'all-minilm-l6-v2' is not a chat model"):
        gateway().chat_model(LLMConfig("local", model="all-minilm-l6-v2"))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timeout": 0}, "timeout must be positive"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1}, "temperature"),
    ],
)
def test_impossible_settings_are_refused(wrong: dict, says: str):
    with pytest.raises(ConfigurationError, match=says):
        LLMConfig(**wrong)


def test_a_built_in_provider_cannot_be_replaced():
    with pytest.raises(DuplicateNameError):
        PROVIDERS.register("local", object)


async def test_health_reports_every_model_also_the_misconfigured(tmp_path):
    models = {"ok": LLMConfig("scripted"), "absent": LLMConfig("local"), "bad": LLMConfig("nope")}
    one = LLMGateway(models, events=EventBus(), weights=WeightsStore(tmp_path))
    health = await one.health()
    assert health["ok"].ok
    assert not health["absent"].ok
    assert "agentkit models pull" in health["absent"].detail
    assert "Unknown provider 'nope'" in health["bad"].detail
    await one.aclose()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:11434", True), ("http://localhost:1", True), ("http://[::1]:11434", True),
        ("http://10.0.0.5:11434", False), ("https://ollama.com", False), ("http://localhost.evil.com", False),
        ("http://0.0.0.0:11434", False), ("", False), ("127.0.0.1:11434", False),
    ],
)  # fmt: skip
def test_loopback_is_recognised(url: str, expected: bool):
    assert is_loopback(url) is expected


async def chosen(one: LLMGateway, config: LLMConfig) -> tuple[str, str]:
    provider = one.chat_model(config).provider.unwrapped
    await provider.choose()
    return provider.name, provider.model


async def test_auto_takes_ollama_when_it_has_the_model(ollama):
    one = gateway(ollama_base_url=ollama.url)
    assert await chosen(one, LLMConfig()) == ("ollama", "qwen3:8b")
    ollama.script = [[ollama.say("Hi."), ollama.done(prompt_eval_count=3, eval_count=2)]]
    answer = await one.chat_model().ainvoke("hello")
    assert answer.text == "Hi."
    assert answer.response_metadata["model_provider"] == "ollama"
    ollama.models = []  # decided once
    assert await chosen(one, LLMConfig()) == ("ollama", "qwen3:8b")


async def test_auto_takes_local_when_the_model_is_not_pulled_and_says_so(ollama, caplog):
    one = gateway(ollama_base_url=ollama.url)
    with caplog.at_level(logging.WARNING):
        assert await chosen(one, LLMConfig(model="llama3.3:70b")) == ("local", DEFAULT_MODEL)
    assert "ollama pull llama3.3:70b" in caplog.text


async def test_auto_takes_local_when_nobody_answers():
    one = gateway(ollama_base_url="http://127.0.0.1:9")
    assert await chosen(one, LLMConfig(options={"num_gpu": 1, "threads": 1})) == ("local", DEFAULT_MODEL)


async def test_auto_never_asks_anything_beyond_loopback(monkeypatch):
    async def refuse(*_args, **_kwargs):
        raise AssertionError("auto talked to the network")

    monkeypatch.setattr("agentkit.llm.providers.ollama.OllamaProvider.list_models", refuse)
    assert await chosen(gateway(ollama_base_url="http://192.0.2.1:11434"), LLMConfig()) == (
        "local",
        DEFAULT_MODEL,
    )


async def test_auto_with_a_catalogue_name_means_that_model(ollama):
    one = gateway(ollama_base_url=ollama.url)
    assert await chosen(one, LLMConfig(model="smollm2-135m-instruct")) == ("local", "smollm2-135m-instruct")


def scripted(*replies: Any, **more: Any) -> LLMConfig:
    return LLMConfig("scripted", options={"replies": list(replies)}, retry=RetryPolicy(attempts=1), **more)


def failing() -> list[Exception]:
    return [ProviderError("down", provider="scripted", status=500) for _ in range(3)]


async def test_a_chain_set_later_is_followed_by_models_handed_out_before():
    one = gateway(
        {"main": scripted(*failing(), model="a"), "other": scripted("From b.", "Again.", model="b")}
    )
    held = one.chat_model().bind(stop=["x"])
    with pytest.raises(ProviderError, match="down"):
        await held.ainvoke("hello")
    one.set_fallback_chain("main", ["other"])
    answer = await held.ainvoke("hello")
    assert answer.text == "From b."
    assert answer.response_metadata["fallback"]["from"] == "a"
    assert (await one.chat_model("other").ainvoke("hello")).text == "Again."  # one provider, two chains
    one.set_fallback_chain("main", [])
    with pytest.raises(ProviderError, match="down"):
        await held.ainvoke("hello")
    await one.aclose()


async def test_breakers_keep_their_state_when_the_chain_changes():
    policy = BreakerPolicy(failures=1)
    one = gateway({"main": scripted(*failing(), breaker=policy), "other": scripted("Yes.", model="b")})
    with pytest.raises(ProviderError, match="down"):
        await one.chat_model().ainvoke("hello")
    one.set_fallback_chain("main", ["other"])
    answer = await one.chat_model().ainvoke("hello")
    assert "left alone" in answer.response_metadata["fallback"]["error"]


async def test_a_call_under_way_keeps_its_chain():
    one = gateway({"main": scripted("a b c", model="a"), "other": scripted("no", model="b")})
    texts = []
    async for chunk in one.chat_model().astream("hello"):
        one.set_fallback_chain("main", ["other"])
        texts.append(chunk.text)
    assert "".join(texts) == "a b c"


async def test_chains_are_changed_from_any_thread():
    models = {name: scripted(model=name) for name in ("main", "b", "c")}
    one = gateway(models)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: one.set_fallback_chain("main", ["b", "c"][: n % 3]), range(100)))
        list(pool.map(lambda _: one.chat_model("b"), range(20)))
    assert len(one._made) == 2
    assert len(one._links) == 3


@pytest.mark.parametrize(
    ("chain", "says"),
    [
        (["othr"], "Unknown model 'othr'. Did you mean 'other'"),
        (["main"], "cannot hold 'main': it is that model itself"),
        (["twin"], "cannot hold 'twin': it is that model itself"),
        (["other", "other"], "cannot hold 'other': it is in it twice"),
    ],
)
def test_impossible_chains_are_refused_and_change_nothing(chain: list[str], says: str):
    models = {"main": scripted(model="a"), "twin": scripted(model="a"), "other": scripted(model="b")}
    one = gateway(models)
    before = one.chat_model().provider
    with pytest.raises(ConfigurationError, match=says):
        one.set_fallback_chain("main", chain)
    assert one.chat_model().provider is before


async def test_all_models_are_asked_for_their_health_at_once_and_not_for_ever(monkeypatch):
    monkeypatch.setattr("agentkit.llm.gateway._HEALTH_SECONDS", 0.1)
    waiting: list[str] = []

    class Slow(ScriptedProvider):
        async def health_check(self) -> Health:
            waiting.append(self.model)
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setitem(PROVIDERS._entries, "scripted", Slow)
    health = await gateway({name: scripted(model=name) for name in ("a", "b", "c")}).health()
    assert waiting == ["a", "b", "c"]
    assert [(one.ok, one.detail) for one in health.values()] == [(False, "No answer within 0.1 s.")] * 3
