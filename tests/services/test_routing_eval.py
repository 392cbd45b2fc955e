"""What an evaluation of routing counts, and what it suggests."""

import pytest

from agentkit.blueprints.routing_set import Utterance
from agentkit.errors import ProviderError
from agentkit.graphs.routing import AgentCard, LLMRouting, Routing, Rule, RulesRouting
from agentkit.graphs.state import RouteDecision
from agentkit.services.routing_eval import Routed, Share, evaluate, suggest
from agentkit.testing import scripted_model

AGENTS = (AgentCard("a", "first"), AgentCard("b", "second"))


def utterance(text: str, *routes: tuple[str, ...]) -> Utterance:
    return Utterance(text, routes, 1)


def scored(best: float, lead: float, *, right: bool) -> Routed:
    label = utterance("x", ("a",) if right else ("b",))
    return Routed(label, ("a",), "semantic", {"a": best, "b": best - lead}, "")


class Similar:
    """Decides what is in the message: `a 0.4`; passes on what is below one half."""

    async def decide(self, messages, agents, context, scores):
        name, value = messages[-1].text.split()
        scores.update({"a": 0.0, "b": 0.0, name: float(value)})
        if float(value) < 0.5:
            return None
        agents = [] if name == "supervisor" else [name]
        return RouteDecision(agents=agents, method="semantic", scores=dict(scores), reason="similar")


async def test_counts_by_method_and_who_was_taken_for_whom() -> None:
    rule = RulesRouting([Rule("message == 'rule'", ("b",))])
    model = scripted_model({"agent": "b"}, {"agent": "none"}, ProviderError("down", provider="x"))
    routing = Routing((rule, Similar(), LLMRouting(model, "{}".format)))
    told: list[Routed] = []
    report = await evaluate(
        routing,
        AGENTS,
        [
            utterance("rule", ("b",)),
            utterance("a 0.9", ("a",), ("a", "b")),
            utterance("b 0.9", ("a",), ("b", "a")),
            utterance("supervisor 0.9", ()),
            utterance("a 0.4", ("b",)),
            utterance("a 0.3", ("a",)),
            utterance("a 0.2", ()),
        ],
        on_result=told.append,
    )
    assert report.accuracy == Share(4, 7)
    assert report.decided == Share(4, 7)
    assert report.decided_right == Share(3, 4)
    assert report.methods == {
        "semantic": Share(2, 3),
        "llm": Share(1, 2),
        "rules": Share(1, 1),
        "failed": Share(0, 1),
    }
    assert report.confusion == {
        "a": {"a": 1, "b": 1, "supervisor": 1},
        "b": {"b": 2},
        "supervisor": {"supervisor": 1, "failed": 1},
    }
    assert [result.utterance.text for result in report.wrong] == ["b 0.9", "a 0.3", "a 0.2"]
    # what the semantic strategy found is known also where the model decided
    assert report.results[4].scores == {"a": 0.4, "b": 0.0}
    assert (report.results[6].method, report.results[6].reason) == ("failed", "down")
    assert tuple(told) == report.results


async def test_nothing_decided_is_nothing_wrong() -> None:
    report = await evaluate(Routing(()), AGENTS, [utterance("x", ("a",))])
    assert (report.decided_right, report.decided_right.value) == (Share(0, 0), None)
    assert report.suggestion is None


def test_suggests_what_decides_most_at_the_accuracy_aimed_at() -> None:
    good = [scored(0.6, 0.2, right=True)] * 50
    unclear = [scored(0.4, 0.065, right=True)] * 30
    bad = [scored(0.4, 0.055, right=False)] * 20
    found = suggest(good + unclear + bad, target=0.97)
    assert found is not None
    assert (found.threshold, found.margin) == (0.4, 0.06)
    assert (found.decided, found.right) == (Share(80, 100), Share(80, 80))
    assert (found.unseen_decided, found.unseen_right) == (Share(80, 100), Share(80, 80))
    lenient = suggest(good + unclear + bad, target=0.8)
    assert lenient is not None
    assert (lenient.decided, lenient.margin) == (Share(100, 100), 0.05)


def test_suggests_nothing_that_is_not_right_often_enough() -> None:
    assert suggest([scored(0.6, 0.2, right=False)] * 5) is None


def test_settings_chosen_by_luck_show_on_what_they_were_not_chosen_on() -> None:
    # The one utterance with the best score of all is wrong: only without it a low margin looks right.
    results = [scored(0.5, 0.1, right=True)] * 9 + [scored(0.5, 0.1, right=False)]
    found = suggest(results, target=1.0)
    assert found is None
    assert suggest(results, target=0.9) is not None


@pytest.mark.parametrize(("parallel", "decided"), [(1, 0), (2, 4)])
def test_several_agents_count_where_several_are_allowed(parallel: int, decided: int) -> None:
    result = Routed(utterance("x", ("a", "b")), ("b", "a"), "semantic", {"a": 0.5, "b": 0.5, "c": 0}, "")
    found = suggest([result] * 4, parallel=parallel)
    assert (found.decided.count if found else 0) == decided
