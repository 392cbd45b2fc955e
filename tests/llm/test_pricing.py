from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from agentkit import build_agent, build_supervisor
from agentkit.errors import ConfigurationError
from agentkit.events import Event, EventBus, ModelCallFinished
from agentkit.llm import LLMConfig, LLMGateway
from agentkit.llm.policies import Price
from agentkit.llm.pricing import cost, listed_cost
from agentkit.services.chat import ChatService
from agentkit.weights import WeightsStore

USAGE = UsageMetadata(
    input_tokens=1000,
    output_tokens=100,
    total_tokens=1100,
    input_token_details=InputTokenDetails(cache_read=400),
)


def test_cached_tokens_have_their_own_price() -> None:
    assert cost(USAGE, Price(input=1.0, output=10.0)) == pytest.approx(0.002)
    assert cost(USAGE, Price(input=1.0, output=10.0, cache_read=0.1)) == pytest.approx(0.00164)


def test_the_list_knows_vendors_models_and_says_so_when_it_does_not() -> None:
    # gpt-4o-mini: 0.15, 0.075 cached and 0.60 dollars a million tokens
    assert listed_cost("openai", "gpt-4o-mini", USAGE) == pytest.approx(
        (600 * 0.15 + 400 * 0.075 + 100 * 0.6) / 1e6
    )
    assert listed_cost("openai", "no-such-model", USAGE) is None
    assert listed_cost("nobody", "gpt-4o-mini", USAGE) is None


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="must not be negative"):
        Price(input=-1, output=0)


def gateway(seen: list[Event]) -> LLMGateway:
    bus = EventBus()
    bus.subscribe(seen.append)
    return LLMGateway({}, events=bus, weights=WeightsStore(Path("unused")))


async def test_a_configured_price_reaches_answer_and_event_streamed_or_not() -> None:
    seen: list[Event] = []
    config = LLMConfig("scripted", options={"replies": ["one two", "one two"]}, price=Price(1.0, 2.0))
    model = gateway(seen).chat_model(config)
    whole = await model.ainvoke("Hi")
    assert whole.usage_metadata is not None
    expected = cost(whole.usage_metadata, Price(1.0, 2.0))
    assert whole.response_metadata["cost_usd"] == expected > 0
    streamed = [chunk async for chunk in model.astream("Hi")]
    assert [
        chunk.response_metadata["cost_usd"] for chunk in streamed if "cost_usd" in chunk.response_metadata
    ] == [expected]
    assert [event.cost_usd for event in seen if isinstance(event, ModelCallFinished)] == [expected, expected]


async def test_an_unknown_price_is_unknown() -> None:
    seen: list[Event] = []
    answer = await gateway(seen).chat_model(LLMConfig("scripted", options={"replies": ["x"]})).ainvoke("Hi")
    assert "cost_usd" not in answer.response_metadata
    assert [event.cost_usd for event in seen if isinstance(event, ModelCallFinished)] == [None]


@pytest.mark.parametrize(("agent_price", "known"), [(Price(1.0, 1.0), True), (None, False)])
async def test_a_turn_costs_the_sum_of_its_calls_or_is_unknown(
    agent_price: Price | None, known: bool
) -> None:
    one = gateway([])
    router = LLMConfig("scripted", options={"replies": [{"agent": "a"}]}, price=Price(1.0, 1.0))
    speaker = replace(router, options={"replies": ["hello"]}, price=agent_price)
    agent = build_agent(name="a", model=one.chat_model(speaker))
    answer = await ChatService(build_supervisor([agent], model=one.chat_model(router))).ask("Hi")
    assert answer.usage.input_tokens
    total = answer.usage.input_tokens + (answer.usage.output_tokens or 0)
    assert answer.usage.cost_usd == (pytest.approx(total / 1e6) if known else None)
