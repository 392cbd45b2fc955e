"""What a middleware of a blueprint is: its options, and what makes it."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agentkit.blueprints.fields import PromptRef, Section
from agentkit.errors import UnknownNameError

if TYPE_CHECKING:
    from langchain.agents.middleware import AgentMiddleware
    from langchain_core.language_models import BaseChatModel

    from agentkit.prompts import PromptVersion


@dataclass(frozen=True, slots=True)
class MiddlewareParts:
    """What a middleware may be made of.

    Attributes:
        agent: Name of the agent it is for.
        tools: Names of the agent's tools.
        model: Returns the chat model of a name under `models`; None is the agent's own.
        prompt: Returns a prompt the blueprint refers to.
    """

    agent: str
    tools: Collection[str]
    model: "Callable[[str | None], BaseChatModel]"
    prompt: "Callable[[PromptRef], PromptVersion]"

    def known(self, tools: Collection[str]) -> list[str]:
        """Return `tools` as a list.

        Raises:
            UnknownNameError: The agent has no such tool.
        """
        for tool in tools:
            if tool not in self.tools:
                raise UnknownNameError("tool", tool, self.tools)
        return list(tools)


@dataclass(frozen=True, slots=True)
class MiddlewareType:
    """One kind of middleware.

    Attributes:
        options: Its options; refused keys and wrong values are reported with their place.
        build: Makes it, from its options and the parts of the agent.
        each: Option by which an agent may have several of the kind, one for each of its values.
        prompt_role: What its option `prompt` is checked as; see `checks.PROMPT_VARIABLES`.
    """

    options: type[Section]
    build: "Callable[[Any, MiddlewareParts], AgentMiddleware[Any, Any, Any]]"
    each: str = ""
    prompt_role: str = ""
