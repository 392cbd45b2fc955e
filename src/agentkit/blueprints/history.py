"""The key `supervisor.summary`: what stands for the conversation where an agent is not given it."""

from collections.abc import Callable
from typing import Any, cast

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.routing import SummarySpec
from agentkit.prompts import PromptVersion
from agentkit.prompts.yaml_source import KeyPath

ROLES = {
    "conversation summary": frozenset({"summary", "messages"}),
    "shown summary": frozenset({"summary"}),
}
"""Variables of its two prompts."""


def check_summary(
    value: dict[str, Any],
    *,
    model: Callable[[KeyPath, str | None], None],
    prompt: Callable[[str, KeyPath, PromptRef | None], None],
) -> None:
    """Check model and prompts of the summary, if any agent is given one."""
    agents = value.get("agents")
    listed = cast("list[Any]", agents) if isinstance(agents, list) else []
    wanted = any(
        isinstance(agent, dict) and cast("dict[str, Any]", agent).get("history") == "task_and_summary"
        for agent in listed
    )
    if wanted:
        path = ("supervisor", "summary")
        model((*path, "model"), None)
        prompt("conversation summary", (*path, "prompt"), SummarySpec().prompt)
        prompt("shown summary", (*path, "shown"), SummarySpec().shown)


def asking(prompt: PromptVersion) -> Callable[[str, str], str]:
    """The request for a summary, from the summary so far and the messages since."""

    def ask(summary: str, messages: str) -> str:
        offered = {"summary": summary, "messages": messages}
        return prompt.render(**{name: offered[name] for name in prompt.variables})

    return ask
