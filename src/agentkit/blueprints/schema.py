"""Blueprint YAML, version 1, as frozen models: exactly the keys that do something today.

docs/blueprint.schema.json is generated from these models; docs/blueprints.md explains them.
"""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from agentkit.blueprints.agents import AgentSpec, SpendingSpec
from agentkit.blueprints.cases import CaseSpec, Texts
from agentkit.blueprints.context import ContextName, ContextSpec
from agentkit.blueprints.fields import MiddlewareEntry, ModuleName, Scalar, Section, Slug, Text
from agentkit.blueprints.knowledge import KnowledgeSpec
from agentkit.blueprints.mcp import McpServerSpec
from agentkit.blueprints.models import ModelSpec
from agentkit.blueprints.routing import RoutingSpec, SupervisorSpec
from agentkit.blueprints.teams import Member, TeamSpec
from agentkit.errors import UnknownNameError


class ParameterSpec(Section):
    """A value the caller may set; `${param:NAME}` stands for it anywhere in the blueprint."""

    default: Scalar | None = Field(
        default=None, description="Value if the caller sets none; required if absent."
    )
    description: str = Field(default="", description="What it changes.")


class SecuritySpec(Section):
    """What code a blueprint may load, and what programs it may start."""

    allowed_modules: tuple[ModuleName, ...] = Field(
        default=(), description="Modules (and everything below them) that tools and models may be taken from."
    )
    allowed_commands: tuple[Text, ...] = Field(
        default=(), description="Commands, written exactly so, that MCP servers may be started with."
    )


class RuntimeSpec(Section):
    """How the graph runs."""

    checkpointer: Literal["postgres", "memory", "none"] = Field(
        default="postgres", description="Where conversations are kept: database, process, or nowhere."
    )
    durability: Literal["sync", "async", "exit"] = Field(
        default="sync",
        description="When a step is stored: before the next one, during it, or when the run ends or pauses.",
    )
    store: Literal["postgres", "memory", "none"] = Field(
        default="none",
        description="Where tools keep what outlasts a conversation: database, process, or nowhere.",
    )


class Blueprint(Section):
    """A team of agents under a supervisor."""

    api_version: Literal["agentkit/v1"] = Field(alias="apiVersion", description="Version of this format.")
    kind: Literal["Blueprint"] = Field(description="What this file is.")
    name: Slug = Field(description="Name the blueprint is found and measured by.")
    description: str = Field(default="", description="What the team is for.")
    extends: Texts | None = Field(
        default=None,
        description="Blueprint file or folder this one is laid over; or several, the last on top.",
    )
    parameters: Mapping[Slug, ParameterSpec] = Field(
        default_factory=dict[str, ParameterSpec], description="Values that ${param:NAME} stands for."
    )
    context: Mapping[ContextName, ContextSpec] = Field(
        default_factory=dict[str, ContextSpec],
        description="Values of a request for ${context:NAME}, beside user, tenant and request_id.",
    )
    models: Mapping[Slug, ModelSpec] = Field(
        default_factory=lambda: {"main": ModelSpec()},
        min_length=1,
        description="Chat models by the name agents use; one called main with provider auto if absent.",
    )
    mcp_servers: Mapping[Slug, McpServerSpec] = Field(
        default_factory=dict[str, McpServerSpec], description="MCP servers by the name agents use."
    )
    knowledge: KnowledgeSpec = Field(default=KnowledgeSpec(), description="Retrieval.")
    routing: RoutingSpec = Field(default=RoutingSpec(), description="Choice of the agent.")
    supervisor: SupervisorSpec = Field(default=SupervisorSpec(), description="Answers when no agent fits.")
    members: tuple[Member, ...] = Field(
        default=(),
        alias="agents",
        description="The agents, of which some may be teams; in the folder form they are the files "
        "agents/*.yaml.",
    )
    middleware: tuple[MiddlewareEntry, ...] = Field(
        default=(), description="Middleware of every agent, before its own; one of the same kind replaces it."
    )
    limits: SpendingSpec = Field(
        default=SpendingSpec(), description="Bounds of one turn of the whole team, routing included."
    )
    security: SecuritySpec = Field(
        default=SecuritySpec(), description="What code may be loaded, and started."
    )
    runtime: RuntimeSpec = Field(default=RuntimeSpec(), description="How the graph runs.")
    tests: tuple[CaseSpec, ...] = Field(
        default=(), description="What 'agentkit blueprint test' runs and checks."
    )

    @property
    def agents(self) -> tuple[AgentSpec, ...]:
        """The members that are no teams: those with a model and a prompt of their own."""
        return tuple(member for member in self.members if isinstance(member, AgentSpec))

    @property
    def teams(self) -> tuple[TeamSpec, ...]:
        """The members that are other blueprints."""
        return tuple(member for member in self.members if isinstance(member, TeamSpec))

    def agent(self, name: str) -> AgentSpec:
        """Return the agent called `name`, if it is no team.

        Raises:
            UnknownNameError: The blueprint has no such agent.
        """
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise UnknownNameError("agent", name, (agent.name for agent in self.agents))
