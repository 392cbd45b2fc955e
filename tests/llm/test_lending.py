"""Models given back to a gateway are closed, and only they."""

from typing import Any

import pytest

from agentkit.events import EventBus
from agentkit.llm.base import LLMConfig
from agentkit.llm.gateway import LLMGateway
from agentkit.weights import WeightsStore

ONE = LLMConfig(provider="scripted", model="one", options={"replies": ["One."]})
TWO = LLMConfig(provider="scripted", model="two", options={"replies": ["Two."]})


@pytest.fixture
def closed() -> list[str]:
    return []


@pytest.fixture
def gateway(tmp_path: Any, closed: list[str], monkeypatch: pytest.MonkeyPatch) -> LLMGateway:
    from agentkit.llm.providers.scripted import ScriptedProvider

    async def aclose(self: ScriptedProvider) -> None:
        closed.append(self.config.model)

    monkeypatch.setattr(ScriptedProvider, "aclose", aclose)
    return LLMGateway({"named": ONE}, events=EventBus(), weights=WeightsStore(tmp_path))


async def test_the_last_borrower_closes(gateway: LLMGateway, closed: list[str]) -> None:
    first, second = gateway.borrow(), gateway.borrow()
    model = first.chat_model(TWO)
    assert second.chat_model(TWO) is model
    await first.aclose()
    await first.aclose()
    assert closed == []
    assert (await model.ainvoke("x")).text == "Two."
    await second.aclose()
    assert closed == ["two"]
    assert gateway.borrow().chat_model(TWO) is not model


async def test_what_somebody_keeps_stays_open(gateway: LLMGateway, closed: list[str]) -> None:
    borrowed = gateway.borrow()
    model = borrowed.chat_model("named")
    assert gateway.chat_model("named") is model
    await borrowed.aclose()
    assert closed == []
    assert gateway.chat_model("named") is model


async def test_a_provider_in_two_chains_is_closed_with_the_second(
    gateway: LLMGateway, closed: list[str]
) -> None:
    from dataclasses import replace

    first, second = gateway.borrow(), gateway.borrow()
    first.chat_model(replace(TWO, fallbacks=(ONE,)))
    second.chat_model(ONE)
    await first.aclose()
    assert closed == ["two"]
    await second.aclose()
    assert closed == ["two", "one"]


async def test_a_changed_chain_holds_its_new_fallback(gateway: LLMGateway, closed: list[str]) -> None:
    borrowed, other = gateway.borrow(), gateway.borrow()
    borrowed.chat_model(TWO)
    other.chat_model(ONE)
    gateway.set_fallback_chain(TWO, ["named"])
    await other.aclose()
    assert closed == []
    await borrowed.aclose()
    assert closed == ["two", "one"]


async def test_a_limit_goes_with_the_model_that_set_it(gateway: LLMGateway) -> None:
    from dataclasses import replace

    narrow, wide = gateway.borrow(), gateway.borrow()
    options = {"base_url": "http://here", "replies": ["x"]}
    narrow.chat_model(replace(TWO, concurrency=1, options=options))
    wide.chat_model(replace(TWO, concurrency=4, options=options))
    (gate,) = gateway._gates._gates.values()
    assert gate.limit == 1
    await narrow.aclose()
    assert gate.limit == 4
    await wide.aclose()
    assert gate.limit > 1000
