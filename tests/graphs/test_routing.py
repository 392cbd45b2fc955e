import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agentkit.context import RunContext
from agentkit.errors import (
    BudgetExceededError,
    ConfigurationError,
    EmbeddingError,
    ProviderError,
    ScriptError,
    UnknownNameError,
)
from agentkit.graphs.routing import AgentCard, LLMRouting, Routing, Rule, RulesRouting, SemanticRouting
from agentkit.graphs.routing.base import ANYONE
from agentkit.llm.providers.scripted import ToolUse
from agentkit.testing import scripted_model

from .helpers import TopicEmbeddings

AGENTS = (
    AgentCard("kubernetes", "pod trouble", ("my pod restarts",)),
    AgentCard("python", "python code"),
    AgentCard("architect", "architecture"),
)


def said(text: str) -> list[HumanMessage]:
    return [HumanMessage(text)]


def prompt(agents: str) -> str:
    return f"Choose:\n{agents}"


class TestRules:
    async def test_the_first_rule_that_holds_decides(self) -> None:
        rules = [
            Rule("'kubectl' in message", ("kubernetes",)),
            Rule("'kubectl' in text", ("kubernetes", "architect")),
            Rule("'KUBECTL' in message", ("python",)),
        ]
        decision = await RulesRouting(rules).decide(said("KUBECTL fails"), AGENTS)
        assert decision == {
            "agents": ["kubernetes", "architect"],
            "method": "rules",
            "scores": {},
            "reason": "the rule 'kubectl' in text holds",
        }

    async def test_passes_when_none_holds(self) -> None:
        rule = Rule("'kubectl' in text", ("kubernetes",))
        assert await RulesRouting([rule]).decide(said("hello"), AGENTS) is None

    async def test_may_send_to_the_supervisor(self) -> None:
        decision = await RulesRouting([Rule("text == 'hi'", ("supervisor",))]).decide(said("Hi"), AGENTS)
        assert decision is not None
        assert (decision["agents"], decision["method"]) == ([], "rules")

    @pytest.mark.parametrize(
        ("when", "holds"),
        [
            ("user == 'ana' and tenant == 'acme'", True),
            ("history_length == 2", True),
            ("history_length == 0", False),
            ("message == 'Third'", True),
        ],
    )
    async def test_knows_who_asks_and_how_much_was_said(self, when: str, holds: bool) -> None:
        messages = [HumanMessage("First"), AIMessage("Second"), HumanMessage("Third")]
        context = RunContext(user="ana", tenant="acme")
        decision = await RulesRouting([Rule(when, ("python",))]).decide(messages, AGENTS, context)
        assert (decision is not None) is holds

    def test_a_wrong_expression_is_refused_when_it_is_built(self) -> None:
        with pytest.raises(ConfigurationError, match=r"The rule 'exit\(\)' is wrong: Calls are not allowed"):
            RulesRouting([Rule("exit()", ("python",))])

    async def test_an_unknown_agent_is_named(self) -> None:
        with pytest.raises(UnknownNameError, match="Unknown agent 'pyton'. Did you mean 'python'"):
            await RulesRouting([Rule("1 == 1", ("pyton",))]).decide(said("x"), AGENTS)


class TestSemantic:
    async def test_chooses_the_most_similar_agent(self) -> None:
        decision = await SemanticRouting(TopicEmbeddings()).decide(said("pod pod"), AGENTS)
        assert decision is not None
        assert decision["agents"] == ["kubernetes"]
        assert set(decision["scores"]) == {"kubernetes", "python", "architect"}

    @pytest.mark.parametrize(
        ("text", "options"),
        [
            ("pod python", {"margin": 0.05}),  # two are equally near
            ("hello", {"threshold": 0.5}),  # none is near
            ("   ", {}),
        ],
    )
    async def test_passes_when_no_agent_is_clear(self, text: str, options: dict[str, float]) -> None:
        assert await SemanticRouting(TopicEmbeddings(), **options).decide(said(text), AGENTS) is None

    @pytest.mark.parametrize(
        ("text", "parallel", "chosen"),
        [
            ("pod python", 1, None),  # as near as can be: another strategy must say
            ("pod python", 2, ["kubernetes", "python"]),
            ("python pod", 3, ["kubernetes", "python"]),  # equal: in the agents' order
            ("pod pod python", 2, ["kubernetes"]),  # a clear lead stays one agent
            ("pod python architecture", 2, None),  # too many are near
            ("pod python architecture", 3, ["kubernetes", "python", "architect"]),
            ("hello", 3, None),  # all are near, and none is near enough
        ],
    )
    async def test_several_that_are_near_are_asked_together(
        self, text: str, parallel: int, chosen: list[str] | None
    ) -> None:
        routing = SemanticRouting(TopicEmbeddings(), threshold=0.3, margin=0.05, parallel=parallel)
        decision = await routing.decide(said(text), AGENTS)
        assert (decision["agents"] if decision else None) == chosen

    async def test_best_first_and_only_those_over_the_threshold(self) -> None:
        routing = SemanticRouting(TopicEmbeddings(), threshold=0.3, margin=0.9, parallel=3)
        decision = await routing.decide(said("python python python pod"), AGENTS)
        assert decision is not None
        assert decision["agents"] == ["python", "kubernetes"]
        assert decision["reason"].startswith("similarity 0.95 to python, 0.")
        assert ", next architect 0." in decision["reason"]

    async def test_the_supervisor_is_never_one_of_several(self) -> None:
        routing = SemanticRouting(TopicEmbeddings(), threshold=0.3, margin=0.1, own=["pod hi"], parallel=3)
        assert await routing.decide(said("pod"), AGENTS) is None

    async def test_the_supervisor_competes_with_its_own_examples(self) -> None:
        routing = SemanticRouting(TopicEmbeddings(), own=["hello", "thanks"])
        decision = await routing.decide(said("good evening"), AGENTS)
        assert decision is not None
        assert (decision["agents"], decision["method"]) == ([], "semantic")
        assert decision["reason"].startswith("similarity 1.00 to supervisor")

    async def test_an_agent_scores_the_mean_of_its_two_best_texts(self) -> None:
        agents = (AgentCard("a", "pod", ("python", "architecture")), AgentCard("b", "pod pod"))
        scores: dict[str, float] = {}
        await SemanticRouting(TopicEmbeddings(), margin=1).decide(said("pod"), agents, ANYONE, scores)
        assert scores["b"] == pytest.approx(1, abs=0.01)
        # one text that fits, and the next best, that does not
        assert scores["a"] == pytest.approx(0.5, abs=0.02)

    async def test_embeds_the_agents_once(self) -> None:
        embeddings = TopicEmbeddings()
        routing = SemanticRouting(embeddings)
        for _ in range(3):
            await routing.decide(said("pod"), AGENTS)
        assert len(embeddings.queries) == 4 + 3

    async def test_judges_the_last_thing_the_user_said(self) -> None:
        messages = [HumanMessage("python"), AIMessage("python"), HumanMessage("pod"), AIMessage("python")]
        decision = await SemanticRouting(TopicEmbeddings()).decide(messages, AGENTS)
        assert decision is not None
        assert decision["agents"] == ["kubernetes"]


class TestLLM:
    async def test_chooses_the_agent_the_model_names(self) -> None:
        model = scripted_model({"agent": "python"})
        decision = await LLMRouting(model, prompt).decide(said("generators"), AGENTS)
        assert decision is not None
        assert (decision["agents"], decision["method"]) == (["python"], "llm")
        assert model.calls[0][0].text.startswith("Choose:\n- kubernetes: pod trouble\n- python")

    async def test_none_means_the_supervisor_answers(self) -> None:
        decision = await LLMRouting(scripted_model({"agent": "none"}), prompt).decide(said("hi"), AGENTS)
        assert decision is not None
        assert decision["agents"] == []

    @pytest.mark.parametrize("nonsense", [{"agent": "banker"}, "not JSON", {"other": 1}])
    async def test_an_invalid_reply_is_asked_for_once_more(self, nonsense: object) -> None:
        model = scripted_model(nonsense, {"agent": "python"})
        decision = await LLMRouting(model, prompt).decide(said("x"), AGENTS)
        assert decision is not None
        assert decision["agents"] == ["python"]

    @pytest.mark.parametrize("nonsense", [{"agent": "banker"}, {"other": 1}])
    async def test_two_invalid_replies_pass(self, nonsense: dict[str, object]) -> None:
        model = scripted_model(nonsense, nonsense)
        assert await LLMRouting(model, prompt).decide(said("x"), AGENTS) is None
        model.assert_done()

    async def test_the_second_request_says_what_was_wrong_and_so_is_another_one(self) -> None:
        model = scripted_model({"agent": "banker"}, {"agent": "python"})
        await LLMRouting(model, prompt).decide(said("x"), AGENTS)
        first, second = (call[0].text for call in model.calls)
        assert second.startswith(first + "\n")
        assert second.endswith("Reply with one of these only: kubernetes, python, architect, none")
        assert [message.text for message in model.calls[1][1:]] == ["x"]

    async def test_replies_that_are_not_json_lead_to_a_tool(self) -> None:
        asked: list[dict[str, object]] = []
        model = scripted_model("?", "python!", ToolUse("delegate", {"agent": "python"}))
        model.provider.chat = _spy(model.provider.chat, asked)  # type: ignore[method-assign]
        decision = await LLMRouting(model, prompt).decide(said("x"), AGENTS)
        assert decision == {
            "agents": ["python"],
            "method": "llm",
            "scores": {},
            "reason": "the routing model chose python by the tool delegate: its replies were not JSON",
        }
        (tool,) = asked[2]["tools"]  # type: ignore[misc]
        names = tool["function"]["parameters"]["properties"]["agent"]["enum"]
        assert (tool["function"]["name"], names) == (
            "delegate",
            ["kubernetes", "python", "architect", "none"],
        )
        assert (asked[2]["tool_choice"], asked[2].get("response_format")) == ("any", None)

    @pytest.mark.parametrize(
        "third", ["python", ToolUse("delegate", {"agent": "banker"}), ToolUse("delegate", {})]
    )
    async def test_after_three_replies_without_a_name_it_passes(self, third: object) -> None:
        model = scripted_model("?", "?", third)
        assert await LLMRouting(model, prompt).decide(said("x"), AGENTS) is None
        model.assert_done()

    async def test_a_refused_response_format_leads_to_a_tool_at_once_and_from_then_on(self) -> None:
        refused = ProviderError("response_format is not supported", provider="x", status=400)
        calls = [ToolUse("delegate", {"agent": "none"}), ToolUse("delegate", {"agent": "python"})]
        routing = LLMRouting(model := scripted_model(refused, *calls), prompt)
        first = await routing.decide(said("x"), AGENTS)
        second = await routing.decide(said("y"), AGENTS)
        assert first is not None
        assert second is not None
        assert (first["agents"], first["method"]) == ([], "llm")
        assert first["reason"].endswith(
            "found that no agent fits by the tool delegate: its provider refuses a response format"
        )
        assert second["agents"] == ["python"]
        model.assert_done()

    async def test_a_refusal_with_another_reason_is_not_remembered(self) -> None:
        too_long = ProviderError("too long", provider="x", status=400)
        routing = LLMRouting(model := scripted_model(too_long, too_long, {"agent": "python"}), prompt)
        with pytest.raises(ProviderError, match="too long"):
            await routing.decide(said("x"), AGENTS)
        decision = await routing.decide(said("y"), AGENTS)
        assert decision is not None
        assert decision["reason"] == "the routing model chose python"
        model.assert_done()

    async def test_several_calls_of_the_tool_are_several_agents(self) -> None:
        uses = [ToolUse("delegate", {"agent": name}) for name in ("python", "architect", "kubernetes")]
        model = scripted_model("?", "?", uses)
        decision = await LLMRouting(model, prompt, parallel=2).decide(said("x"), AGENTS)
        assert decision is not None
        assert decision["agents"] == ["python", "architect"]

    @pytest.mark.parametrize(
        ("scores", "names"),
        [
            ({}, ["kubernetes", "python", "architect", "none"]),  # nothing compared them
            (
                {"kubernetes": 0.1, "python": 0.3, "architect": 0.4, "supervisor": 0.2},
                ["python", "architect"],
            ),
            ({"kubernetes": 0.1, "python": 0.3, "architect": 0.2, "supervisor": 0.4}, ["python", "none"]),
            ({"kubernetes": 0.1, "python": 0.3, "architect": 0.2}, ["python", "none"]),  # none has no score
        ],
    )
    async def test_candidates_are_the_nearest(self, scores: dict[str, float], names: list[str]) -> None:
        asked: list[dict[str, object]] = []
        model = scripted_model({"agent": "python"})
        model.provider.chat = _spy(model.provider.chat, asked)  # type: ignore[method-assign]
        await LLMRouting(model, prompt, candidates=2).decide(said("x"), AGENTS, ANYONE, scores)
        schema = asked[0]["response_format"]["json_schema"]["schema"]  # type: ignore[index]
        assert schema["properties"]["agent"]["enum"] == names
        listed = model.calls[0][0].text
        assert [name for name in ("kubernetes", "python", "architect") if f"- {name}:" in listed] == [
            name for name in names if name != "none"
        ]

    async def test_a_provider_error_is_not_mistaken_for_an_invalid_reply(self) -> None:
        model = scripted_model(ProviderError("down", provider="x"))
        with pytest.raises(ProviderError, match="down"):
            await LLMRouting(model, prompt).decide(said("x"), AGENTS)

    async def test_a_script_without_a_step_fails(self) -> None:
        with pytest.raises(ScriptError):
            await LLMRouting(scripted_model(), prompt).decide(said("x"), AGENTS)

    async def test_for_one_agent_the_request_is_the_one_small_models_know(self) -> None:
        asked: list[dict[str, object]] = []
        model = scripted_model({"agent": "python"})
        model.provider.chat = _spy(model.provider.chat, asked)  # type: ignore[method-assign]
        await LLMRouting(model, prompt).decide(said("x"), AGENTS)
        schema = asked[0]["response_format"]["json_schema"]["schema"]  # type: ignore[index]
        assert schema["properties"] == {
            "agent": {"type": "string", "enum": ["kubernetes", "python", "architect", "none"]}
        }

    async def test_for_several_it_is_a_list_of_at_most_so_many(self) -> None:
        asked: list[dict[str, object]] = []
        model = scripted_model({"agents": ["python", "kubernetes"]})
        model.provider.chat = _spy(model.provider.chat, asked)  # type: ignore[method-assign]
        decision = await LLMRouting(model, prompt, parallel=2).decide(said("x"), AGENTS)
        assert decision is not None
        assert (decision["agents"], decision["method"]) == (["python", "kubernetes"], "llm")
        assert decision["reason"] == "the routing model chose python, kubernetes"
        schema = asked[0]["response_format"]["json_schema"]["schema"]  # type: ignore[index]
        assert schema["properties"]["agents"]["maxItems"] == 2

    @pytest.mark.parametrize(
        ("reply", "chosen"),
        [
            (["python", "python"], ["python"]),
            (["none"], []),
            (["none", "python"], ["python"]),
            (["python", "kubernetes", "architect"], ["python", "kubernetes"]),
        ],
    )
    async def test_lists_that_a_model_did_not_think_about(self, reply: list[str], chosen: list[str]) -> None:
        decision = await LLMRouting(scripted_model({"agents": reply}), prompt, parallel=2).decide(
            said("x"), AGENTS
        )
        assert decision is not None
        assert decision["agents"] == chosen

    @pytest.mark.parametrize("nonsense", [{"agents": []}, {"agents": ["banker"]}, {"agents": None}, [1], "?"])
    async def test_invalid_lists_are_asked_for_once_more_then_passed(self, nonsense: object) -> None:
        reply = nonsense if isinstance(nonsense, (dict, str)) else str(nonsense)
        third = [] if isinstance(nonsense, dict) or reply == "[1]" else ["?"]  # with a tool, if not JSON
        model = scripted_model(reply, reply, *third)
        assert await LLMRouting(model, prompt, parallel=2).decide(said("x"), AGENTS) is None
        model.assert_done()

    async def test_shows_the_recent_conversation_only(self) -> None:
        model = scripted_model({"agent": "none"})
        await LLMRouting(model, prompt).decide([HumanMessage(str(number)) for number in range(9)], AGENTS)
        assert [message.text for message in model.calls[0][1:]] == ["4", "5", "6", "7", "8"]


class TestCascade:
    async def test_the_first_strategy_that_decides_wins(self) -> None:
        model = scripted_model({"agent": "python"})
        routing = Routing((SemanticRouting(TopicEmbeddings(), threshold=0.9), LLMRouting(model, prompt)))
        first = await routing.decide(said("pod"), AGENTS)
        assert first["method"] == "semantic"
        second = await routing.decide(said("hello"), AGENTS)
        assert second["method"] == "llm"
        assert set(second["scores"]) == {"kubernetes", "python", "architect"}  # why similarity passed

    async def test_a_direct_route_has_the_scores_too(self) -> None:
        route = await Routing((SemanticRouting(TopicEmbeddings(), threshold=0.9),)).decide(
            said("hello"), AGENTS
        )
        assert (route["method"], set(route["scores"])) == ("direct", {"kubernetes", "python", "architect"})

    async def test_candidates_come_from_the_strategy_before(self) -> None:
        model = scripted_model({"agent": "python"})
        semantic = SemanticRouting(TopicEmbeddings(), margin=0.3, own=["hello"])
        await Routing((semantic, LLMRouting(model, prompt, candidates=2))).decide(said("pod python"), AGENTS)
        assert "architect" not in model.calls[0][0].text

    async def test_when_none_decides_it_is_direct(self) -> None:
        decision = await Routing(()).decide(said("x"), AGENTS)
        assert (decision["agents"], decision["method"]) == ([], "direct")

    async def test_a_strategy_that_fails_leaves_it_to_the_next(self) -> None:
        down = LLMRouting(scripted_model(ProviderError("down", provider="x")), prompt)
        routing = Routing((Broken(), down, RulesRouting([Rule("1 == 1", ("python",))])))
        decision = await routing.decide(said("x"), AGENTS)
        assert (decision["agents"], decision["method"]) == (["python"], "rules")

    async def test_the_last_ones_failure_is_the_runs(self) -> None:
        down = LLMRouting(scripted_model(ProviderError("down", provider="x")), prompt)
        with pytest.raises(ProviderError, match="down"):
            await Routing((SemanticRouting(TopicEmbeddings(), threshold=0.9), down)).decide(
                said("hello"), AGENTS
            )

    async def test_a_failure_before_an_invalid_reply_is_no_error(self) -> None:
        routing = Routing((Broken(), LLMRouting(scripted_model("?", "?", "?"), prompt)))
        assert (await routing.decide(said("x"), AGENTS))["method"] == "direct"

    async def test_a_spent_budget_is_not_routed_around(self) -> None:
        spent = BudgetExceededError("Spent.", limit="tokens", spent=9, allowed=5)
        routing = Routing(
            (LLMRouting(scripted_model(spent), prompt), RulesRouting([Rule("1 == 1", ("python",))]))
        )
        with pytest.raises(BudgetExceededError, match="Spent"):
            await routing.decide(said("x"), AGENTS)


class Broken(SemanticRouting):
    """Its embedding model cannot be asked."""

    def __init__(self) -> None:
        super().__init__(TopicEmbeddings())

    async def decide(self, *_: object) -> None:
        raise EmbeddingError("no vectors")


def _spy(chat: object, asked: list[dict[str, object]]) -> object:
    """Note the options of each call of a provider."""

    def noted(*arguments: object, **options: object) -> object:
        asked.append(options)
        return chat(*arguments, **options)  # type: ignore[operator]

    return noted
