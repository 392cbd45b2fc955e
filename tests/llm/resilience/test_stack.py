"""The whole stack, as the gateway and a blueprint build it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import yaml

from agentkit.blueprints.llm_config import model_config
from agentkit.blueprints.models import ModelSpec
from agentkit.errors import CircuitOpenError, ProviderError, ProviderTimeoutError
from agentkit.events import AttemptFinished, CircuitChanged, FellBack, ModelCallFinished
from agentkit.llm import GatewayChatModel, LLMConfig, LLMGateway
from agentkit.llm.base import LLMProvider
from agentkit.llm.policies import BreakerPolicy, RetryPolicy, Timeouts
from agentkit.llm.resilience import CircuitBreaker, FallbackProvider, resilient_link
from agentkit.registry import Registry
from agentkit.weights import WeightsStore

from .helpers import HANG, Flaky, recorded, unavailable


def gateway(made: dict[str, Flaky], **models: LLMConfig) -> tuple[LLMGateway, list[Any]]:
    """A gateway whose providers are the given ones, by name."""
    bus, seen = recorded()
    registry = Registry[type[LLMProvider]]("provider")

    def factory(name: str) -> Any:
        def make(config: LLMConfig, context: object) -> LLMProvider:
            made[name].config = config
            return made[name]

        return make

    for name in made:
        registry.register(name, factory(name))
    return LLMGateway(models, events=bus, weights=WeightsStore(Path("unused")), providers=registry), seen


async def test_a_failing_primary_is_retried_then_the_fallback_answers() -> None:
    primary, backup = Flaky([unavailable()], name="a"), Flaky(["hello"], name="b")
    config = LLMConfig(
        "a", model="a-1", retry=RetryPolicy(attempts=3, base=0), fallbacks=(LLMConfig("b", model="b-1"),)
    )
    one, seen = gateway({"a": primary, "b": backup}, main=config)
    answer = await one.chat_model().ainvoke("Hi")
    assert answer.text == "hello"
    assert answer.response_metadata["model_name"] == "b-1"
    assert answer.response_metadata["fallback"]["reason"] == "unavailable"
    assert (primary.attempts, backup.attempts) == (3, 1)
    attempts = [(event.model, event.status) for event in seen if isinstance(event, AttemptFinished)]
    assert attempts == [("a-1", "error")] * 3 + [("b-1", "ok")]
    assert [event.status for event in seen if isinstance(event, ModelCallFinished)] == ["ok"]
    assert len([event for event in seen if isinstance(event, FellBack)]) == 1


async def test_an_open_breaker_asks_nobody_and_models_share_it() -> None:
    primary = Flaky([unavailable()], name="a")
    one, seen = gateway(
        {"a": primary},
        warm=LLMConfig("a", model="m", retry=RetryPolicy(attempts=1), breaker=BreakerPolicy(failures=2)),
        cold=LLMConfig("a", model="m", retry=RetryPolicy(attempts=1), temperature=1.0),
    )
    for name in ("warm", "warm"):
        with pytest.raises(ProviderError, match="down"):
            await one.chat_model(name).ainvoke("Hi")
    with pytest.raises(CircuitOpenError, match="failed too often and is left alone for another"):
        await one.chat_model("cold").ainvoke("Hi")
    assert primary.attempts == 2
    assert [event.to for event in seen if isinstance(event, CircuitChanged)] == ["open"]


async def test_a_storm_reaches_the_fallback_and_the_primary_again() -> None:
    """500 calls while the primary is down and comes back: no error reaches anybody."""

    class Moody(Flaky):
        down = True

        async def chat(self, messages: Any, **options: Any) -> Any:
            self.attempts += 1
            await asyncio.sleep(0.001)
            if self.down:
                raise unavailable()
            async for chunk in super().chat(messages, **options):
                yield chunk

    primary, backup = Moody(["primary"], name="a"), Flaky(["backup"], name="b")
    period = 0.6  # seconds: longer than 50 calls take on a busy machine, or a second probe were due
    config = LLMConfig(
        "a",
        model="a-1",
        retry=RetryPolicy(attempts=1),
        breaker=BreakerPolicy(failures=5, open_for=period),
        fallbacks=(LLMConfig("b", model="b-1"),),
    )
    one, _ = gateway({"a": primary, "b": backup}, main=config)
    model = one.chat_model()
    answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(500)))
    assert {answer.text for answer in answers} == {"backup"}
    stormed = primary.attempts
    for _ in range(3):
        await asyncio.sleep(period * 1.1)
        answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(50)))
        assert {answer.text for answer in answers} == {"backup"}
    assert primary.attempts == stormed + 3  # one probe a period
    primary.down = False
    await asyncio.sleep(period * 1.1)
    await model.ainvoke("Hi")
    answers = await asyncio.gather(*(model.ainvoke("Hi") for _ in range(50)))
    assert {answer.text for answer in answers} == {"primary"}


async def test_a_hanging_primary_is_given_up_and_its_request_closed() -> None:
    primary, backup = Flaky([HANG], name="a"), Flaky(["hello"], name="b")
    config = LLMConfig(
        "a",
        model="a-1",
        timeout=Timeouts(first_token=0.05),
        retry=RetryPolicy(attempts=1),
        fallbacks=(LLMConfig("b", model="b-1"),),
    )
    one, _ = gateway({"a": primary, "b": backup}, main=config)
    said = [chunk.text async for chunk in one.chat_model().astream("Hi")]
    assert "".join(said) == "hello"
    assert (primary.closed, backup.closed) == (1, 1)


def test_a_blueprints_model_becomes_its_configuration() -> None:
    text = """
    main:
      provider: vllm
      model: m
      timeout: {first_token: 20s, total: 1m}
      retry: {attempts: 2, base: 100ms, cap: 1s}
      breaker: {failures: 3, open_for: 10s}
      fallbacks: [backup]
      fallback_on: [timeout]
    backup: {provider: local, timeout: 2m, fallbacks: [main]}
    """
    models = {name: ModelSpec.model_validate(spec) for name, spec in yaml.safe_load(text).items()}
    config = model_config("main", models)
    assert config.timeouts == Timeouts(first_token=20, idle=None, total=60)
    assert config.retry == RetryPolicy(attempts=2, base=0.1, cap=1)
    assert config.breaker == BreakerPolicy(failures=3, open_for=10)
    assert config.fallback_on == ("timeout",)
    (backup,) = config.fallbacks
    assert (backup.provider, backup.timeouts.total, backup.fallbacks) == ("local", 120, ())


async def test_a_requests_own_timeout_bounds_retries_and_fallbacks_together() -> None:
    bus, seen = recorded()
    slow = Flaky([HANG], config=LLMConfig("flaky", model="slow", timeout=0.1))
    links = [resilient_link(slow, CircuitBreaker(), bus)] * 2
    model = GatewayChatModel(provider=FallbackProvider(links, events=bus), events=bus)
    started = asyncio.get_running_loop().time()
    with pytest.raises(ProviderTimeoutError, match=r"not complete after 0\.15 s") as caught:
        await model.ainvoke("hi", timeout=0.15)
    assert asyncio.get_running_loop().time() - started < 5
    assert caught.value.kind == "total"
    with pytest.raises(ProviderTimeoutError, match="said nothing within 0.05 s"):
        _ = [chunk async for chunk in model.bind(timeout=Timeouts(first_token=0.05)).astream("hi")]
    attempts = [event.status for event in seen if isinstance(event, AttemptFinished)]
    assert attempts[0] == "error"
    assert attempts[-1] == "cancelled"
    assert slow.closed == slow.attempts


async def test_a_requests_own_timeout_leaves_a_quick_answer_alone() -> None:
    model = GatewayChatModel(provider=Flaky(["fine"]))
    assert (await model.ainvoke("hi", timeout=5)).text == "fine"
