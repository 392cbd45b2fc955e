"""Blueprint YAML, version 1, as frozen models: exactly the keys that do something today.

docs/blueprint.schema.json is generated from these models; docs/blueprints.md explains them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field, model_validator

from agentkit.blueprints.cases import CaseSpec, Texts
from agentkit.blueprints.fields import (
    SLUG,
    Duration,
    Float,
    Int,
    ModuleName,
    Reference,
    Scalar,
    Section,
    Slug,
    Text,
)
from agentkit.blueprints.models import ModelSpec
from agentkit.errors import UnknownNameError

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


class ParameterSpec(Section):
    """A value the caller may set; `${param:NAME}` stands for it anywhere in the blueprint."""

    default: Scalar | None = Field(
        default=None, description="Value if the caller sets none; required if absent."
    )
    description: str = Field(default="", description="What it changes.")


class PromptRef(Section):
    """A prompt file and the version to use."""

    ref: Text = Field(description="Path below the prompts folder without suffix: agents/kubernetes.")
    version: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Version; the current one if absent."
    )


class SourceSpec(Section):
    """Files that feed one knowledge scope."""

    path: Text = Field(description="File or folder; relative to the folder of this file.")
    scope: Slug = Field(description="Scope its text is searched under.")


class KnowledgeSpec(Section):
    """How agents retrieve, and from which files."""

    mode: Literal["hybrid", "dense", "lexical"] = Field(
        default="hybrid", description="By meaning and words, by meaning, or by words."
    )
    k: Annotated[Int, Field(ge=1, le=50)] = Field(default=4, description="Most chunks per question.")
    max_tokens: Annotated[Int, Field(ge=50, le=100_000)] = Field(
        default=900, description="Most tokens of all chunks together; the best are kept."
    )
    min_similarity: Annotated[Float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="Chunks less similar (cosine) are left out; all are kept if absent."
    )
    prompt: PromptRef = Field(
        default=PromptRef(ref="retrieval"), description="Prompt that presents the chunks; gets {{sources}}."
    )
    sources: tuple[SourceSpec, ...] = Field(default=(), description="Files brought up to date before use.")


class SemanticSpec(Section):
    """Routing by similarity to the agents' examples."""

    threshold: Annotated[Float, Field(ge=-1, le=1)] = Field(
        default=0.25, description="Least cosine similarity of the best agent."
    )
    margin: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=0.08, description="Least distance between the best agent and the next."
    )


SEVERAL_PROMPT = PromptRef(ref="routing_several")
"""Prompt of the llm strategy where it may choose several agents."""


class LlmRoutingSpec(Section):
    """Routing by asking a model."""

    model: Text | None = Field(default=None, description="Name under models; the supervisor's if absent.")
    prompt: PromptRef = Field(
        default=PromptRef(ref="routing"),
        description="Prompt that asks who answers; gets {{agents}}. If absent and routing.parallel is more "
        "than 1: routing_several, which gets {{limit}} too.",
    )


def _one_or_several(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Names = Annotated[tuple[Text, ...], Field(min_length=1)]


class RuleSpec(Section):
    """Who answers when a condition on the message holds."""

    when: Text = Field(
        description="Condition: 'kubectl' in message. Names: message, text, user, tenant, history_length."
    )
    to: Annotated[_Names, BeforeValidator(_one_or_several, json_schema_input_type=Text | _Names)] = Field(
        description="Agent, or list of agents in the order of their answers; or supervisor."
    )


class RoutingSpec(Section):
    """How the supervisor chooses who answers."""

    strategy: tuple[Literal["rules", "semantic", "llm"], ...] = Field(
        default=("semantic", "llm"),
        min_length=1,
        description="Tried in order until one decides; if absent: rules if there are any, semantic, llm.",
    )
    rules: tuple[RuleSpec, ...] = Field(
        default=(), description="Tried in order; the first that holds decides."
    )
    parallel: Annotated[Int, Field(ge=1, le=10)] = Field(
        default=1, description="Most agents one message may be sent to at once."
    )
    semantic: SemanticSpec = Field(default=SemanticSpec(), description="Settings of the semantic strategy.")
    llm: LlmRoutingSpec = Field(default=LlmRoutingSpec(), description="Settings of the llm strategy.")

    @model_validator(mode="before")
    @classmethod
    def _rules_come_first(cls, value: object) -> object:
        """Rules without a list of strategies are tried before the others."""
        if not isinstance(value, dict):
            return value
        given = cast("dict[object, object]", value)
        if not given.get("rules") or "strategy" in given:
            return given
        return {**given, "strategy": ["rules", *cls.model_fields["strategy"].default]}

    @model_validator(mode="after")
    def _each_once(self) -> "RoutingSpec":
        if len(set(self.strategy)) < len(self.strategy):
            raise ValueError("strategy lists one strategy twice.")
        return self

    @property
    def llm_prompt(self) -> PromptRef:
        """The prompt of the llm strategy: as written, else the one for so many agents."""
        if "prompt" in self.llm.model_fields_set or self.parallel == 1:
            return self.llm.prompt
        return SEVERAL_PROMPT


class SupervisorSpec(Section):
    """Who answers when no agent fits."""

    model: Text = Field(default="main", description="Name under models.")
    prompt: PromptRef = Field(
        default=PromptRef(ref="supervisor"), description="System prompt; gets {{agents}}."
    )
    examples: tuple[Text, ...] = Field(
        default=(), description="Messages it answers itself, like greetings; feed semantic routing."
    )
    combine: PromptRef | None = Field(
        default=None,
        description="Prompt with which its model makes one answer of several agents' answers; gets "
        "{{answers}}. They stand one after another if absent.",
    )


class ToolSpec(Section):
    """One tool of an agent: a registered one by name, or a function by import path."""

    name: Text | None = Field(default=None, description="Name of a registered tool.")
    use: Reference | None = Field(
        default=None, description="module:attribute; the module must be under security.allowed_modules."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "ToolSpec":
        if (self.name is None) == (self.use is None):
            raise ValueError("a tool has either 'name' or 'use', and only one of them.")
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
    tools: tuple[ToolSpec, ...] = Field(default=(), description="Tools it may call.")
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Bounds of one turn.")


class SecuritySpec(Section):
    """What code a blueprint may load."""

    allowed_modules: tuple[ModuleName, ...] = Field(
        default=(), description="Modules (and everything below them) that tools and models may be taken from."
    )


class RuntimeSpec(Section):
    """How the graph runs."""

    checkpointer: Literal["postgres", "memory", "none"] = Field(
        default="postgres", description="Where conversations are kept: database, process, or nowhere."
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
    models: Mapping[Slug, ModelSpec] = Field(
        default_factory=lambda: {"main": ModelSpec()},
        min_length=1,
        description="Chat models by the name agents use; one called main with provider auto if absent.",
    )
    knowledge: KnowledgeSpec = Field(default=KnowledgeSpec(), description="Retrieval.")
    routing: RoutingSpec = Field(default=RoutingSpec(), description="Choice of the agent.")
    supervisor: SupervisorSpec = Field(default=SupervisorSpec(), description="Answers when no agent fits.")
    agents: tuple[AgentSpec, ...] = Field(
        default=(), description="The agents; in the folder form they are the files agents/*.yaml."
    )
    limits: SpendingSpec = Field(
        default=SpendingSpec(), description="Bounds of one turn of the whole team, routing included."
    )
    security: SecuritySpec = Field(default=SecuritySpec(), description="What code may be loaded.")
    runtime: RuntimeSpec = Field(default=RuntimeSpec(), description="How the graph runs.")
    tests: tuple[CaseSpec, ...] = Field(
        default=(), description="What 'agentkit blueprint test' runs and checks."
    )

    def agent(self, name: str) -> AgentSpec:
        """Return the agent called `name`.

        Raises:
            UnknownNameError: The blueprint has no such agent.
        """
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise UnknownNameError("agent", name, (agent.name for agent in self.agents))
