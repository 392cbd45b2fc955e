"""Turns that wait for a person: what is told, what may be decided, and what is never lost."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, ToolRetryMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command, interrupt

from agentkit import build_agent, build_supervisor, tool
from agentkit.context import RunContext
from agentkit.errors import (
    ConfigurationError,
    DecisionError,
    ProviderError,
    ThreadPausedError,
    UnknownInterruptError,
    UnknownNameError,
)
from agentkit.expressions import ARGUMENTS, parse
from agentkit.graphs.approval import Approval
from agentkit.graphs.bridge import Graph
from agentkit.graphs.routing import Routing, Rule, RulesRouting
from agentkit.graphs.routing.base import AgentCard
from agentkit.services.chat import Answer, ChatEvent, ChatService, Decision
from agentkit.testing import ToolUse, scripted_model

from .test_chat import PASSAGE, passages


class Pods:
    """A tool with an effect that can be counted."""

    def __init__(self) -> None:
        self.restarted: list[str] = []
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

        @tool(name="restart")
        async def restart(pod: str, force: bool = False) -> str:
            """Restart a pod."""
            self.restarted.append(pod)
            if self.gate is not None:
                await self.gate.wait()
            if self.error is not None:
                raise self.error
            return f"{pod} runs"

        @tool(name="look")
        def look(pod: str) -> str:
            """Look at a pod."""
            return f"{pod} is there"

        self.tools = [restart, look]

    async def running(self) -> list[str]:
        return self.restarted

    def agent(self, *replies: object, name: str = "ops", **options: Any) -> Graph:
        options.setdefault("approvals", {"restart": True})
        return build_agent(name=name, model=scripted_model(*replies), tools=self.tools, **options)


def team(*agents: Graph, saver: Any = None, model: Any = None, **options: Any) -> ChatService:
    """A team in which every message goes to every agent."""
    rule = Rule("1 == 1", tuple(agent.name for agent in agents))
    return ChatService(
        build_supervisor(
            agents,
            model=model or scripted_model(),
            routing=Routing((RulesRouting([rule]),)),
            checkpointer=saver or InMemorySaver(),
            **options,
        )
    )


def restart(pod: str = "web", **args: Any) -> ToolUse:
    return ToolUse("restart", {"pod": pod, **args})


async def eventually(look: Callable[[], Awaitable[Any]]) -> Any:
    """What `look` returns once it is something."""
    async with asyncio.timeout(30):
        while not (found := await look()):  # noqa: ASYNC110 - nothing tells us
            await asyncio.sleep(0.01)
    return found


async def resumed(service: ChatService, decisions: Any, thread: str = "t") -> list[ChatEvent]:
    return [event async for event in service.resume(thread, decisions)]


def kinds(events: list[ChatEvent]) -> list[str]:
    return [event.type for event in events if event.type != "token"]


def told(events: list[ChatEvent]) -> str:
    return "".join(event.data for event in events if event.type == "token")


async def test_a_paused_turn_says_who_waits_for_what_and_invents_no_answer() -> None:
    pods = Pods()
    service = team(pods.agent(restart(), "It runs.", retriever=passages))
    events = [event async for event in service.stream("restart web", thread_id="t")]
    assert kinds(events) == ["route", "sources", "tool_call", "interrupt", "usage", "done"]
    answer: Answer = events[-1].data
    (pause,) = answer.interrupts
    assert events[-3].data == pause
    assert (answer.answer, pause.agent, pods.restarted) == ("", "ops", [])
    (call,) = pause.calls
    assert (call.name, call.args, call.description) == ("restart", {"pod": "web"}, "Restart a pod.")
    assert call.decisions == ("approve", "edit", "reject")
    assert call.id == answer.tool_calls[0].id
    assert await service.pending("t") == [pause]
    assert answer.to_dict()["interrupts"][0]["calls"][0]["args"] == {"pod": "web"}


async def test_an_approved_call_runs_and_the_turn_is_told_to_its_end() -> None:
    pods = Pods()
    service = team(pods.agent(restart(), "It runs [1].", retriever=passages))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    events = await resumed(service, {pause.id: "approve"})
    assert kinds(events) == ["route", "sources", "tool_result", "usage", "done"]
    answer = events[-1].data
    assert told(events) == answer.answer == "It runs [1]."
    assert answer.sources == [PASSAGE]
    assert [(call.name, call.args, call.result) for call in answer.tool_calls] == [
        ("restart", {"pod": "web"}, "web runs")
    ]
    assert (answer.thread_id, answer.interrupts, answer.route["agents"]) == ("t", [], ["ops"])
    assert pods.restarted == ["web"]
    assert await service.pending("t") == []


@pytest.mark.parametrize(
    ("decision", "ran", "seen"),
    [
        ({"type": "edit", "args": {"pod": "db"}}, ["db"], "db runs"),
        (Decision("edit", {"pod": "db", "force": True}), ["db"], "db runs"),
        ({"type": "reject", "message": "Not on a Friday."}, [], "Not on a Friday."),
        ("reject", [], "was not executed"),
        ({"type": "respond", "message": "It is up already."}, [], "It is up already."),
    ],
)
async def test_what_a_person_decides_is_what_the_model_sees(decision: Any, ran: list[str], seen: str) -> None:
    pods = Pods()
    model = scripted_model(restart(), "Done.")
    approval = Approval(("approve", "edit", "reject", "respond"))
    agent = build_agent(name="ops", model=model, tools=pods.tools, approvals={"restart": approval})
    service = team(agent)
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    answer = await service.decide("t", {pause.id: decision})
    assert (answer.answer, pods.restarted) == ("Done.", ran)
    assert seen in model.calls[1][-1].text
    if ran:
        assert answer.tool_calls[0].args["pod"] == "db"


@pytest.mark.parametrize(
    ("decision", "said"),
    [
        ("respond", r"'respond' has 'message', a text"),
        ({"type": "respond", "message": "x"}, r"answered with 'respond'\. Allowed: approve, edit, reject"),
        ("aprove", r"Unknown decision 'aprove'\. Did you mean 'approve'\?"),
        ({"type": "edit"}, r"'edit' has 'args'"),
        ({"type": "edit", "args": {"pod": 7}}, r"do not fit 'restart': pod: Input should be a valid string"),
        ({"type": "edit", "args": {"force": True}}, r"do not fit 'restart': pod: Field required"),
        ({"type": "edit", "args": {"pod": "x", "forse": True}}, r"'forse'\. Did you mean 'force'\?"),
        ({"type": "approve", "args": {}}, r"'approve' has no 'args'"),
        ({"type": "reject", "message": 7}, r"'reject' has 'message', a text"),
        (["approve", "approve"], r"There are 1 calls to decide on, and 2 decisions"),
        (None, r"A decision is its type, or a mapping"),
    ],
)
async def test_a_decision_that_does_not_fit_loses_nothing(decision: Any, said: str) -> None:
    pods = Pods()
    service = team(pods.agent(restart(), "It runs."))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(DecisionError, match=said) as caught:
        await service.decide("t", {pause.id: decision})
    assert (caught.value.interrupt, caught.value.pending) == (pause.id, (pause.id,))
    assert await service.pending("t") == [pause]
    assert (await service.decide("t", {pause.id: "approve"})).answer == "It runs."
    assert pods.restarted == ["web"]


async def test_a_message_to_a_paused_thread_is_refused_and_not_taken() -> None:
    pods = Pods()
    service = team(pods.agent(restart(), "It runs.", "Hello."))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(ThreadPausedError, match=f"waits for a decision on {pause.id}") as caught:
        await service.ask("hello", thread_id="t")
    assert "agentkit resume" in str(caught.value)
    await service.decide("t", {pause.id: "approve"})
    assert (await service.ask("hello", thread_id="t")).answer == "Hello."
    state = await service._graphs.graph.aget_state({"configurable": {"thread_id": "t"}})
    assert [message.text for message in state.values["messages"]] == ["?", "It runs.", "hello", "Hello."]


async def test_an_answer_to_nothing_is_refused() -> None:
    pods = Pods()
    service = team(pods.agent(restart(), "It runs."))
    with pytest.raises(UnknownInterruptError, match="Nothing waits there"):
        await service.decide("nobody", {"x": "approve"})
    assert await service.pending("nobody") == []
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(UnknownInterruptError, match=f"There wait: {pause.id}"):
        await service.decide("t", {"x": "approve", pause.id: "approve"})
    assert pods.restarted == []
    with pytest.raises(DecisionError, match="There is no decision"):
        await service.decide("t", {})
    await service.decide("t", {pause.id: "approve"})
    with pytest.raises(UnknownInterruptError, match="answered already"):
        await service.decide("t", {pause.id: "approve"})
    assert pods.restarted == ["web"]


async def test_without_a_checkpointer_nothing_can_wait() -> None:
    graph = build_supervisor([Pods().agent("x")], model=scripted_model())
    with pytest.raises(ConfigurationError, match="keeps no conversations"):
        await ChatService(graph).pending("t")
    with pytest.raises(ConfigurationError, match="keeps no conversations"):
        await resumed(ChatService(graph), {"x": "approve"})


@pytest.mark.parametrize(
    ("args", "waits"),
    [
        ({"pod": "web", "force": True}, True),
        ({"pod": "db", "force": False}, True),
        ({"pod": "web", "force": False}, False),
        ({"pod": "web"}, True),  # whether it is forced is not said: better asked than sorry
        ({"pod": "db"}, True),
    ],
)
async def test_a_condition_decides_which_calls_wait(args: dict[str, Any], waits: bool) -> None:
    pods = Pods()
    when = parse("args.force == True or args.pod == 'db'", ARGUMENTS)
    service = team(
        pods.agent(ToolUse("restart", args), "It runs.", approvals={"restart": Approval(when=when)})
    )
    answer = await service.ask("?", thread_id="t")
    assert bool(answer.interrupts) is waits
    assert bool(pods.restarted) is not waits
    if waits:
        assert (await service.decide("t", {answer.interrupts[0].id: "approve"})).answer == "It runs."


def test_an_approval_that_could_not_work_is_refused() -> None:
    pods = Pods()
    with pytest.raises(UnknownNameError, match=r"Unknown tool 'restrat'\. Did you mean 'restart'\?"):
        pods.agent("x", approvals={"restrat": True})
    when = parse("args.prod == 'x'", ARGUMENTS)
    with pytest.raises(ConfigurationError, match=r"it does not have\. Did you mean 'args\.pod'"):
        pods.agent("x", approvals={"restart": Approval(when=when)})
    pods.agent("x", approvals={"restart": False})


async def test_calls_of_one_answer_wait_one_by_one_while_the_others_run() -> None:
    pods = Pods()
    model = scripted_model([restart("a"), ToolUse("look", {"pod": "x"}), restart("b")], "Done.")
    agent = build_agent(name="ops", model=model, tools=pods.tools, approvals={"restart": True})
    service = team(agent)
    paused = await service.ask("?", thread_id="t")
    first, second = paused.interrupts
    assert [pause.calls[0].args["pod"] for pause in (first, second)] == ["a", "b"]
    half = await service.decide("t", {second.id: "approve"})
    assert (half.answer, half.interrupts, pods.restarted) == ("", [first], ["b"])
    assert await service.pending("t") == [first]
    assert (await service.decide("t", {first.id: "reject"})).answer == "Done."
    assert pods.restarted == ["b"]
    assert [message.type for message in model.calls[1]] == ["human", "ai", "tool", "tool", "tool"]
    assert [message.tool_call_id for message in model.calls[1][2:]] == [
        call["id"] for call in model.calls[1][1].tool_calls
    ]


async def test_both_at_once_work_as_well_and_a_wrong_one_stops_both_before_anything_runs() -> None:
    pods = Pods()
    service = team(pods.agent([restart("a"), restart("b")], "Done."))
    first, second = (await service.ask("?", thread_id="t")).interrupts
    wrong = {"type": "edit", "args": {"pod": []}}
    with pytest.raises(DecisionError):
        await service.decide("t", {first.id: "approve", second.id: wrong})
    assert (pods.restarted, await service.pending("t")) == ([], [first, second])
    await service.decide("t", {first.id: "approve", second.id: "approve"})
    assert sorted(pods.restarted) == ["a", "b"]


async def test_a_turn_may_pause_again() -> None:
    pods = Pods()
    service = team(pods.agent(restart("a"), restart("b"), "Done."))
    first = (await service.ask("?", thread_id="t")).interrupts[0]
    again = await service.decide("t", {first.id: "approve"})
    assert again.interrupts[0].id != first.id
    assert again.interrupts[0].calls[0].args == {"pod": "b"}
    assert (await service.decide("t", {again.interrupts[0].id: "approve"})).answer == "Done."


class TestAtTheSameTime:
    async def test_of_two_answers_to_one_pause_one_wins_and_the_tool_runs_once(self) -> None:
        pods = Pods()
        service = team(pods.agent(restart(), "It runs."))
        pause = (await service.ask("?", thread_id="t")).interrupts[0]
        done = await asyncio.gather(
            *(service.decide("t", {pause.id: "approve"}) for _ in range(5)), return_exceptions=True
        )
        assert pods.restarted == ["web"]
        answers = [answer.answer for answer in done if isinstance(answer, Answer)]
        assert answers == ["It runs."]
        assert sum(isinstance(answer, UnknownInterruptError) for answer in done) == 4

    async def test_so_it_is_with_checkpointers_that_only_share_the_database(self, database_url: str) -> None:
        pods = Pods()

        async def answered(pause: str | None) -> Answer:
            async with AsyncPostgresSaver.from_conn_string(database_url) as saver:
                await saver.setup()
                replies = [restart()] if pause is None else ["It runs."]
                service = team(pods.agent(*replies), saver=saver)
                if pause is None:
                    return await service.ask("?", thread_id="t")
                return await service.decide("t", {pause: "approve"})

        pause = (await answered(None)).interrupts[0]
        done = await asyncio.gather(*(answered(pause.id) for _ in range(4)), return_exceptions=True)
        assert pods.restarted == ["web"]
        assert [answer.answer for answer in done if isinstance(answer, Answer)] == ["It runs."]
        assert sum(isinstance(answer, UnknownInterruptError) for answer in done) == 3

    async def test_two_pauses_of_one_thread_answered_at_once_end_in_one_answer(self) -> None:
        pods = Pods()
        service = team(pods.agent(restart("a"), "A.", name="a"), pods.agent(restart("b"), "B.", name="b"))
        first, second = (await service.ask("?", thread_id="t")).interrupts
        done = await asyncio.gather(
            *(service.decide("t", {pause.id: "approve"}) for pause in (second, first))
        )
        assert {answer.answer for answer in done} == {"", "**a**\n\nA.\n\n**b**\n\nB."}
        assert sorted(pods.restarted) == ["a", "b"]

    async def test_a_pause_is_answered_only_when_the_turn_it_is_in_has_stopped(self) -> None:
        still = asyncio.Event()
        started = asyncio.Event()
        asked: list[str] = []

        async def slow(question: str, context: RunContext) -> list[Any]:
            asked.append(question)
            started.set()
            await still.wait()
            return []

        pods = Pods()
        other = build_agent(name="other", model=scripted_model("Other."), retriever=slow)
        service = team(pods.agent(restart(), "It runs."), other)
        turn = asyncio.create_task(service.ask("?", thread_id="t"))
        await started.wait()
        pauses = await eventually(lambda: service.pending("t"))
        answer = asyncio.create_task(service.decide("t", {pauses[0].id: "approve"}))
        await asyncio.sleep(0.2)
        assert pods.restarted == []
        still.set()
        assert (await turn).interrupts == pauses
        assert (await answer).answer == "**ops**\n\nIt runs.\n\n**other**\n\nOther."
        assert (asked, pods.restarted) == (["?"], ["web"])

    async def test_who_stops_listening_lets_the_next_one_in(self) -> None:
        pods = Pods()
        pods.gate = asyncio.Event()
        service = team(pods.agent(restart(), "It runs."))
        pause = (await service.ask("?", thread_id="t")).interrupts[0]
        async with aclosing(service.resume("t", {pause.id: "approve"})) as events:
            async for _ in events:
                break
        waiting = asyncio.create_task(service.decide("t", {pause.id: "approve"}))
        await eventually(pods.running)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        pods.gate.set()
        assert await service.pending("t") == [pause]  # nobody knows whether it restarted: ask again
        assert (await service.decide("t", {pause.id: "approve"})).answer == "It runs."


async def test_a_tool_that_fails_after_its_approval_fails_the_turn_and_the_thread_goes_on() -> None:
    pods = Pods()
    pods.error = RuntimeError("no such pod")
    service = team(pods.agent(restart(), "Hello."))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(RuntimeError, match="no such pod"):
        await service.decide("t", {pause.id: "approve"})
    assert await service.pending("t") == []
    with pytest.raises(UnknownInterruptError, match="Nothing waits there"):
        await service.decide("t", {pause.id: "reject"})
    assert (await service.ask("hello", thread_id="t")).answer == "Hello."
    assert pods.restarted == ["web"]
    state = await service._graphs.graph.aget_state({"configurable": {"thread_id": "t"}})
    assert [message.text for message in state.values["messages"]] == ["?", "hello", "Hello."]


async def test_a_tool_that_failed_after_its_approval_may_be_tried_again() -> None:
    pods = Pods()
    pods.error = RuntimeError("no such pod")
    service = team(pods.agent(restart(), "It runs."))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(RuntimeError, match="no such pod"):
        await service.decide("t", {pause.id: "approve"})
    pods.error = None
    assert (await service.decide("t", {})).answer == "It runs."
    assert pods.restarted == ["web", "web"]


async def test_a_model_that_fails_after_an_approved_call_does_not_make_it_run_again() -> None:
    pods = Pods()
    service = team(pods.agent(restart(), ProviderError("down", provider="x"), "It runs."))
    pause = (await service.ask("?", thread_id="t")).interrupts[0]
    with pytest.raises(ProviderError, match="down"):
        await service.decide("t", {pause.id: "approve"})
    assert await service.pending("t") == []
    with pytest.raises(UnknownInterruptError):  # it has run: nobody can reject it any more
        await service.decide("t", {pause.id: "reject"})
    events = await resumed(service, {})
    assert told(events) == events[-1].data.answer == "It runs."
    assert pods.restarted == ["web"]


async def test_the_rest_is_run_for_whom_it_is_said_to_be() -> None:
    seen: list[str] = []

    @tool(name="who")
    def who() -> str:
        """Say who asks."""
        from langgraph.runtime import get_runtime

        seen.append(get_runtime(RunContext).context.user)
        return "ok"

    agent = build_agent(
        name="a", model=scripted_model(ToolUse("who", {}), "Done."), tools=[who], approvals={"who": True}
    )
    service = team(agent)
    pause = (await service.ask("?", thread_id="t", context=RunContext(user="ana"))).interrupts[0]
    await service.decide("t", {pause.id: "approve"}, context=RunContext(user="ana"))
    assert seen == ["ana"]


class TestOtherInterrupts:
    async def test_a_question_of_a_tools_own_gets_what_it_asks_for(self) -> None:
        @tool(name="ask")
        def ask() -> str:
            """Ask a person."""
            return str(interrupt({"question": "Which pod?"}))

        model = scripted_model(ToolUse("ask", {}), "Done.")
        service = team(build_agent(name="a", model=model, tools=[ask]))
        (pause,) = (await service.ask("?", thread_id="t")).interrupts
        assert (pause.agent, pause.calls, pause.question) == ("a", (), {"question": "Which pod?"})
        assert (await service.decide("t", {pause.id: ["web"]})).answer == "Done."
        assert model.calls[1][-1].text == "['web']"

    async def test_a_batched_approval_takes_one_decision_a_call(self) -> None:
        pods = Pods()
        middleware = HumanInTheLoopMiddleware({"restart": {"allowed_decisions": ["approve", "reject"]}})
        model = scripted_model([restart("a"), restart("b")], "Done.")
        made = create_agent(model, pods.tools, middleware=[middleware], context_schema=RunContext, name="a")
        service = team(Graph.adopt(made, about=AgentCard("a")))
        (pause,) = (await service.ask("?", thread_id="t")).interrupts
        assert [(call.args["pod"], call.decisions) for call in pause.calls] == [
            ("a", ("approve", "reject")),
            ("b", ("approve", "reject")),
        ]
        with pytest.raises(DecisionError, match="There are 2 calls to decide on, and 1 decisions"):
            await service.decide("t", {pause.id: "approve"})
        assert (await service.decide("t", {pause.id: ["reject", "approve"]})).answer == "Done."
        assert pods.restarted == ["b"]

    async def test_an_answer_that_does_not_fit_is_never_a_failed_part(self) -> None:
        """Whoever resumes the graph itself is told, and can answer again."""
        pods = Pods()
        graph = team(pods.agent(restart(), "Ops."), pods.agent("B.", name="b"))._graphs.graph
        config: Any = {"configurable": {"thread_id": "t"}}
        paused = await graph.ainvoke({"messages": [("user", "?")]}, config)
        asked = paused["__interrupt__"][0].id
        with pytest.raises(ValueError, match="does not match any of the expected tags"):
            await graph.ainvoke(Command(resume={asked: {"type": "respond", "message": "x"}}), config)
        result = await graph.ainvoke(Command(resume={asked: {"type": "approve"}}), config)
        assert result["messages"][-1].text == "**ops**\n\nOps.\n\n**b**\n\nB."


class TestTeams:
    async def test_what_was_done_before_the_pause_is_told_again_and_the_answer_is_whole(self) -> None:
        pods = Pods()
        others = build_agent(name="b", model=scripted_model("B [1].", name="b-model"), retriever=passages)
        service = team(others, pods.agent(restart(), "Ops."))
        events = [event async for event in service.stream("?", thread_id="t")]
        assert told(events) == "**b**\n\nB [1]."
        (pause,) = events[-1].data.interrupts
        assert (events[-1].data.answer, pause.agent) == ("", "ops")
        events = await resumed(service, {pause.id: "approve"})
        answer = events[-1].data
        assert told(events) == answer.answer == "**b**\n\nB [1].\n\n**ops**\n\nOps."
        assert sorted(event.data["agent"] for event in events if event.type == "part") == ["b", "ops"]
        assert [source["index"] for source in answer.sources] == [1]
        assert answer.model == "b-model, scripted"
        assert kinds(events)[0] == "route"
        assert kinds(events)[-1] == "done"

    async def test_a_combined_answer_is_made_when_the_last_pause_is_answered(self) -> None:
        pods = Pods()
        service = team(
            pods.agent(restart(), "Ops."),
            pods.agent("B.", name="b"),
            model=scripted_model("Both."),
            combine=lambda answers: f"{answers}\n",
        )
        (pause,) = (await service.ask("?", thread_id="t")).interrupts
        events = await resumed(service, {pause.id: "approve"})
        assert told(events) == events[-1].data.answer == "Both."

    async def test_what_waits_is_listed_in_the_order_of_the_route(self) -> None:
        pods = Pods()

        async def late(question: str, context: RunContext) -> list[Any]:
            await asyncio.sleep(0.05)
            return []

        service = team(pods.agent(restart("a"), name="z", retriever=late), pods.agent(restart("b"), name="a"))
        answer = await service.ask("?", thread_id="t")
        assert [pause.agent for pause in answer.interrupts] == ["z", "a"]
        assert await service.pending("t") == answer.interrupts

    async def test_a_team_inside_a_team_waits_call_by_call(self) -> None:
        pods = Pods()
        inner = team(
            pods.agent(restart("a"), "A.", name="a"), pods.agent(restart("b"), "B.", name="b"), name="sub"
        )._graphs.graph
        inner.checkpointer = None
        service = team(inner, pods.agent(restart("c"), "C.", name="c"))
        first, second, third = (await service.ask("?", thread_id="t")).interrupts
        assert [pause.agent for pause in (first, second, third)] == ["sub", "sub", "c"]
        with pytest.raises(DecisionError, match="Did you mean 'pod'"):
            await service.decide("t", {first.id: {"type": "edit", "args": {"prod": "a"}}})
        assert (await service.decide("t", {second.id: "approve"})).interrupts == [first, third]
        assert (await service.decide("t", {first.id: "approve"})).interrupts == [third]
        answer = await service.decide("t", {third.id: "reject"})
        assert answer.answer == "**sub**\n\n**a**\n\nA.\n\n**b**\n\nB.\n\n**c**\n\nC."
        assert pods.restarted == ["b", "a"]


async def test_a_thread_shows_what_was_said_and_what_waits() -> None:
    pods = Pods()
    service = team(pods.agent("Hello.", restart()))
    await service.ask("hello", thread_id="t")
    (pause,) = (await service.ask("restart", thread_id="t")).interrupts
    thread = await service.thread("t")
    assert [(said.role, said.name, said.text) for said in thread.messages] == [
        ("human", "", "hello"),
        ("ai", "ops", "Hello."),
        ("human", "", "restart"),
    ]
    assert thread.interrupts == [pause]


async def test_what_else_wraps_a_tool_starts_after_the_pause_and_does_not_swallow_it() -> None:
    pods = Pods()
    retry = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    service = team(pods.agent(restart(), "It runs.", middleware=[retry], tool_limits={"restart": 1}))
    (pause,) = (await service.ask("?", thread_id="t")).interrupts
    assert (await service.decide("t", {pause.id: "approve"})).answer == "It runs."
    assert pods.restarted == ["web"]
