"""Chat models as YAML describes them, in blueprints and in settings."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from agentkit.blueprints.fields import DURATION, Duration, Float, Int, Reference, Section, Slug, Text
from agentkit.llm.policies import DEFAULT_ON, Reason


class TimeoutSpec(Section):
    """How long one attempt may take, stage by stage."""

    connect: Duration | None = Field(default=5.0, description="Until the connection stands.")
    queue: Duration | None = Field(
        default=None,
        description="Until it is this call's turn, where concurrency is limited; if absent, as total.",
    )
    first_token: Duration | None = Field(default=None, description="Until the first word: 20s.")
    idle: Duration | None = Field(default=None, description="Between two pieces after that: 15s.")
    total: Duration | None = Field(default=None, description="Until the answer is complete: 60s.")


def _total(value: object) -> object:
    """A bare duration is the total."""
    return {"total": value} if isinstance(value, (str, int, float)) else value


def _or_duration(schema: dict[str, Any]) -> None:
    schema["anyOf"].append({"type": "string", "pattern": f"^{DURATION.pattern}$"})


class RetrySpec(Section):
    """How failed attempts are repeated: before the first word only, with full jitter."""

    attempts: Annotated[Int, Field(ge=1, le=10)] = Field(default=3, description="Attempts in all; 1: never.")
    base: Duration = Field(default=0.5, description="The first wait is below this; it doubles each time.")
    cap: Duration = Field(default=8.0, description="No wait is longer.")


class BreakerSpec(Section):
    """When a provider that keeps failing is left alone."""

    failures: Annotated[Int, Field(ge=1)] = Field(default=5, description="Consecutive failures that open it.")
    open_for: Duration = Field(default=30.0, description="How long until one probe is let through.")


class PriceSpec(Section):
    """What a model costs, in US dollars per million tokens."""

    input: Annotated[Float, Field(ge=0)] = Field(description="Tokens read.")
    output: Annotated[Float, Field(ge=0)] = Field(description="Tokens written.")
    cache_read: Annotated[Float, Field(ge=0)] | None = Field(
        default=None, description="Tokens read from the provider's cache; as much as the others if absent."
    )


class ModelSpec(Section):
    """One chat model the blueprint's agents can name."""

    provider: Text = Field(
        default="auto", description="auto, local, ollama, scripted or a registered provider."
    )
    use: Reference | None = Field(
        default=None,
        description="module:factory of a LangChain chat model, instead of a provider; "
        "the module must be under security.allowed_modules.",
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
    concurrency: Annotated[Int, Field(ge=1)] | None = Field(
        default=None, description="Most requests at once to the provider's address; no limit if absent."
    )
    cache: Duration | None = Field(
        default=None, description="How long an answer is given again for the same request; never if absent."
    )
    tool_calls: Literal["auto", "native", "json"] = Field(
        default="auto", description="Whether the model is sent tools, or writes its calls as JSON."
    )
    options: Mapping[str, Any] = Field(
        default_factory=dict[str, Any],
        description="Passed to the provider as they are; may hold ${secret:NAME}.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> "ModelSpec":
        if self.use is not None and "provider" in self.model_fields_set:
            raise ValueError("a model has either 'provider' or 'use', not both.")
        return self
