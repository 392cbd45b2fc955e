"""How often one tool may be called in a turn; the model is told, and goes on without it."""

from collections.abc import Sequence
from typing import Annotated, Any, NotRequired

from langchain.agents.middleware import ToolCallLimitMiddleware
from langchain.agents.middleware.tool_call_limit import ToolCallLimitState
from langchain.agents.middleware.types import PrivateStateAttr, hook_config
from langchain_core.messages import AIMessage, AnyMessage
from langgraph.runtime import Runtime

from agentkit.context import RunContext


class CountedState(ToolCallLimitState[Any]):
    """The calls of the current turn, kept in the checkpoint."""

    run_tool_call_count: NotRequired[Annotated[dict[str, int], PrivateStateAttr]]


class ToolLimit(ToolCallLimitMiddleware[Any, RunContext]):
    """LangChain's limit of tool calls, counted where a pause does not lose it.

    LangChain counts a run's calls beside the checkpoint: a turn that waited for a person would
    start from zero again when it goes on.

    Args:
        tool: Which tool; None: all of them together.
        limit: Most calls in one turn.
    """

    state_schema = CountedState

    def __init__(self, tool: str | None, limit: int) -> None:
        super().__init__(tool_name=tool, run_limit=limit)

    @property
    def name(self) -> str:
        """Name of the node: `tool limit search.after_model`."""
        return f"tool limit {self.tool_name}" if self.tool_name else "tool limit"

    @hook_config(can_jump_to=["end"])
    async def aafter_model(self, state: Any, runtime: Runtime[RunContext]) -> dict[str, Any] | None:
        """Count the calls the model asks for, and answer those above the limit."""
        if _begins(state["messages"]):
            state = {**state, "run_tool_call_count": {}}
        return self.after_model(state, runtime)


def _begins(messages: Sequence[AnyMessage]) -> bool:
    """Whether the newest reply is the first to its question."""
    replies = [index for index, message in enumerate(messages) if isinstance(message, AIMessage)]
    return bool(replies) and replies[-1] > 0 and messages[replies[-1] - 1].type == "human"
