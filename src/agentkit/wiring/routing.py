"""A blueprint's routing by itself, without its agents: what `agentkit eval routing` measures."""

import asyncio
from typing import TYPE_CHECKING

from agentkit.wiring.kit import Kit

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint
    from agentkit.graphs.routing import AgentCard, Routing


async def open_routing(
    kit: Kit, loaded: "LoadedBlueprint", *, llm: bool = True
) -> "tuple[Routing, tuple[AgentCard, ...]]":
    """Make the cascade of a blueprint, and the cards of the agents it chooses from.

    Needs no database; an embedding model only for the semantic strategy.

    Args:
        kit: Gives the models.
        loaded: The blueprint.
        llm: Whether the llm strategy takes part; without it, no chat model is needed.

    Raises:
        WeightsError: The embedding model's weights are not available.
        MissingExtraError: They need a package that is not installed.
    """
    from agentkit.blueprints.compiler import Parts, compile_routing, needs_embeddings
    from agentkit.graphs.routing import AgentCard, LLMRouting, Routing

    parts = Parts(
        gateway=kit.gateway,
        embeddings=await kit.embeddings() if needs_embeddings(loaded, retrieve=False) else None,
        store=None,
        checkpointer=None,
        events=kit.events,
        home=asyncio.get_running_loop(),
    )
    # In a thread: it imports the providers' SDKs.
    routing = await asyncio.to_thread(compile_routing, loaded, parts)
    if not llm:
        routing = Routing(tuple(one for one in routing.strategies if not isinstance(one, LLMRouting)))
    cards = (AgentCard(agent.name, agent.description, agent.examples) for agent in loaded.spec.members)
    return routing, tuple(cards)
