"""Answers held to a JSON schema: the object, its JSON, another attempt, and an error that says why."""

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver

from agentkit import build_agent, build_supervisor, tool
from agentkit.errors import StructuredOutputError
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.llm.budgets import Limits
from agentkit.services.chat import ChatService
from agentkit.testing import ToolUse, scripted_model

from .helpers import Knowledge, ask, source

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "degrees": {"type": "integer"}},
    "required": ["city", "degrees"],
    "additionalProperties": False,
}
ROME = {"city": "Rome", "degrees": 21}


@tool(name="measure")
def measure(city: str) -> str:
    """Measure the temperature."""
    return f"21 in {city}"


def agent(*replies: Any, **options: Any) -> tuple[Graph, Any]:
    model = scripted_model(*replies)
    return build_agent(name="a", model=model, output=WEATHER, **options), model


def team(*agents: Graph, **options: Any) -> Graph:
    rule = Rule("1 == 1", tuple(one.name for one in agents))
    routing = Routing((RulesRouting([rule]),))
    return build_supervisor(agents, model=scripted_model(), routing=routing, **options)


async def test_the_answer_is_the_object_and_its_json() -> None:
    one, _ = agent(ROME)
    answer = await ChatService(team(one)).ask("Rome?")
    assert answer.output == ROME
    assert json.loads(answer.answer) == ROME
    assert answer.to_dict()["output"] == ROME


async def test_tools_and_sources_come_before_it() -> None:
    one, model = agent(
        ToolUse("measure", {"city": "Rome"}), ROME, tools=[measure], retriever=Knowledge(source("Warm."))
    )
    result = await team(one).ainvoke(ask("Rome?"))
    assert result["output"] == ROME
    assert model.calls[1][-1].text == "21 in Rome"
    assert "Warm." in model.calls[1][0].text


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"city": "Rome"}, "'degrees' is a required property (at $)"),
        ({"city": "Rome", "degrees": "warm"}, "'warm' is not of type 'integer' (at $.degrees)"),
        ("It is warm.", "it is no JSON: Expecting value"),
    ],
)
async def test_what_does_not_fit_is_asked_for_again_and_leaves_no_trace(wrong: Any, said: str) -> None:
    one, model = agent(wrong, ROME)
    result = await team(one).ainvoke(ask("Rome?"))
    assert result["output"] == ROME
    assert said in model.calls[1][-1].text
    assert [message.type for message in result["messages"]] == ["human", "ai"]


async def test_three_attempts_are_enough() -> None:
    one, model = agent(*[{"city": "Rome"}] * 4)
    wrong = r"No answer of 'a' fits its output schema after 3 attempts: 'degrees' is a required property"
    with pytest.raises(StructuredOutputError, match=wrong):
        await team(one).ainvoke(ask("Rome?"))
    assert len(model.calls) == 3


async def test_the_next_turn_begins_without_it() -> None:
    one, _ = agent(ROME, "no", "no", "no")
    graph = team(one, checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke(ask("Rome?"), thread)
    with pytest.raises(StructuredOutputError):
        await graph.ainvoke(ask("Rome?"), thread)
    assert (await graph.aget_state(thread)).values["output"] is None


async def test_a_spent_budget_is_a_text_and_no_object() -> None:
    one, _ = agent(ToolUse("measure", {"city": "Rome"}), tools=[measure], limits=Limits(model_calls=1))
    answer = await ChatService(team(one)).ask("Rome?")
    assert answer.output is None
    assert answer.answer == "a stopped here: its limit of 1 model call is reached."
    without_tools, _ = agent({"city": "Rome"}, limits=Limits(model_calls=1))
    answer = await ChatService(team(without_tools)).ask("Rome?")
    assert (answer.output, answer.limits_reached[0]["limit"]) == (None, "model_calls")


async def test_an_object_at_the_limit_of_rounds_stays_one() -> None:
    use = ToolUse("measure", {"city": "Rome"})
    one, _ = agent(use, use, ROME, tools=[measure], tool_iterations=1)
    service = ChatService(team(one))
    events = [event async for event in service.stream("Rome?")]
    answer = events[-1].data
    assert answer.output == json.loads(answer.answer) == ROME
    assert answer.limits_reached[0]["limit"] == "tool_iterations"
    assert "".join(event.data for event in events if event.type == "token") == answer.answer


async def test_beside_others_it_is_in_the_part() -> None:
    one, _ = agent(ROME)
    other = build_agent(name="b", model=scripted_model("Fine."))
    result = await team(one, other).ainvoke(ask("Rome?"))
    assert [part.get("output") for part in result["parts"]] == [ROME, None]
    assert result["output"] is None
