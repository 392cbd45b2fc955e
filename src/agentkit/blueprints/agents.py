"""The key `agents`: one agent, its tools and its limits."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from agentkit.blueprints.approvals import OptionalApproval
from agentkit.blueprints.fields import (
    SLUG,
    Duration,
    Float,
    Int,
    MiddlewareEntry,
    PromptRef,
    Reference,
    Section,
    Slug,
    Text,
)
from agentkit.blueprints.handoffs import Handoffs
from agentkit.blueprints.outputs import OutputSpec

RESERVED_AGENT_NAMES = frozenset(
    {"supervisor", "none", "start", "end", "__start__", "__end__", "__interrupt__", "__error__"}
)
"""Names the graph or the routing answer uses itself."""


def _agent_name(value: str) -> str:
    if value in RESERVED_AGENT_NAMES:
        raise ValueError(f"the name {value!r} is reserved; choose another for the agent.")
    if not re.fullmatch(SLUG, value):
        raise ValueError("must be lower-case letters, digits, - and _, starting with a letter.")
    return value


AgentName = Annotated[
    str, BeforeValidator(lambda value: _agent_name(value) if isinstance(value, str) else value)
]


class ToolSpec(Section):
    """Tools of an agent: a registered one by name, a function by import path, or those of an MCP server."""

    name: Text | None = Field(default=None, description="Name of a registered tool.")
    use: Reference | None = Field(
        default=None, description="module:attribute; the module must be under security.allowed_modules."
    )

    mcp: Text | None = Field(default=None, description="Name under mcp_servers: the tools of that server.")
    include: tuple[Text, ...] = Field(
        default=(), description="Patterns of the names of an MCP server's tools, like get_*; all if absent."
    )
    exclude: tuple[Text, ...] = Field(
        default=(), description="Patterns of tools left out all the same, like *_admin."
    )
    limit: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Most calls in one turn; at the limit the model is told, and goes on."
    )
    approval: OptionalApproval = Field(
        default=None,
        description="Its calls wait for a person: true; or decisions, when and description.",
    )

    @property
    def title(self) -> str:
        """How people are told of it."""
        return f"mcp {self.mcp}" if self.mcp else self.name or self.use or ""

    @model_validator(mode="after")
    def _one_kind(self) -> "ToolSpec":
        if sum(kind is not None for kind in (self.name, self.use, self.mcp)) != 1:
            raise ValueError("a tool has either 'name', 'use' or 'mcp', and only one of them.")
        if self.mcp is None and (self.include or self.exclude):
            raise ValueError("'include' and 'exclude' choose among the tools of an MCP server: add 'mcp'.")
        return self


class SpendingSpec(Section):
    """What model calls may spend; the call that no longer fits is not made."""

    model_calls: Annotated[Int, Field(ge=1)] | None = Field(default=None, description="Most model calls.")
    tokens: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Most tokens, read and written."
    )
    cost_usd: Annotated[Float, Field(gt=0)] | None = Field(default=None, description="Most US dollars.")


class LimitsSpec(SpendingSpec):
    """What one turn of an agent may spend."""

    timeout: Duration | None = Field(
        default=None, description="Longest the supervisor waits for its answer: 60s; no limit if absent."
    )

    tool_iterations: Annotated[Int, Field(ge=1, le=20)] = Field(
        default=5, description="Most rounds of tool calls before the agent must answer."
    )
    history_tokens: Annotated[Int, Field(ge=100)] = Field(
        default=2000, description="Most tokens of earlier messages the model is shown; the newest are kept."
    )


class AgentSpec(Section):
    """One agent: what it is for, and what it works with."""

    name: AgentName = Field(description="Unique in the blueprint.", json_schema_extra={"pattern": SLUG})
    description: Text = Field(description="What it answers; read by both routing strategies.")
    examples: tuple[Text, ...] = Field(default=(), description="Typical questions; feed semantic routing.")
    model: Text = Field(default="main", description="Name under models.")
    prompt: PromptRef = Field(description="System prompt.")
    knowledge_scope: tuple[Slug, ...] = Field(
        default=(), description="Scopes it retrieves from; the model cannot widen them. None: no retrieval."
    )
    history: Literal["task", "task_and_summary", "full"] = Field(
        default="full",
        description="What it is given: only the question, the question and a summary of what was said "
        "before, or the conversation.",
    )
    returns: Literal["last_message", "full"] = Field(
        default="last_message",
        description="What it hands back into the conversation: its answer, or its tool calls too.",
    )
    tools: tuple[ToolSpec, ...] = Field(default=(), description="Tools it may call.")
    output: OutputSpec | None = Field(default=None, description="Form of its answers; text if absent.")
    middleware: tuple[MiddlewareEntry, ...] = Field(
        default=(), description="What stands around its model and tools, outermost first: {NAME: {OPTIONS}}."
    )
    handoffs: Handoffs = Field(
        default=(), description="Agents it may hand the question on to; true: all others."
    )
    memory: bool = Field(
        default=False,
        description="Whether it may keep facts about the user, and look them up; needs runtime.store.",
    )
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Bounds of one turn.")
