"""An agent that is a whole team: another blueprint, under the key `blueprint`."""

from collections.abc import Mapping
from typing import Annotated, Any, cast

from pydantic import Discriminator, Field, Tag
from pydantic_core import ErrorDetails

from agentkit.blueprints.agents import AgentName, AgentSpec, SpendingSpec
from agentkit.blueprints.fields import SLUG, Duration, Int, Scalar, Section, Slug, Text

PATH_SEPARATOR = "/"
"""Between a team's name and that of one of its agents: `cluster/kubernetes`."""


class TeamLimitsSpec(SpendingSpec):
    """What one turn of a team may spend, beside the limits of its own blueprint."""

    timeout: Duration | None = Field(
        default=None, description="Longest the supervisor waits for its answer: 60s; no limit if absent."
    )
    history_tokens: Annotated[Int, Field(ge=100)] = Field(
        default=2000, description="Most tokens of earlier messages the team is given; the newest are kept."
    )


class TeamSpec(Section):
    """A team as one agent: its own supervisor decides who in it answers."""

    name: AgentName = Field(description="Unique in the blueprint.", json_schema_extra={"pattern": SLUG})
    blueprint: Text = Field(description="Blueprint file or folder of the team; relative to this file.")
    description: str = Field(
        default="", description="What it answers; the description of its blueprint if absent."
    )
    examples: tuple[Text, ...] = Field(
        default=(), description="Typical questions; the examples of all its agents if absent."
    )
    parameters: Mapping[Slug, Scalar] = Field(
        default_factory=dict[str, Any], description="Values for the parameters of its blueprint."
    )
    limits: TeamLimitsSpec = Field(
        default=TeamLimitsSpec(), description="Bounds of one turn, beside those of its blueprint."
    )


def is_team(member: object) -> bool:
    """Whether an entry of `agents`, as written, is a team."""
    return isinstance(member, TeamSpec) or (
        isinstance(member, dict) and "blueprint" in cast("dict[object, object]", member)
    )


_KINDS = {"agent": AgentSpec, "team": TeamSpec}

Member = Annotated[
    Annotated[AgentSpec, Tag("agent")] | Annotated[TeamSpec, Tag("team")],
    Discriminator(lambda member: "team" if is_team(member) else "agent"),
]


def of_member(
    fault: ErrorDetails,
) -> tuple[tuple[str | int, ...], ErrorDetails, type[AgentSpec | TeamSpec] | None]:
    """Return where a fault of a blueprint is, and the fault as one of the entry of `agents` it is in.

    pydantic puts the kind of the entry into the place, where no key is.

    Returns:
        The place in the blueprint, the fault placed in the entry, and the entry's model; the
        fault as it is, and None, where it is in no entry.
    """
    place = fault["loc"]
    kind = _KINDS.get(str(place[2])) if place[:1] == ("agents",) and place[2:] else None
    if kind is None:
        return place, fault, None
    if not place[3:]:  # the entry as a whole
        return place[:2], cast("ErrorDetails", {**fault, "loc": place[:2]}), None
    inner = cast("ErrorDetails", {**fault, "loc": place[3:]})
    return (*place[:2], *place[3:]), inner, kind
