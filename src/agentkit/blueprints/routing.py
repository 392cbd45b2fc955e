"""The keys `routing` and `supervisor`: who answers a message, and who answers when no agent fits."""

from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field, model_validator

from agentkit.blueprints.fields import Float, Int, PromptRef, Section, Text


class SemanticSpec(Section):
    """Routing by similarity to the agents' examples."""

    threshold: Annotated[Float, Field(ge=-1, le=1)] = Field(
        default=0.25,
        description="Least score of the best agent: the mean of its two best cosine similarities.",
    )
    margin: Annotated[Float, Field(ge=0, le=1)] = Field(
        default=0.08, description="Least distance between the best agent's score and the next."
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
    candidates: Annotated[Int, Field(ge=2, le=100)] | None = Field(
        default=None,
        description="Most names it may choose from, the nearest by the semantic strategy before it, the "
        "supervisor's none included; all if absent.",
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
    max_hops: Annotated[Int, Field(ge=1, le=50)] = Field(
        default=6, description="Most visits of agents in one turn, where they hand questions on."
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

    @model_validator(mode="after")
    def _candidates_need_scores(self) -> "RoutingSpec":
        before_llm = self.strategy[: self.strategy.index("llm")] if "llm" in self.strategy else ()
        if self.llm.candidates is not None and "semantic" not in before_llm:
            raise ValueError("llm.candidates needs the strategies semantic and, after it, llm.")
        return self

    @property
    def llm_prompt(self) -> PromptRef:
        """The prompt of the llm strategy: as written, else the one for so many agents."""
        if "prompt" in self.llm.model_fields_set or self.parallel == 1:
            return self.llm.prompt
        return SEVERAL_PROMPT


class SummarySpec(Section):
    """The summary for agents with history: task_and_summary."""

    model: Text | None = Field(default=None, description="Name under models; the supervisor's if absent.")
    prompt: PromptRef = Field(
        default=PromptRef(ref="summary"),
        description="Prompt that asks for the summary; gets {{summary}}, the one so far, and {{messages}}.",
    )
    shown: PromptRef = Field(
        default=PromptRef(ref="summary_shown"),
        description="Prompt that presents it before the question; gets {{summary}}.",
    )


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
    summary: SummarySpec = Field(
        default=SummarySpec(), description="Summary for agents with history: task_and_summary."
    )
