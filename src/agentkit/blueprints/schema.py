"""Blueprint YAML, version 1, as frozen models: exactly the keys that do something today.

docs/blueprint.schema.json is generated from these models; docs/blueprints.md explains them.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from agentkit.errors import UnknownNameError
from agentkit.llm.policies import DEFAULT_ON, Reason

RESERVED_AGENT_NAMES = frozenset(
    {"supervisor", "none", "start", "end", "__start__", "__end__", "__interrupt__", "__error__"}
)
"""Names the graph or the routing answer uses itself."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(value: object) -> float:
    """Return the seconds of a duration like `500ms`, `30s`, `2m` or `1h`.

    Raises:
        ValueError: It is not a duration, or it is zero.
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    seconds = float(match.group(1)) * _SECONDS[match.group(2)] if match else 0.0
    if not seconds:
        raise ValueError("must be a duration with a unit, longer than zero: 500ms, 30s, 2m or 1h.")
    return seconds


def _not_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number, not a boolean.")  # noqa: TRY004 - pydantic's protocol
    return value


def _scalar(value: object) -> object:
    if isinstance(value, (str, int, float)):
        return value
    raise ValueError("must be text, a number, true or false.")


def _agent_name(value: str) -> str:
    if value in RESERVED_AGENT_NAMES:
        raise ValueError(f"the name {value!r} is reserved; choose another for the agent.")
    if not re.fullmatch(_SLUG, value):
        raise ValueError("must be lower-case letters, digits, - and _, starting with a letter.")
    return value


_SLUG = r"^[a-z][a-z0-9_-]{0,62}$"
Slug = Annotated[str, Field(pattern=_SLUG)]
AgentName = Annotated[
    str, BeforeValidator(lambda value: _agent_name(value) if isinstance(value, str) else value)
]
Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"type": "string", "pattern": f"^{_DURATION.pattern}$"}),
]
Int = Annotated[int, BeforeValidator(_not_boolean)]
Float = Annotated[float, BeforeValidator(_not_boolean), Field(allow_inf_nan=False)]
Text = Annotated[str, Field(min_length=1, pattern=r"\S")]
Scalar = Annotated[
    object, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


class _Section(BaseModel):
    """A mapping of the blueprint: unknown keys are refused, values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ParameterSpec(_Section):
    """A value the caller may set; `${param:NAME}` stands for it anywhere in the blueprint."""

    default: Scalar | None = Field(
        default=None, description="Value if the caller sets none; required if absent."
    )
    description: str = Field(default="", description="What it changes.")


class TimeoutSpec(_Section):
    """How long one attempt may take, stage by stage."""

    first_token: Duration | None = Field(default=None, description="Until the first word: 20s.")
    idle: Duration | None = Field(default=None, description="Between two pieces after that: 15s.")
    total: Duration | None = Field(default=None, description="Until the answer is complete: 60s.")


def _total(value: object) -> object:
    """A bare duration is the total."""
    return {"total": value} if isinstance(value, str) else value


def _or_duration(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "pattern": f"^{_DURATION.pattern}$"})


class RetrySpec(_Section):
    """How failed attempts are repeated: before the first word only, with full jitter."""

    attempts: Annotated[Int, Field(ge=1, le=10)] = Field(default=3, description="Attempts in all; 1: never.")
    base: Duration = Field(default=0.5, description="The first wait is below this; it doubles each time.")
    cap: Duration = Field(default=8.0, description="No wait is longer.")


class BreakerSpec(_Section):
    """When a provider that keeps failing is left alone."""

    failures: Annotated[Int, Field(ge=1)] = Field(default=5, description="Consecutive failures that open it.")
    open_for: Duration = Field(default=30.0, description="How long until one probe is let through.")


class PriceSpec(_Section):
    """What a model costs, in US dollars per million tokens."""

    input: Annotated[Float, Field(ge=0)] = Field(description="Tokens read.")
    output: Annotated[Float, Field(ge=0)] = Field(description="Tokens written.")
    cache_read: Annotated[Float, Field(ge=0)] | None = Field(
        default=None, description="Tokens read from the provider's cache; as much as the others if absent."
    )


class ModelSpec(_Section):
    """One chat model the blueprint's agents can name."""

    provider: Text = Field(
        default="auto", description="auto, local, ollama, scripted or a registered provider."
    )
    model: Text | None = Field(default=None, description="Name at the provider; its default model if absent.")
    temperature: Annotated[Float, Field(ge=0, le=2)] = Field(
        default=0.0, description="0 repeats itself, 2 is wild."
    )
    max_tokens: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Most tokens of one answer."
    )
    timeout: Annotated[TimeoutSpec | None, BeforeValidator(_total)] = Field(
        default=None,
        description="Longest one attempt may take: 30s; or first_token, idle and total.",
        json_schema_extra=_or_duration,
    )
    retry: RetrySpec = Field(default=RetrySpec(), description="How failed attempts are repeated.")
    breaker: BreakerSpec = Field(default=BreakerSpec(), description="When the provider is left alone.")
    fallbacks: tuple[Slug, ...] = Field(
        default=(), description="Names under models, asked in turn when this one cannot answer."
    )
    fallback_on: tuple[Reason, ...] = Field(
        default=DEFAULT_ON, description="For which failures the fallbacks are asked."
    )
    price: PriceSpec | None = Field(
        default=None, description="What it costs; for OpenAI and Anthropic the price list knows, if absent."
    )
    options: Mapping[str, Any] = Field(
        default_factory=dict[str, Any], description="Passed to the provider as they are."
    )


class PromptRef(_Section):
    """A prompt file and the version to use."""

    ref: Text = Field(description="Path below the prompts folder without suffix: agents/kubernetes.")
    version: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Version; the current one if absent."
    )


class SourceSpec(_Section):
    """Files that feed one knowledge scope."""

    path: Text = Field(description="File or folder; relative to the blueprint's folder.")
    scope: Slug = Field(description="Scope its text is searched under.")


class KnowledgeSpec(_Section):
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


class SemanticSpec(_Section):
    """Routing by similarity to the agents' examples."""

    threshold: Annotated[Float, Field(ge=-1, le=1)] = Field(
        default=0.25, description="Least cosine similarity of the best agent."
    )
    margin: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=0.08, description="Least distance between the best agent and the next."
    )


class LlmRoutingSpec(_Section):
    """Routing by asking a model."""

    model: Text | None = Field(default=None, description="Name under models; the supervisor's if absent.")
    prompt: PromptRef = Field(
        default=PromptRef(ref="routing"), description="Prompt that asks for an agent; gets {{agents}}."
    )


class RoutingSpec(_Section):
    """How the supervisor chooses who answers."""

    strategy: tuple[Literal["semantic", "llm"], ...] = Field(
        default=("semantic", "llm"), min_length=1, description="Tried in order until one decides."
    )
    semantic: SemanticSpec = Field(default=SemanticSpec(), description="Settings of the semantic strategy.")
    llm: LlmRoutingSpec = Field(default=LlmRoutingSpec(), description="Settings of the llm strategy.")

    @model_validator(mode="after")
    def _each_once(self) -> "RoutingSpec":
        if len(set(self.strategy)) < len(self.strategy):
            raise ValueError("strategy lists one strategy twice.")
        return self


class SupervisorSpec(_Section):
    """Who answers when no agent fits."""

    model: Text = Field(default="main", description="Name under models.")
    prompt: PromptRef = Field(
        default=PromptRef(ref="supervisor"), description="System prompt; gets {{agents}}."
    )
    examples: tuple[Text, ...] = Field(
        default=(), description="Messages it answers itself, like greetings; feed semantic routing."
    )


class ToolSpec(_Section):
    """One tool of an agent: a registered one by name, or a function by import path."""

    name: Text | None = Field(default=None, description="Name of a registered tool.")
    use: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = Field(
        default=None, description="module:attribute; the module must be under security.allowed_modules."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "ToolSpec":
        if (self.name is None) == (self.use is None):
            raise ValueError("a tool has either 'name' or 'use', and only one of them.")
        return self


class LimitsSpec(_Section):
    """What one turn of an agent may spend."""

    tool_iterations: Annotated[Int, Field(ge=1, le=20)] = Field(
        default=5, description="Most rounds of tool calls before the agent must answer."
    )
    history_tokens: Annotated[Int, Field(ge=100)] = Field(
        default=2000, description="Most tokens of earlier messages the model is shown; the newest are kept."
    )


class AgentSpec(_Section):
    """One agent: what it is for, and what it works with."""

    name: AgentName = Field(description="Unique in the blueprint.", json_schema_extra={"pattern": _SLUG})
    description: Text = Field(description="What it answers; read by both routing strategies.")
    examples: tuple[Text, ...] = Field(default=(), description="Typical questions; feed semantic routing.")
    model: Text = Field(default="main", description="Name under models.")
    prompt: PromptRef = Field(description="System prompt.")
    knowledge_scope: tuple[Slug, ...] = Field(
        default=(), description="Scopes it retrieves from; the model cannot widen them. None: no retrieval."
    )
    tools: tuple[ToolSpec, ...] = Field(default=(), description="Tools it may call.")
    limits: LimitsSpec = Field(default=LimitsSpec(), description="Bounds of one turn.")


class SecuritySpec(_Section):
    """What code a blueprint may load."""

    allowed_modules: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...] = Field(
        default=(), description="Modules (and everything below them) that tools may be taken from."
    )


class RuntimeSpec(_Section):
    """How the graph runs."""

    checkpointer: Literal["postgres", "memory", "none"] = Field(
        default="postgres", description="Where conversations are kept: database, process, or nowhere."
    )


class Blueprint(_Section):
    """A team of agents under a supervisor."""

    api_version: Literal["agentkit/v1"] = Field(alias="apiVersion", description="Version of this format.")
    kind: Literal["Blueprint"] = Field(description="What this file is.")
    name: Slug = Field(description="Name the blueprint is found and measured by.")
    description: str = Field(default="", description="What the team is for.")
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
    security: SecuritySpec = Field(default=SecuritySpec(), description="What code may be loaded.")
    runtime: RuntimeSpec = Field(default=RuntimeSpec(), description="How the graph runs.")

    def agent(self, name: str) -> AgentSpec:
        """Return the agent called `name`.

        Raises:
            UnknownNameError: The blueprint has no such agent.
        """
        for agent in self.agents:
            if agent.name == name:
                return agent
        raise UnknownNameError("agent", name, (agent.name for agent in self.agents))
