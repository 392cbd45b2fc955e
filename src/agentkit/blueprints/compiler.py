"""From a checked blueprint to a compiled graph."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.embeddings import Embeddings
from langchain_core.tools import BaseTool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from agentkit import expressions
from agentkit.blueprints.agent_tools import Offered, agent_tools
from agentkit.blueprints.agents import AgentSpec, SpendingSpec
from agentkit.blueprints.approvals import ApprovalSpec
from agentkit.blueprints.context import fill
from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.handoffs import TASK_PROMPT, TOOL_PROMPT, targets
from agentkit.blueprints.history import asking
from agentkit.blueprints.llm_config import model_config, scripted_config
from agentkit.blueprints.loader import LoadedBlueprint
from agentkit.blueprints.memory import RECALL, REMEMBER
from agentkit.blueprints.middleware import MiddlewareParts
from agentkit.blueprints.middleware.building import AnyMiddleware, build_middleware
from agentkit.blueprints.team_graphs import as_agent, offered_here, within
from agentkit.blueprints.teams import TeamSpec
from agentkit.errors import ConfigurationError
from agentkit.events import EventBus
from agentkit.graphs.agent import build_agent
from agentkit.graphs.approval import Approval, tool_name
from agentkit.graphs.bridge import Graph
from agentkit.graphs.history import RunningSummary
from agentkit.graphs.knowledge import scoped
from agentkit.graphs.memory import memory_tools
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
from agentkit.prompts import PromptText, PromptVersion
from agentkit.rag.retriever import RAGRetriever
from agentkit.rag.vector_store import PgVectorStore


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
        memory: Keeps what outlasts a conversation, or None.
        path: Names of the teams the blueprint is in, each with a `/` behind it; whose scripts these
            are begins with it.
        mcp_tools: What its MCP servers offer, by their names; those of its teams by path.
    """

    gateway: ChatModels
    embeddings: Embeddings | None
    store: PgVectorStore | None
    checkpointer: BaseCheckpointSaver[Any] | None
    events: EventBus
    home: asyncio.AbstractEventLoop | None
    scripts: Mapping[str, Script] | None = None
    mcp_tools: Offered = field(default_factory=dict[str, Any])
    path: str = ""
    memory: BaseStore | None = None


def needs_store(blueprint: LoadedBlueprint) -> bool:
    """Whether any agent retrieves, here or in a team."""
    return any(agent.knowledge_scope for part in blueprint.everything() for agent in part.spec.agents)


def needs_embeddings(blueprint: LoadedBlueprint, *, retrieve: bool = True) -> bool:
    """Whether routing, or retrieval if agents retrieve, embeds anything."""
    routed = any("semantic" in part.spec.routing.strategy for part in blueprint.everything())
    return (retrieve and needs_store(blueprint)) or routed


def compile_blueprint(blueprint: LoadedBlueprint, parts: Parts) -> Graph:
    """Build the graph a blueprint describes.

    Raises:
        ConfigurationError: A tool cannot be imported, is no tool, or has the name of another.
        SandboxUnavailableError: A tool runs code, and nothing on this machine can isolate code.
        UnknownNameError: A model's provider is unknown.
    """
    spec = blueprint.spec
    agents = [_member(member, blueprint, parts) for member in spec.members]
    cards = [AgentCard(member.name, member.description) for member in spec.members]
    supervisor_prompt = blueprint.prompts[spec.supervisor.prompt]
    graph = build_supervisor(
        agents,
        model=_model(spec.supervisor.model, SUPERVISOR, blueprint, parts),
        routing=compile_routing(blueprint, parts),
        prompt=fill(supervisor_prompt, spec.supervisor.prompt.variables, spec.context, agents=listing(cards)),
        combine=_combine(blueprint),
        summary=_summary(blueprint, parts),
        name=spec.name,
        checkpointer=parts.checkpointer,
        events=parts.events,
        limits=_limits(spec.limits),
        home=parts.home,
        durability=spec.runtime.durability,
        store=parts.memory,
        max_hops=spec.routing.max_hops,
        handoff_task=_handoff(blueprint, TASK_PROMPT, "task"),
    )
    graph.digest = blueprint.digest
    return graph


def _member(member: AgentSpec | TeamSpec, blueprint: LoadedBlueprint, parts: Parts) -> Graph:
    if isinstance(member, AgentSpec):
        return _agent(member, blueprint, parts)
    team = compile_blueprint(blueprint.teams[member.name], within(parts, member.name))
    return as_agent(member, team)


def compile_routing(blueprint: LoadedBlueprint, parts: Parts) -> Routing:
    """Build the cascade that chooses who answers; raises as `compile_blueprint`."""
    return Routing(tuple(_strategy(name, blueprint, parts) for name in blueprint.spec.routing.strategy))


def _agent(agent: AgentSpec, blueprint: LoadedBlueprint, parts: Parts) -> Graph:
    tools = agent_tools(agent, blueprint.spec.security.allowed_modules, offered_here(parts))
    return build_agent(
        name=agent.name,
        model=_model(agent.model, agent.name, blueprint, parts),
        tools=[*(tool for _, tool in tools), *_memory(agent, blueprint)],
        tool_limits={tool_name(tool): spec.limit for spec, tool in tools if spec.limit is not None},
        middleware=_middleware(agent, [tool_name(tool) for _, tool in tools], blueprint, parts),
        approvals={tool_name(tool): _approval(spec.approval) for spec, tool in tools if spec.approval},
        prompt=fill(blueprint.prompts[agent.prompt], agent.prompt.variables, blueprint.spec.context),
        retriever=_retrieve(agent, blueprint, parts),
        sources_prompt=_sources_prompt(blueprint),
        description=agent.description,
        examples=agent.examples,
        tool_iterations=agent.limits.tool_iterations,
        history_tokens=agent.limits.history_tokens,
        output=blueprint.schemas.get(agent.name),
        history=agent.history,
        returns=agent.returns,
        timeout=agent.limits.timeout,
        limits=_limits(agent.limits),
        events=parts.events,
        home=parts.home,
        handoffs=[
            AgentCard(member.name, member.description)
            for name in targets(agent, blueprint.spec)
            for member in blueprint.spec.members
            if member.name == name
        ],
        handoff_prompt=_handoff(blueprint, TOOL_PROMPT, "agent"),
    )


def _middleware(
    agent: AgentSpec, tools: Sequence[str], blueprint: LoadedBlueprint, parts: Parts
) -> list[AnyMiddleware]:
    def model(name: str | None) -> GatewayChatModel:
        # A model that is named speaks for itself, also in a blueprint's own tests.
        return _model(name or agent.model, name or agent.name, blueprint, parts)

    offered = MiddlewareParts(agent.name, tools, model, blueprint.prompts.__getitem__)
    spec = blueprint.spec
    return build_middleware(spec.middleware, agent.middleware, offered, allowed=spec.security.allowed_modules)


def _approval(spec: ApprovalSpec) -> Approval:
    when = None if spec.when is None else expressions.parse(spec.when, expressions.ARGUMENTS)
    return Approval(spec.decisions, when, spec.description or "")


def _limits(spec: SpendingSpec) -> Limits:
    return Limits(tokens=spec.tokens, cost_usd=spec.cost_usd, model_calls=spec.model_calls)


def _model(name: str, speaker: str, blueprint: LoadedBlueprint, parts: Parts) -> GatewayChatModel:
    """The model called `name`, for an agent or the supervisor; or what stands in for it."""
    spec = blueprint.spec
    config = model_config(name, spec.models, allowed_modules=spec.security.allowed_modules)
    if parts.scripts is not None:
        path = parts.path
        script = parts.scripts.get(path + speaker) or parts.scripts.get(path + name)
        script = script or Script(name=path + speaker)
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
    return LLMRouting(
        model,
        lambda agents: _fill(prompt, agents=agents, **values),
        parallel=routing.parallel,
        candidates=routing.llm.candidates,
    )


def _combine(blueprint: LoadedBlueprint) -> Callable[[str], str] | None:
    ref = blueprint.spec.supervisor.combine
    if ref is None:
        return None
    return lambda answers: _fill(blueprint.prompts[ref], answers=answers, **ref.variables)


def _summary(blueprint: LoadedBlueprint, parts: Parts) -> RunningSummary | None:
    if all(agent.history != "task_and_summary" for agent in blueprint.spec.agents):
        return None
    supervisor = blueprint.spec.supervisor
    spec = supervisor.summary
    model = _model(spec.model or supervisor.model, spec.model or SUPERVISOR, blueprint, parts)
    shown = blueprint.prompts[spec.shown]
    return RunningSummary(
        model, asking(blueprint.prompts[spec.prompt]), lambda summary: _fill(shown, summary=summary)
    )


def _handoff(blueprint: LoadedBlueprint, ref: PromptRef, variable: str) -> Callable[[str], str] | None:
    """A prompt of handoffs, where any agent hands over."""
    prompt = blueprint.prompts.get(ref)
    return None if prompt is None else lambda text: _fill(prompt, **{variable: text})


def _memory(agent: AgentSpec, blueprint: LoadedBlueprint) -> list[BaseTool]:
    """The tools of an agent that keeps facts."""
    if not agent.memory:
        return []
    return memory_tools(_fill(blueprint.prompts[REMEMBER]), _fill(blueprint.prompts[RECALL]))


def _sources_prompt(blueprint: LoadedBlueprint) -> Callable[[str], str]:
    ref: PromptRef = blueprint.spec.knowledge.prompt
    return lambda sources: _fill(blueprint.prompts[ref], sources=sources, **ref.variables)


def _fill(prompt: PromptVersion, **values: str) -> PromptText:
    """Render with those of the offered values that the prompt uses."""
    return prompt.render(**{name: value for name, value in values.items() if name in prompt.variables})
