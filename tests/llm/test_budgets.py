"""What a run may spend: refused before the call that no longer fits."""

import asyncio

import pytest
from langchain_core.runnables import RunnableLambda

from agentkit import build_agent, build_supervisor
from agentkit.errors import BudgetExceededError, ConfigurationError, ProviderError
from agentkit.events import EventBus, ModelCallFinished
from agentkit.llm.budgets import Limits, budget
from agentkit.llm.policies import Price
from agentkit.llm.pricing import PricedProvider
from agentkit.testing import Step, ToolUse, scripted_model


def usage(read: int, written: int) -> dict[str, int]:
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}


def says(text: str, read: int = 60, written: int = 40) -> Step:
    return Step(text, usage=usage(read, written))


async def test_the_call_that_no_longer_fits_is_not_made() -> None:
    model = scripted_model(says("one"), says("two"), says("three"))
    with budget(tokens=150) as spent:
        await model.ainvoke("a")
        await model.ainvoke("b")
        with pytest.raises(BudgetExceededError) as caught:
            await model.ainvoke("c")
    assert spent.tokens == 200
    assert len(model.calls) == 2
    assert str(caught.value) == (
        "This block may spend 150 tokens and has spent 200 tokens: no further model call is made.\n"
        "Raise limits.tokens, or ask for less."
    )
    assert (caught.value.limit, caught.value.spent, caught.value.allowed) == ("tokens", 200, 150)
    assert (await model.ainvoke("outside again")).text == "three"


async def test_a_refused_call_is_reported_once_as_an_error() -> None:
    events, seen = EventBus(), []
    events.subscribe(seen.append)
    model = scripted_model(says("one"), events=events)
    with budget(model_calls=1):
        await model.ainvoke("a")
        with pytest.raises(BudgetExceededError, match="may spend 1 model calls"):
            _ = [chunk async for chunk in model.astream("b")]
    finished = [event for event in seen if isinstance(event, ModelCallFinished)]
    assert [(event.status, event.error_type) for event in finished] == [
        ("ok", ""),
        ("error", "BudgetExceededError"),
    ]


def test_synchronous_calls_are_counted_although_they_run_on_another_thread() -> None:
    model = scripted_model(says("one"), says("two"))
    with budget(tokens=1000) as spent:
        model.invoke("a")
        list(model.stream("b"))
    assert spent.tokens == 200


async def test_concurrent_calls_cannot_exceed_the_number_of_calls() -> None:
    model = scripted_model(*[says("x")] * 3)
    with budget(model_calls=3):
        results = await asyncio.gather(*[model.ainvoke("a") for _ in range(8)], return_exceptions=True)
    assert len(model.calls) == 3
    assert sum(isinstance(result, BudgetExceededError) for result in results) == 5


async def test_cost_is_counted_by_price_and_bounded() -> None:
    model = scripted_model(says("one", 1000, 1000), says("two", 1000, 1000))
    config = model.provider.config
    object.__setattr__(config, "price", Price(input=1.0, output=2.0))
    model.provider = PricedProvider(model.provider)
    with budget(cost_usd=0.003) as spent:
        await model.ainvoke("a")
        assert spent.cost_usd == pytest.approx(0.003)
        with pytest.raises(BudgetExceededError, match=r"may spend \$0\.0030 and has spent \$0\.0030"):
            await model.ainvoke("b")


async def test_an_unknown_price_is_not_taken_for_nothing() -> None:
    model = scripted_model(says("one"), says("two"))
    with budget(cost_usd=5) as spent:
        await model.ainvoke("a")
        assert spent.cost_usd is None
        with pytest.raises(BudgetExceededError, match="scripted has no known price") as caught:
            await model.ainvoke("b")
    assert "{input: 0, output: 0}" in str(caught.value)
    assert caught.value.spent is None


async def test_an_answer_without_usage_is_estimated_and_a_failure_costs_nothing() -> None:
    failure = ProviderError("down", provider="scripted")
    model = scripted_model(Step("word " * 40, usage=None), failure)
    with budget(tokens=10_000) as spent:
        await model.ainvoke("tell me " * 20)
        estimated = spent.tokens
        assert 60 < estimated < 200
        with pytest.raises(ProviderError):
            await model.ainvoke("again")
        assert spent.tokens == estimated


async def test_a_budget_stands_within_the_one_around_it() -> None:
    model = scripted_model(says("one"), says("two"), says("three"))
    with budget(tokens=250) as outer:
        with budget(tokens=100):
            await model.ainvoke("a")
            with pytest.raises(BudgetExceededError, match="100 tokens"):
                await model.ainvoke("b")
        await model.ainvoke("c")
        assert outer.tokens == 200
        with budget(tokens=1000):
            await model.ainvoke("d")
            with pytest.raises(BudgetExceededError, match="may spend 250 tokens"):
                await model.ainvoke("e")


async def test_an_agent_is_stopped_between_two_of_its_model_calls() -> None:
    def weather(city: str) -> str:
        """Weather of a city."""
        return f"rain in {city}"

    model = scripted_model(
        Step(tool_calls=(ToolUse("weather", {"city": "Rome"}),), usage=usage(50, 50)),
        says("It rains."),
        says("again"),
    )
    agent = build_agent(name="a", model=model, tools=[weather], limits=Limits(tokens=100))
    stopped = await agent.ainvoke({"messages": [("user", "weather?")]})
    assert stopped["messages"][-1].text == "a stopped here: its limit of 100 tokens is reached."
    assert len(model.calls) == 1
    answer = await agent.ainvoke({"messages": [("user", "a new run has a new budget")]})
    assert answer["messages"][-1].text == "It rains."


async def test_a_team_spends_from_one_budget_and_each_agent_from_its_own() -> None:
    router = scripted_model(says('{"agent": "a"}', 80, 20), says('{"agent": "a"}', 80, 20))
    worker = scripted_model(says("done"), says("done"))
    agent = build_agent(name="a", model=worker, description="all", limits=Limits(model_calls=1))
    team = build_supervisor([agent], model=router, name="team", limits=Limits(tokens=100))
    stopped = await team.ainvoke({"messages": [("user", "go")]})
    assert stopped["messages"][-1].text == "a stopped here: the team's limit of 100 tokens is reached."
    assert worker.calls == []
    roomy = build_supervisor([agent], model=router, name="team", limits=Limits(tokens=101))
    result = await roomy.ainvoke({"messages": [("user", "go")]}, {"configurable": {"thread_id": "t"}})
    assert result["messages"][-1].text == "done"


async def test_a_budget_block_around_a_graph_is_answered_by_who_wrote_it() -> None:
    agent = build_agent(name="a", model=scripted_model(says("done"), says("done")))
    team = build_supervisor([agent], model=scripted_model({"agent": "a"}), name="team")
    with budget(model_calls=1), pytest.raises(BudgetExceededError, match="This block may spend 1 model"):
        await team.ainvoke({"messages": [("user", "go")]})


async def test_a_budget_around_a_graph_counts_its_calls() -> None:
    agent = build_agent(name="a", model=scripted_model(says("done")), limits=Limits(tokens=10_000))
    with budget(tokens=10_000) as spent:
        await RunnableLambda(agent.ainvoke).ainvoke({"messages": [("user", "go")]})
    assert spent.tokens == 100


def test_limits_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match=r"limits\.tokens must be positive, not 0"):
        Limits(tokens=0)
