"""Measuring a blueprint's routing on labelled utterances, and suggesting its threshold and margin."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from langchain_core.messages import HumanMessage
from numpy.typing import NDArray

from agentkit.blueprints.routing_set import Utterance
from agentkit.errors import EmbeddingError, ProviderError
from agentkit.graphs.routing import AgentCard, Routing
from agentkit.graphs.routing.base import SUPERVISOR
from agentkit.graphs.routing.semantic import choose

FAILED = "failed"
"""Method of an utterance whose route could not be decided, because a model failed."""

_WITHOUT_A_MODEL = ("rules", "semantic")
_FOLDS = 5


@dataclass(frozen=True, slots=True)
class Routed:
    """What became of one utterance.

    Attributes:
        utterance: The message and its label.
        agents: Who was chosen; empty: the supervisor.
        method: Strategy that decided, `direct` when none did, `failed` when a model failed.
        scores: By agent and `supervisor`, where the semantic strategy was asked.
        reason: Why, in one sentence; of a failure, what it said.
    """

    utterance: Utterance
    agents: tuple[str, ...]
    method: str
    scores: Mapping[str, float]
    reason: str

    @property
    def right(self) -> bool:
        """Whether that is one of the right answers."""
        routes = [frozenset(route) for route in self.utterance.routes]
        return self.method != FAILED and frozenset(self.agents) in routes

    @property
    def got(self) -> str:
        """Who was chosen, as text."""
        return FAILED if self.method == FAILED else named(self.agents)

    @property
    def expected(self) -> str:
        """The right answer; where there are several, the one that was given, else the first."""
        return self.got if self.right else named(self.utterance.routes[0])


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many: `of` is 0 where there was nothing to be right about."""

    count: int
    of: int

    @property
    def value(self) -> float | None:
        """The share in [0, 1], or None of nothing."""
        return self.count / self.of if self.of else None


@dataclass(frozen=True, slots=True)
class Suggestion:
    """The threshold and margin that decide most, at the accuracy aimed at.

    Attributes:
        threshold: For `routing.semantic.threshold`.
        margin: For `routing.semantic.margin`.
        decided: How many of these utterances they decide.
        right: How many of those rightly.
        unseen_decided: The same by cross-validation: chosen on four fifths, counted on the rest.
        unseen_right: How many of those rightly. What to expect of messages nobody tuned on.
    """

    threshold: float
    margin: float
    decided: Share
    right: Share
    unseen_decided: Share
    unseen_right: Share


@dataclass(frozen=True, slots=True)
class RoutingReport:
    """All that was found out.

    Attributes:
        results: One for each utterance, in the file's order.
        suggestion: None when the semantic strategy was never asked, or cannot be that accurate.
    """

    results: tuple[Routed, ...]
    suggestion: Suggestion | None

    @property
    def accuracy(self) -> Share:
        """Right routes of all."""
        return Share(sum(result.right for result in self.results), len(self.results))

    @property
    def decided(self) -> Share:
        """Routes decided without asking a model, of all."""
        return Share(len(self._without_a_model), len(self.results))

    @property
    def decided_right(self) -> Share:
        """Right ones of those decided without asking a model."""
        return Share(sum(result.right for result in self._without_a_model), len(self._without_a_model))

    @property
    def methods(self) -> dict[str, Share]:
        """By method: how many of its routes are right."""
        total = Counter(result.method for result in self.results)
        right = Counter(result.method for result in self.results if result.right)
        return {method: Share(right[method], count) for method, count in total.most_common()}

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How often what was expected (first key) became what (second key)."""
        table: dict[str, dict[str, int]] = {}
        for result in sorted(self.results, key=lambda result: result.expected):
            row = table.setdefault(result.expected, {})
            row[result.got] = row.get(result.got, 0) + 1
        return table

    @property
    def wrong(self) -> tuple[Routed, ...]:
        """The routes that are not right."""
        return tuple(result for result in self.results if not result.right)

    @property
    def _without_a_model(self) -> list[Routed]:
        return [result for result in self.results if result.method in _WITHOUT_A_MODEL]


def named(agents: Sequence[str]) -> str:
    """A route as text."""
    return " + ".join(sorted(agents)) or SUPERVISOR


async def evaluate(
    routing: Routing,
    agents: Sequence[AgentCard],
    utterances: Sequence[Utterance],
    *,
    parallel: int = 1,
    target: float = 0.97,
    on_result: Callable[[Routed], None] | None = None,
) -> RoutingReport:
    """Route every utterance as the first message of a conversation; no agent runs.

    Args:
        routing: The cascade.
        agents: Who may be chosen.
        utterances: Labelled messages.
        parallel: Most agents the semantic strategy may choose, for the suggestion.
        target: Least accuracy of what the suggested settings decide, in [0, 1].
        on_result: Told each result as it comes.
    """
    results: list[Routed] = []
    for utterance in utterances:
        results.append(await _routed(routing, agents, utterance))
        if on_result is not None:
            on_result(results[-1])
    return RoutingReport(tuple(results), suggest(results, parallel=parallel, target=target))


async def _routed(routing: Routing, agents: Sequence[AgentCard], utterance: Utterance) -> Routed:
    try:
        route = await routing.decide([HumanMessage(utterance.text)], agents)
    except (ProviderError, EmbeddingError) as error:  # the other utterances still say something
        return Routed(utterance, (), FAILED, {}, error.message)
    return Routed(utterance, tuple(route["agents"]), route["method"], route["scores"], route["reason"])


def suggest(results: Sequence[Routed], *, parallel: int = 1, target: float = 0.97) -> Suggestion | None:
    """Return the threshold and margin that let the semantic strategy decide the most utterances.

    Of all pairs on a grid, those count at which at least `target` of the decided utterances
    are right. The one that decides most is taken; of equals the one that is right more often,
    then the higher margin, then the higher threshold. Utterances that never reached the
    strategy, because a rule decided, are left out.

    Args:
        results: With scores.
        parallel: Most agents chosen at once.
        target: Least accuracy, in [0, 1].
    """
    scored = [result for result in results if result.scores]
    if not scored:
        return None
    grid = _Grid(scored, parallel)
    everyone = np.ones(len(scored), dtype=np.bool_)
    best = grid.best(everyone, target)
    if best is None:
        return None
    unseen = Counter[str]()
    fold_of = np.arange(len(scored)) % _FOLDS
    for fold in range(_FOLDS):
        rest = fold_of == fold
        chosen = grid.best(~rest, target)
        if chosen is not None:
            decided, right = grid.counts(chosen, rest)
            unseen.update(decided=decided, right=right)
    decided, right = grid.counts(best, everyone)
    return Suggestion(
        *grid.pairs[best],
        decided=Share(decided, len(scored)),
        right=Share(right, decided),
        unseen_decided=Share(unseen["decided"], len(scored)),
        unseen_right=Share(unseen["right"], unseen["decided"]),
    )


class _Grid:
    """What every pair of threshold and margin would have decided."""

    def __init__(self, scored: Sequence[Routed], parallel: int) -> None:
        thresholds = [round(step * 0.02, 2) for step in range(41)]
        margins = [round(step * 0.01, 2) for step in range(31)]
        self.pairs = [(threshold, margin) for threshold in thresholds for margin in margins]
        self._decided: NDArray[np.bool_] = np.zeros((len(self.pairs), len(scored)), dtype=np.bool_)
        self._right = self._decided.copy()
        routes = [[frozenset(route) for route in result.utterance.routes] for result in scored]
        for row, (threshold, margin) in enumerate(self.pairs):
            for column, result in enumerate(scored):
                chosen = choose(result.scores, threshold=threshold, margin=margin, parallel=parallel)
                if chosen is not None:
                    self._decided[row, column] = True
                    self._right[row, column] = frozenset(chosen) - {SUPERVISOR} in routes[column]

    def best(self, among: NDArray[np.bool_], target: float) -> int | None:
        """The pair that decides most of `among` while at least `target` of that is right."""
        decided = self._decided[:, among].sum(axis=1)
        right = self._right[:, among].sum(axis=1)
        valid = [
            pair for pair in range(len(self.pairs)) if decided[pair] and right[pair] >= target * decided[pair]
        ]
        if not valid:
            return None
        return max(
            valid, key=lambda pair: (decided[pair], right[pair], self.pairs[pair][1], self.pairs[pair][0])
        )

    def counts(self, pair: int, among: NDArray[np.bool_]) -> tuple[int, int]:
        """How many of `among` a pair decides, and how many of those rightly."""
        return int(self._decided[pair, among].sum()), int(self._right[pair, among].sum())
