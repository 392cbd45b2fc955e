"""The key `approval` of a tool: which of its calls wait for a person; and what can be wrong with it."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from agentkit import expressions
from agentkit.blueprints.fields import Section, Text
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.rule_checks import check_expression
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.graphs.decision import DecisionType


def _each_once(value: tuple[DecisionType, ...]) -> tuple[DecisionType, ...]:
    if not value:
        raise ValueError("lists no decision.")
    if len(set(value)) < len(value):
        raise ValueError("a decision is listed twice.")
    return value


class ApprovalSpec(Section):
    """Which calls of a tool wait for a person, and what the person may decide."""

    decisions: Annotated[tuple[DecisionType, ...], AfterValidator(_each_once)] = Field(
        default=("approve", "edit", "reject"),
        description="What may be decided: approve, edit, reject, respond (answer in the tool's place).",
        json_schema_extra={"minItems": 1},
    )
    when: Text | None = Field(
        default=None, description="Condition on the call: args.amount > 100; every call waits if absent."
    )
    description: Text | None = Field(
        default=None, description="What the person is told; the tool's description if absent."
    )


def _yes_or_no(value: object) -> object:
    """True is an approval with its defaults, false none: so a blueprint can take back an inherited one."""
    if isinstance(value, bool):
        return ApprovalSpec() if value else None
    return value


OptionalApproval = Annotated[
    ApprovalSpec | None, BeforeValidator(_yes_or_no, json_schema_input_type=bool | ApprovalSpec | None)
]


def check_approvals(tree: SourceTree, value: dict[str, Any], problems: list[Problem]) -> None:
    """Add every fault of the approvals in `value` to `problems`.

    Args:
        tree: The blueprint's files.
        value: The tree's value; parts that do not validate are passed over.
        problems: Where faults are added.
    """
    forgets = as_mapping(value.get("runtime")).get("checkpointer") == "none"
    for index, agent in enumerate(as_list(value.get("agents"))):
        for number, tool in enumerate(as_list(as_mapping(agent).get("tools"))):
            path = ("agents", index, "tools", number, "approval")
            approval = as_mapping(tool).get("approval")
            when = as_mapping(approval).get("when")
            if isinstance(when, str) and when.strip():
                problems += check_expression(tree, when, (*path, "when"), expressions.ARGUMENTS)
            if forgets and (approval is True or isinstance(approval, dict)):
                message = (
                    "A call that waits for approval must be kept: runtime.checkpointer cannot be none. "
                    "Choose postgres, or memory to keep it as long as the process lives."
                )
                problems.append(tree.problem(message, path, key=True))
