"""Routing by meaning: the message against each agent's description and examples.

Costs one embedding of the question, a few milliseconds with the local model, and no tokens.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
from langchain_core.embeddings import Embeddings
from langchain_core.messages import AnyMessage
from numpy.typing import NDArray

from agentkit.graphs.routing.base import SUPERVISOR, AgentCard, last_user_text
from agentkit.graphs.state import RouteDecision

Matrix = NDArray[np.float32]


class SemanticRouting:
    """Chooses the agent whose description or example is most similar to the message.

    An agent scores the highest cosine similarity of any of its texts. The best agent is
    chosen when it reaches `threshold` and leads the next by `margin`; otherwise the
    strategy passes. The supervisor competes with examples of its own, so that a greeting
    is no agent's and costs no model call either.

    Args:
        embeddings: Model for questions and texts alike.
        threshold: Least similarity of the best agent, in [-1, 1].
        margin: Least lead over the second best.
        own: Messages the supervisor answers itself.
    """

    def __init__(
        self,
        embeddings: Embeddings,
        *,
        threshold: float = 0.25,
        margin: float = 0.08,
        own: Sequence[str] = (),
    ) -> None:
        self._embeddings = embeddings
        self._threshold = threshold
        self._margin = margin
        self._own = tuple(own)
        self._texts: dict[tuple[AgentCard, ...], tuple[Matrix, list[str]]] = {}
        self._embedding = asyncio.Lock()

    async def decide(
        self, messages: Sequence[AnyMessage], agents: Sequence[AgentCard]
    ) -> RouteDecision | None:
        """Return the clearly most similar agent, or None when none is clear."""
        question = last_user_text(messages)
        if not question.strip() or not agents:
            return None
        texts, owners = await self._matrix(tuple(agents))
        query = _unit(np.asarray([await self._embeddings.aembed_query(question)], dtype=np.float32))[0]
        similarities = texts @ query
        scores: dict[str, float] = {}
        for owner, similarity in zip(owners, similarities.tolist(), strict=True):
            scores[owner] = max(scores.get(owner, -1.0), round(similarity, 4))
        return self._choose(scores)

    def _choose(self, scores: dict[str, float]) -> RouteDecision | None:
        best, *others = sorted(scores, key=lambda name: -scores[name])
        lead = scores[best] - (scores[others[0]] if others else -1.0)
        if scores[best] < self._threshold or lead < self._margin:
            return None
        reason = f"similarity {scores[best]:.2f} to {best}"
        if others:
            reason += f", next {others[0]} {scores[others[0]]:.2f}"
        agents = [] if best == SUPERVISOR else [best]
        return RouteDecision(agents=agents, method="semantic", scores=scores, reason=reason)

    async def _matrix(self, agents: tuple[AgentCard, ...]) -> tuple[Matrix, list[str]]:
        """Unit vectors of all descriptions and examples, and whose each is; embedded once."""
        async with self._embedding:
            if agents not in self._texts:
                texts = [
                    (agent.name, text) for agent in agents for text in (agent.description, *agent.examples)
                ]
                texts += [(SUPERVISOR, text) for text in self._own]
                # Queries on both sides: an example is a query too, for models that prefix queries.
                vectors = await asyncio.gather(*(self._embeddings.aembed_query(text) for _, text in texts))
                matrix = _unit(np.asarray(vectors, dtype=np.float32))
                self._texts[agents] = (matrix, [owner for owner, _ in texts])
            return self._texts[agents]


def _unit(vectors: Matrix) -> Matrix:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.maximum(norms, 1e-12)).astype(np.float32)
