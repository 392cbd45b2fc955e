"""`pii`: personal data is made unrecognisable before a model sees it."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from agentkit.blueprints.fields import Section, Slug
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.errors import nearest
from agentkit.graphs.personal_data import PersonalData

KNOWN = ("credit_card", "email", "ip", "mac_address", "url")
"""What LangChain finds without a pattern."""


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}.") from error
    return value


class PiiOptions(Section):
    """Makes one type of personal data unrecognisable in what the agent's model is shown."""

    type: Slug = Field(
        description="email, credit_card, ip, mac_address or url; or a name of your own, with a pattern."
    )
    pattern: Annotated[str, Field(min_length=1), AfterValidator(_regex)] | None = Field(
        default=None, description="Regular expression that finds it."
    )
    strategy: Literal["redact", "mask", "hash", "block"] = Field(
        default="redact",
        description="redact: [REDACTED_EMAIL]; mask: its last characters stay; hash: the same for the same "
        "value; block: a message that holds it is refused.",
    )
    input: bool = Field(default=True, description="Whether to look into the user's messages.")
    tool_results: bool = Field(default=False, description="Whether to look into what tools return.")

    @model_validator(mode="after")
    def _can_be_found(self) -> Self:
        if self.pattern is None and self.type not in KNOWN:
            guess = nearest(self.type, KNOWN)
            hint = f" Did you mean {guess!r}?" if guess else ""
            raise ValueError(
                f"the type {self.type!r} needs a pattern.{hint} Without one: {', '.join(KNOWN)}."
            )
        if not self.input and not self.tool_results:
            raise ValueError("looks into nothing: leave out input: false, or add tool_results: true.")
        return self


def _build(options: PiiOptions, parts: MiddlewareParts) -> PersonalData:
    return PersonalData(
        parts.agent,
        options.type,
        pattern=options.pattern,
        strategy=options.strategy,
        in_questions=options.input,
        in_tool_results=options.tool_results,
    )


PII = MiddlewareType(PiiOptions, _build, each="type")
