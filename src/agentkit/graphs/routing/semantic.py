"""Routing by meaning: the message against each agent's description and examples.

Costs one embedding of the question, a few milliseconds with the local model, and no tokens.
"""

import asyncio
from collections.abc import Mapping, Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AnyMessage
from numpy.typing import NDArray

from agentkit.context import RunContext
from agentkit.graphs.routing.base import ANYONE, SUPERVISOR, AgentCard, Scores, last_user_text
from agentkit.graphs.state import RouteDecision

Matrix = NDArray[np.float32]

Owners = dict[str, NDArray[np.intp]]
"""Rows of the matrix, by whose texts they are."""


_BEST = 2
"""Similarities an agent's score is the mean of.

On devassist's labelled set the mean of two was right more often than the best alone (at 7, 12
and 18 examples an agent: 80, 86 and 91 % against 78, 84 and 89 %): one example that happens to
share words with a message does not decide. A third changed little.
"""


def choose(
    scores: Mapping[str, float], *, threshold: float, margin: float, parallel: int = 1
) -> tuple[str, ...] | None:
    """Return who is chosen by these scores, best first, or None when that is not clear.

    Args:
        scores: By agent, and as `supervisor` the supervisor's own.
        threshold: Least score of the best.
        margin: Least lead over the second best.
        parallel: Most agents chosen at once.
    """
    ranked = sorted(scores, key=lambda name: -scores[name])
    best = scores[ranked[0]]
    near = [ranked[0], *(name for name in ranked[1:] if best - scores[name] < margin)]
    chosen = tuple(name for name in near if scores[name] >= threshold)
    together = parallel > 1 and len(chosen) <= parallel and SUPERVISOR not in near
    return chosen if chosen and (len(near) == 1 or together) else None


class SemanticRouting:
    """Chooses the agents whose descriptions or examples are most similar to the message.

    An agent scores the mean of the two highest cosine similarities of its texts. The best
    agent is chosen when it reaches `threshold` and leads the next by `margin`. When others
    are nearer than that, all that reach `threshold` are chosen, best first, if they are at
    most `parallel`; if they are more, the message says too little, and the strategy passes.
    The supervisor competes with examples of its own, so that a greeting is no agent's and
    costs no model call either; where it is near but not alone, the strategy passes as well.

    Args:
        embeddings: Model for questions and texts alike.
        threshold: Least score of the best agent, in [-1, 1].
        margin: Least lead over the second best.
        own: Messages the supervisor answers itself.
        parallel: Most agents chosen at once.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        threshold: float = 0.25,
        margin: float = 0.08,
        own: Sequence[str] = (),
        parallel: int = 1,
    ) -> None:
        self._embeddings = embeddings
        self._threshold = threshold
        self._margin = margin
        self._own = tuple(own)
        self._parallel = parallel
        self._texts: dict[tuple[AgentCard, ...], tuple[Matrix, Owners]] = {}
        self._embedding = asyncio.Lock()

    async def decide(
        self,
        messages: Sequence[AnyMessage],
        agents: Sequence[AgentCard],
        context: RunContext = ANYONE,
        scores: Scores | None = None,
    ) -> RouteDecision | None:
        """Return the clearly most similar agents, or None when none is clear; note all scores."""
        del context
        question = last_user_text(messages)
        if not question.strip() or not agents:
            return None
        texts, owners = await self._matrix(tuple(agents))
        query = _unit(np.asarray([await self._embeddings.aembed_query(question)], dtype=np.float32))[0]
        found = _scores(texts @ query, owners)
        if scores is not None:
            scores.update(found)
        return self._decision(found)

    def _decision(self, scores: Scores) -> RouteDecision | None:
        chosen = choose(scores, threshold=self._threshold, margin=self._margin, parallel=self._parallel)
        if chosen is None:
            return None
        reason = "similarity " + ", ".join(f"{scores[name]:.2f} to {name}" for name in chosen)
        if others := sorted((name for name in scores if name not in chosen), key=lambda name: -scores[name]):
            reason += f", next {others[0]} {scores[others[0]]:.2f}"
        agents = [] if chosen == (SUPERVISOR,) else list(chosen)
        return RouteDecision(agents=agents, method="semantic", scores=scores, reason=reason)

    async def _matrix(self, agents: tuple[AgentCard, ...]) -> tuple[Matrix, Owners]:
        """Unit vectors of all descriptions and examples, and whose they are; embedded once."""
        async with self._embedding:
            if agents not in self._texts:
                texts = [
                    (agent.name, text) for agent in agents for text in (agent.description, *agent.examples)
                ]
                texts += [(SUPERVISOR, text) for text in self._own]
                # Queries on both sides: an example is a query too, for models that prefix queries.
                vectors = await asyncio.gather(*(self._embeddings.aembed_query(text) for _, text in texts))
                matrix = _unit(np.asarray(vectors, dtype=np.float32))
                owners = np.asarray([owner for owner, _ in texts])
                names = dict.fromkeys(owner for owner, _ in texts)
                self._texts[agents] = (matrix, {name: np.flatnonzero(owners == name) for name in names})
            return self._texts[agents]


def _scores(similarities: NDArray[np.float32], owners: Owners) -> Scores:
    """Mean of each owner's best similarities; of those there are, where they are fewer."""
    return {
        owner: round(float(np.sort(similarities[texts])[-_BEST:].mean()), 4)
        for owner, texts in owners.items()
    }


def _unit(vectors: Matrix) -> Matrix:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
