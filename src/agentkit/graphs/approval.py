"""Tool calls that wait for a person: LangChain's human-in-the-loop middleware, one pause a call.

A call that needs an approval stops as it starts; the other calls of the same model answer run.
Each pause has an id of its own and is answered on its own, in this process or another one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

from langchain.agents.middleware import HumanInTheLoopMiddleware, InterruptOnConfig, ToolCallRequest
from langchain_core.tools import BaseTool

from agentkit.errors import ConfigurationError, UnknownNameError, nearest
from agentkit.expressions import Condition, UndecidableError
from agentkit.graphs.decision import DecisionType

USUAL: tuple[DecisionType, ...] = ("approve", "edit", "reject")


@dataclass(frozen=True, slots=True)
class Approval:
    """Which calls of a tool wait for a person, and what the person may decide.

    Attributes:
        decisions: `approve` runs the call, `edit` runs it with other arguments, `reject` does not
            run it and tells the model why, `respond` answers in the tool's place.
        when: Condition on the call's arguments; None: every call waits. A call whose arguments do
            not let it be decided waits, too.
        description: What the person is told; empty: the tool's own description.
    """

    decisions: tuple[DecisionType, ...] = USUAL
    when: Condition | None = None
    description: str = ""

    def needed(self, arguments: Mapping[str, Any]) -> bool:
        """Whether a call with these arguments waits.

        It depends on nothing else: after the pause it is asked again, and must say the same.
        """
        if self.when is None:
            return True
        try:
            return self.when.holds({"args": arguments})
        except UndecidableError:
            return True


def approving(
    approvals: Mapping[str, Approval | bool], tools: Sequence[BaseTool | Callable[..., Any]]
) -> HumanInTheLoopMiddleware[Any, Any, Any] | None:
    """Return the middleware that pauses before calls that need an approval; None if none does.

    Args:
        approvals: By name of the tool; True for an `Approval` with its defaults.
        tools: The agent's tools.

    Raises:
        UnknownNameError: There is no such tool: its calls would run unasked.
        ConfigurationError: A condition asks about an argument the tool does not have.
    """
    by_name = {tool_name(tool): tool for tool in tools}
    waits: dict[str, bool | InterruptOnConfig] = {}
    for name, given in approvals.items():
        if given is False:
            continue
        if name not in by_name:
            raise UnknownNameError("tool", name, by_name, hint="An approval names a tool of its agent.")
        approval = Approval() if given is True else given
        _arguments_exist(name, approval, by_name[name])
        waits[name] = _config(approval, by_name[name])
    return HumanInTheLoopMiddleware(waits, interrupt_mode="per_call") if waits else None


def _config(approval: Approval, tool: BaseTool | Callable[..., Any]) -> InterruptOnConfig:
    own = tool.description if isinstance(tool, BaseTool) else (tool.__doc__ or "")

    def when(request: ToolCallRequest) -> bool:
        return approval.needed(request.tool_call["args"])

    return InterruptOnConfig(
        allowed_decisions=list(approval.decisions),
        description=approval.description or own.strip(),
        when=when,
    )


def _arguments_exist(name: str, approval: Approval, tool: BaseTool | Callable[..., Any]) -> None:
    if approval.when is None:
        return
    known = list(tool.args) if isinstance(tool, BaseTool) else _parameters(tool)
    for argument in sorted(approval.when.arguments.difference(known)) if known else ():
        near = nearest(argument, known)
        guess = f" Did you mean 'args.{near}'?" if near else ""
        raise ConfigurationError(
            f"The approval of the tool {name!r} asks about 'args.{argument}', which it does not have.{guess}",
            hint=f"Its arguments: {', '.join(known)}.",
        )


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Names of a function's parameters; none where it takes any."""
    found = signature(function).parameters.values()
    return [] if any(it.kind is Parameter.VAR_KEYWORD for it in found) else [it.name for it in found]


def tool_name(tool: BaseTool | Callable[..., Any]) -> str:
    """The name a model calls a tool or function by."""
    return tool.name if isinstance(tool, BaseTool) else getattr(tool, "__name__", "")
