import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agentkit.errors import ProviderError, ScriptError
from agentkit.graphs.routing import AgentCard, LLMRouting, Routing, SemanticRouting
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

    async def test_the_supervisor_competes_with_its_own_examples(self) -> None:
        routing = SemanticRouting(TopicEmbeddings(), own=["hello", "thanks"])
        decision = await routing.decide(said("good evening"), AGENTS)
        assert decision is not None
        assert (decision["agents"], decision["method"]) == ([], "semantic")
        assert decision["reason"].startswith("similarity 1.00 to supervisor")

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

    async def test_two_invalid_replies_pass(self) -> None:
        model = scripted_model("?", "?")
        assert await LLMRouting(model, prompt).decide(said("x"), AGENTS) is None
        model.assert_done()

    async def test_a_provider_error_is_not_mistaken_for_an_invalid_reply(self) -> None:
        model = scripted_model(ProviderError("down", provider="x"))
        with pytest.raises(ProviderError, match="down"):
            await LLMRouting(model, prompt).decide(said("x"), AGENTS)

    async def test_a_script_without_a_step_fails(self) -> None:
        with pytest.raises(ScriptError):
            await LLMRouting(scripted_model(), prompt).decide(said("x"), AGENTS)

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

    async def test_when_none_decides_it_is_direct(self) -> None:
        decision = await Routing(()).decide(said("x"), AGENTS)
        assert (decision["agents"], decision["method"]) == ([], "direct")
