"""From a checked blueprint to a compiled graph."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.embeddings import Embeddings
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver

from agentkit.blueprints.agents import AgentSpec, SpendingSpec, ToolSpec
from agentkit.blueprints.context import fill
from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.llm_config import model_config, scripted_config
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.errors import ConfigurationError
from agentkit.events import EventBus
from agentkit.graphs.agent import build_agent
from agentkit.graphs.bridge import Graph
from agentkit.graphs.knowledge import scoped
from agentkit.graphs.nodes import Retrieve
from agentkit.graphs.routing import (
    AgentCard,
    LLMRouting,
    Routing,
    RoutingStrategy,
    Rule,
    RulesRouting,
    SemanticRouting,
)
from agentkit.graphs.routing.base import SUPERVISOR, listing
from agentkit.graphs.supervisor import build_supervisor
from agentkit.llm.budgets import Limits
from agentkit.llm.chat_model import GatewayChatModel
from agentkit.llm.lending import ChatModels
from agentkit.llm.providers.scripted import Script
from agentkit.prompts import Prompt
from agentkit.rag.retriever import RAGRetriever
from agentkit.rag.vector_store import PgVectorStore
from agentkit.references import load
from agentkit.tools import TOOLS


@dataclass(frozen=True, slots=True)
class Parts:
    """What a compiled blueprint works with.

    Attributes:
        gateway: Makes its chat models.
        embeddings: For semantic routing; None when nothing in the blueprint needs it.
        store: Holds its knowledge; None when no agent retrieves.
        checkpointer: Keeps its conversations, or None.
        events: Receives routes and retrievals.
        home: Event loop that store and checkpointer belong to; None when there are none.
        scripts: What is said instead of models, by agent, `supervisor` (choosing and answering)
            or name of the model; whoever has none may not be called. None: the real models.
    """

    gateway: ChatModels
    embeddings: Embeddings | None
    store: PgVectorStore | None
    checkpointer: BaseCheckpointSaver[Any] | None
    events: EventBus
    home: asyncio.AbstractEventLoop | None
    scripts: Mapping[str, Script] | None = None


def needs_store(blueprint: LoadedBlueprint) -> bool:
    """Whether any agent retrieves."""
    return any(agent.knowledge_scope for agent in blueprint.spec.agents)


def needs_embeddings(blueprint: LoadedBlueprint, *, retrieve: bool = True) -> bool:
    """Whether routing, or retrieval if agents retrieve, embeds anything."""
    return (retrieve and needs_store(blueprint)) or "semantic" in blueprint.spec.routing.strategy


def compile_blueprint(blueprint: LoadedBlueprint, parts: Parts) -> Graph:
    """Build the graph a blueprint describes.

    Raises:
        ConfigurationError: A tool cannot be imported, or is no tool.
        UnknownNameError: A model's provider is unknown.
    """
    spec = blueprint.spec
    agents = [_agent(agent, blueprint, parts) for agent in spec.agents]
    cards = [AgentCard(agent.name, agent.description) for agent in spec.agents]
    supervisor_prompt = blueprint.prompts[spec.supervisor.prompt]
    graph = build_supervisor(
        agents,
        model=_model(spec.supervisor.model, SUPERVISOR, blueprint, parts),
        routing=Routing(tuple(_strategy(name, blueprint, parts) for name in spec.routing.strategy)),
        prompt=fill(supervisor_prompt, spec.supervisor.prompt.variables, spec.context, agents=listing(cards)),
        combine=_combine(blueprint),
        name=spec.name,
        checkpointer=parts.checkpointer,
        events=parts.events,
        limits=_limits(spec.limits),
        home=parts.home,
    )
    graph.digest = blueprint.digest
    return graph


def _agent(agent: AgentSpec, blueprint: LoadedBlueprint, parts: Parts) -> Graph:
    return build_agent(
        name=agent.name,
        model=_model(agent.model, agent.name, blueprint, parts),
        tools=[_tool(tool, blueprint.spec.security.allowed_modules) for tool in agent.tools],
        prompt=fill(blueprint.prompts[agent.prompt], agent.prompt.variables, blueprint.spec.context),
        retriever=_retrieve(agent, blueprint, parts),
        sources_prompt=_sources_prompt(blueprint),
        description=agent.description,
        examples=agent.examples,
        tool_iterations=agent.limits.tool_iterations,
        history_tokens=agent.limits.history_tokens,
        timeout=agent.limits.timeout,
        limits=_limits(agent.limits),
        home=parts.home,
    )


def _limits(spec: SpendingSpec) -> Limits:
    return Limits(tokens=spec.tokens, cost_usd=spec.cost_usd, model_calls=spec.model_calls)


def _model(name: str, speaker: str, blueprint: LoadedBlueprint, parts: Parts) -> GatewayChatModel:
    """The model called `name`, for an agent or the supervisor; or what stands in for it."""
    spec = blueprint.spec
    config = model_config(name, spec.models, allowed_modules=spec.security.allowed_modules)
    if parts.scripts is not None:
        script = parts.scripts.get(speaker) or parts.scripts.get(name) or Script(name=speaker)
        config = scripted_config(config, script)
    return parts.gateway.chat_model(config)


def _retrieve(agent: AgentSpec, blueprint: LoadedBlueprint, parts: Parts) -> Retrieve | None:
    if not agent.knowledge_scope or parts.store is None:
        return None
    knowledge = blueprint.spec.knowledge
    retriever = RAGRetriever(
        store=parts.store,
        knowledge_scope=agent.knowledge_scope,
        k=knowledge.k,
        mode=knowledge.mode,
        min_similarity=-1.0 if knowledge.min_similarity is None else knowledge.min_similarity,
        max_tokens=knowledge.max_tokens,
        events=parts.events,
    )
    return scoped(retriever)


def _strategy(name: str, blueprint: LoadedBlueprint, parts: Parts) -> RoutingStrategy:
    routing = blueprint.spec.routing
    if name == "rules":
        return RulesRouting([Rule(rule.when, rule.to) for rule in routing.rules])
    if name == "semantic":
        if parts.embeddings is None:
            raise ConfigurationError("Semantic routing needs an embedding model.")
        semantic = routing.semantic
        own = blueprint.spec.supervisor.examples
        return SemanticRouting(
            parts.embeddings,
            threshold=semantic.threshold,
            margin=semantic.margin,
            own=own,
            parallel=routing.parallel,
        )
    prompt = blueprint.prompts[routing.llm_prompt]
    model = _model(routing.llm.model or blueprint.spec.supervisor.model, SUPERVISOR, blueprint, parts)
    values = {**routing.llm_prompt.variables, "limit": str(routing.parallel)}
    return LLMRouting(model, lambda agents: _fill(prompt, agents=agents, **values), parallel=routing.parallel)


def _combine(blueprint: LoadedBlueprint) -> Callable[[str], str] | None:
    ref = blueprint.spec.supervisor.combine
    if ref is None:
        return None
    return lambda answers: _fill(blueprint.prompts[ref], answers=answers, **ref.variables)


def _sources_prompt(blueprint: LoadedBlueprint) -> Callable[[str], str]:
    ref: PromptRef = blueprint.spec.knowledge.prompt
    return lambda sources: _fill(blueprint.prompts[ref], sources=sources, **ref.variables)


def _fill(prompt: Prompt, **values: str) -> str:
    """Render with those of the offered values that the prompt uses."""
    return prompt.render(**{name: value for name, value in values.items() if name in prompt.variables})


def _tool(spec: ToolSpec, allowed: Sequence[str]) -> BaseTool | Callable[..., Any]:
    if spec.use is None:
        return TOOLS.get(spec.name or "")
    tool = load(spec.use, allowed=allowed, kind="tool")
    if not isinstance(tool, BaseTool) and not callable(tool):
        raise ConfigurationError(f"{spec.use!r} is neither a LangChain tool nor a function.")
    return cast("BaseTool | Callable[..., Any]", tool)
