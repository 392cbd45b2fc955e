"""What is told of teams within the team: their sources, and the words of several in one."""

from typing import Any

from agentkit import build_agent, build_supervisor
from agentkit.context import RunContext
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.graphs.state import Source
from agentkit.services.chat import ChatEvent, ChatService
from agentkit.testing import scripted_model


def found(text: str) -> Source:
    return Source(
        index=1,
        uri=f"docs/{text}.md",
        title=text,
        heading="",
        start_line=1,
        end_line=2,
        page=None,
        scope="s",
        score=0.5,
        similarity=0.7,
        text=text,
    )


def agent(name: str) -> Graph:
    async def passages(question: str, context: RunContext) -> list[Source]:
        return [found(name)]

    return build_agent(name=name, model=scripted_model(f"{name} says [1]."), retriever=passages)


def team(name: str, *members: Graph, to: tuple[str, ...] | None = None) -> Graph:
    rule = Rule("history_length >= 0", to or tuple(member.name for member in members))
    return build_supervisor(
        list(members), model=scripted_model(), routing=Routing((RulesRouting([rule]),)), name=name
    )


async def events(graph: Graph) -> list[ChatEvent]:
    return [event async for event in ChatService(graph).stream("?")]


def of(told: list[ChatEvent], kind: str) -> list[Any]:
    return [event.data for event in told if event.type == kind]


async def test_sources_of_one_agent_in_a_team_are_told_as_found() -> None:
    told = await events(team("top", team("inner", agent("a"), agent("b"), to=("b",))))
    assert of(told, "sources") == [[found("b")]]
    assert told[-1].data.sources == [found("b")]
    assert "".join(of(told, "token")) == told[-1].data.answer == "b says [1]."


async def test_sources_of_several_in_a_team_are_numbered_through() -> None:
    told = await events(team("top", team("inner", agent("a"), agent("b"))))
    [sources] = of(told, "sources")
    assert [(source["index"], source["title"]) for source in sources] == [(1, "a"), (2, "b")]
    assert told[-1].data.sources == sources
    assert of(told, "token") == ["**a**\n\na says [1].\n\n**b**\n\nb says [2]."]


async def test_a_team_in_a_team_beside_an_agent() -> None:
    deep = team("outer", team("inner", agent("a"), agent("b")))
    told = await events(team("top", deep, agent("c")))
    answer = told[-1].data
    assert [(source["index"], source["title"]) for source in answer.sources] == [(1, "a"), (2, "b"), (3, "c")]
    assert answer.answer.endswith("b says [2].\n\n**c**\n\nc says [3].")
    assert "".join(of(told, "token")) == answer.answer
    assert {team: route["agents"] for team, route in answer.teams.items()} == {
        "outer": ["inner"], "outer/inner": ["a", "b"],
    }  # fmt: skip
    assert [source for sources in of(told, "sources") for source in sources] == answer.sources


async def test_an_agent_that_fails_in_a_team_does_not_stop_the_others_anywhere() -> None:
    async def lost(question: str, context: RunContext) -> list[Source]:
        raise OSError("the disk of host-7")

    broken = build_agent(name="b", model=scripted_model("Never."), retriever=lost)
    told = await events(team("top", team("inner", agent("a"), broken), agent("c")))
    answer = told[-1].data.answer
    assert (
        "a says [1].\n\n**b**\n\nb could not answer: something went wrong.\n\n**c**\n\nc says [2]." in answer
    )
    # All of a team failing is the team's failure, and of no other agent.
    alone = team("inner", broken)
    answer = (await ChatService(team("top", alone, agent("c"))).ask("?")).answer
    assert answer == "**inner**\n\ninner could not answer: something went wrong.\n\n**c**\n\nc says [1]."
