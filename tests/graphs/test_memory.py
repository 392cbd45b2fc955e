"""Facts about a user that outlast a conversation: whose they are, how many, what comes back."""

from typing import Any

import pytest
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from agentkit import build_agent, build_supervisor
from agentkit.context import RunContext
from agentkit.errors import ConfigurationError
from agentkit.graphs import memory
from agentkit.graphs.bridge import Graph
from agentkit.graphs.memory import memory_tools, namespace
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.testing import ToolUse, scripted_model

from .helpers import ask

ANA = RunContext(user="ana")
ALWAYS = Routing((RulesRouting([Rule("history_length >= 0", ("a",))]),))


def team(store: BaseStore | None, *replies: Any) -> Graph:
    agent = build_agent(name="a", model=scripted_model(*replies, "Done."), tools=memory_tools())
    return build_supervisor([agent], model=scripted_model(), routing=ALWAYS, store=store)


async def results(store: BaseStore | None, context: RunContext, *calls: ToolUse) -> list[tuple[str, str]]:
    """What tools that are called one after another return: status and text."""
    found: list[tuple[str, str]] = []
    stream = team(store, *calls).astream(ask("?"), context=context, stream_mode="updates", subgraphs=True)
    async for _, update in stream:  # type: ignore[misc]
        messages = (update.get("tools") or {}).get("messages") or []  # type: ignore[union-attr]
        found += [(message.status, message.text) for message in messages]
    return found


def remember(fact: str, **more: Any) -> ToolUse:
    return ToolUse("remember", {"fact": fact, **more})


def recall(about: str = "") -> ToolUse:
    return ToolUse("recall", {"about": about})


async def test_a_fact_told_in_one_conversation_is_known_in_the_next() -> None:
    store = InMemoryStore()
    assert await results(store, ANA, remember(" Prefers\n tabs. ")) == [("success", "Remembered.")]
    assert await results(store, ANA, recall("tabs")) == [("success", "- Prefers tabs.")]


@pytest.mark.parametrize(
    "other",
    [
        RunContext(user="an"),
        RunContext(user="ana.b"),
        RunContext(user="ana%"),
        RunContext(user="Ana"),
        RunContext(user="ana", tenant="t"),
        RunContext(user="", tenant="default"),
        RunContext(user='ana"]', tenant='x", "'),
    ],
)
async def test_nobody_else_knows_it(other: RunContext) -> None:
    store = InMemoryStore()
    await results(store, ANA, remember("Prefers tabs."))
    await results(store, other, remember("Likes spaces."))
    assert await results(store, other, recall()) == [("success", "- Likes spaces.")]
    assert await results(store, ANA, recall()) == [("success", "- Prefers tabs.")]


async def test_the_model_cannot_say_whose_facts_they_are() -> None:
    for made in memory_tools():
        assert set(made.tool_call_schema.model_json_schema()["properties"]) <= {"fact", "about"}  # type: ignore[union-attr]
    store = InMemoryStore()
    await results(store, RunContext(user="bob"), remember("Bob's.", user="ana", runtime={"context": "ana"}))
    assert await results(store, ANA, recall()) == [("success", "Nothing is remembered.")]


async def test_who_is_not_known_has_no_memory() -> None:
    store = InMemoryStore()
    said = ("error", "It is not known who the user is, so nothing can be remembered.")
    assert await results(store, RunContext(), remember("x"), recall()) == [said, said]
    assert await store.asearch(()) == []


async def test_what_fits_comes_first_then_the_newest_and_not_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(memory, "RECALLED", 3)
    store = InMemoryStore()
    facts = ["Uses Helm charts.", "Lives in Graz.", "Has a cat.", "Works on Monday."]
    await results(store, ANA, *map(remember, facts))
    [(_, text)] = await results(store, ANA, recall("Which CHARTS?"))
    assert text.splitlines() == ["- Uses Helm charts.", "- Works on Monday.", "- Has a cat."]


async def test_size_and_number_are_bounded_and_the_same_fact_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MAX_FACTS", 2)
    store = InMemoryStore()
    calls = [remember("One."), remember("one."), remember("Two."), remember("Three."), remember("TWO.")]
    assert [text for _, text in await results(store, ANA, *calls)] == [
        "Remembered.", "Remembered.", "Remembered.",
        "The memory is full: it holds 2 facts of this user.", "Remembered.",
    ]  # fmt: skip
    assert await results(store, ANA, remember("x" * 501), remember(" \x00 ")) == [
        ("error", "That is too long: a fact has at most 500 characters."),
        ("error", "There is nothing to remember."),
    ]
    assert len(await store.asearch(namespace(ANA))) == 2


class Broken(InMemoryStore):
    """A store whose database is gone."""

    async def abatch(self, ops: Any) -> Any:
        raise OSError("no route to db-7")


async def test_a_store_that_fails_ends_no_turn_and_tells_no_secret() -> None:
    graph = team(Broken(), remember("x"))
    assert (await graph.ainvoke(ask("?"), context=ANA))["messages"][-1].text == "Done."
    assert await results(Broken(), ANA, recall()) == [("error", "The memory does not answer now.")]


async def test_without_a_store_the_tools_say_what_is_missing() -> None:
    with pytest.raises(ConfigurationError, match=r"needs a store.*\n?.*runtime.store"):
        await team(None, recall()).ainvoke(ask("?"), context=ANA)
