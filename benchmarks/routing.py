"""What a semantic routing decision costs, beside the embedding of the message.

Run: python benchmarks/routing.py
Prints one JSON object: milliseconds, for devassist's agents and examples, and for a team of 50 agents.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from langchain_core.embeddings import Embeddings
from langchain_core.messages import HumanMessage

import agentkit
from agentkit.blueprints.routing_set import load_routing_set
from agentkit.graphs.routing import AgentCard, SemanticRouting

DEVASSIST = Path(__file__).parents[1] / "blueprints" / "devassist"


class Timed(Embeddings):
    """An embedding model that notes how long it took."""

    def __init__(self, model: Embeddings) -> None:
        self.model = model
        self.seconds = 0.0

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise NotImplementedError

    def embed_query(self, text: str) -> list[float]:
        raise NotImplementedError

    async def aembed_query(self, text: str) -> list[float]:
        started = time.perf_counter()
        vector = await self.model.aembed_query(text)
        self.seconds = time.perf_counter() - started
        return vector


def milliseconds(values: Sequence[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100)
    return {"p50": round(cuts[49] * 1000, 3), "p95": round(cuts[94] * 1000, 3)}


async def measure(
    embeddings: Timed, cards: Sequence[AgentCard], own: Sequence[str], texts: Sequence[str]
) -> object:
    routing = SemanticRouting(embeddings, own=own)
    started = time.perf_counter()
    await routing.decide([HumanMessage(texts[0])], cards)
    first = time.perf_counter() - started
    decisions: list[float] = []
    queries: list[float] = []
    for text in texts * 3:
        started = time.perf_counter()
        await routing.decide([HumanMessage(text)], cards)
        decisions.append(time.perf_counter() - started - embeddings.seconds)
        queries.append(embeddings.seconds)
    return {
        "texts": sum(1 + len(card.examples) for card in cards) + len(own),
        "first_with_all_embeddings_ms": round(first * 1000),
        "embedding_of_the_message_ms": milliseconds(queries),
        "decision_after_it_ms": milliseconds(decisions),
    }


async def main() -> None:
    async with agentkit.open() as kit:
        spec = kit.blueprint(DEVASSIST).spec
        embeddings = Timed(await kit.embeddings())
        cards = [AgentCard(agent.name, agent.description, agent.examples) for agent in spec.agents]
        names = [card.name for card in cards]
        texts = [one.text for one in load_routing_set(DEVASSIST / "routing" / "tuning.yaml", names)]
        large = [
            AgentCard(f"{card.name}{copy}", f"{card.description} {copy}", card.examples)
            for copy in range(17)
            for card in cards
        ]
        found = {
            "devassist": await measure(embeddings, cards, spec.supervisor.examples, texts),
            "51 agents": await measure(embeddings, large, spec.supervisor.examples, texts),
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
