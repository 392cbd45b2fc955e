"""What a tool of ours is: LangChain's `BaseTool` with bounds, a risk, and results instead of exceptions."""

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool as LangChainTool
from pydantic import BaseModel, ConfigDict

from agentkit import portal

Risk = Literal["none", "outgoing", "writes"]
"""What a call can do besides answering: nothing; tell somebody outside what the model wrote; or
change something. Running sandboxed code is `none`: it reaches nobody and leaves nothing behind."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call came to.

    Attributes:
        success: Whether the tool did what it was asked.
        output: What the model reads.
        error: One or two sentences the model can act on, without internals; None on success, and where
            the output says it.
        data: The same for programs, in plain types (it is checkpointed): the message's artifact.
    """

    success: bool
    output: str = ""
    error: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def failed(cls, error: str, *, output: str = "", **data: Any) -> "ToolResult":
        """A result that says what went wrong."""
        return cls(False, output, error, data)

    @property
    def text(self) -> str:
        """Everything the model is told: the output, and the error below it."""
        return "\n".join(part for part in (self.output, self.error) if part)


class BaseTool(LangChainTool):
    """A tool with a time limit, a cap on what the model is shown, and a risk.

    A subclass has `name`, `description`, `args_schema` and `execute`. It works wherever a
    LangChain tool does, on every event loop and without one. Failures the model can do
    something about are results; what `execute` raises is a bug, or LangGraph's own.

    Attributes:
        timeout: Most seconds of one call; None: the tool has its own.
        max_output: Most characters the model is shown of one result.
        risk: What a call can do besides answering.
        untrusted: Whether its results hold text that others wrote.
    """

    timeout: float | None = 30.0
    max_output: int = 16_000
    risk: Risk = "writes"
    untrusted: bool = True
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"

    @abstractmethod
    async def execute(self, *args: Any, **kwargs: Any) -> ToolResult:
        """Do it; called with keyword arguments that fit `args_schema`."""

    def _run(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return portal.run(self._called, arguments)

    async def _arun(self, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return await self._called(arguments)

    async def _called(self, arguments: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        timer = asyncio.timeout(self.timeout)
        try:
            async with timer:
                result = await self.execute(**arguments)
        except TimeoutError:
            if not timer.expired():
                raise
            result = ToolResult.failed(f"{self.name} was stopped after {self.timeout:g} s.")
        artifact = {**result.data, "success": result.success, "error": result.error}
        return shortened(result.text, self.max_output), artifact

    def run(self, *args: Any, **kwargs: Any) -> Any:
        """See LangChain; a failed result's message has the status `error`."""
        return _marked(super().run(*args, **kwargs))

    async def arun(self, *args: Any, **kwargs: Any) -> Any:
        """See LangChain; a failed result's message has the status `error`."""
        return _marked(await super().arun(*args, **kwargs))


class ToolOptions(BaseModel):
    """What a blueprint may set of a registered tool, beside the keys every tool has."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@dataclass(frozen=True, slots=True)
class ToolParts:
    """What a tool may be made of, besides its options.

    Attributes:
        agent: Name of the agent it is for.
        folder: What relative paths in options are relative to: the blueprint's folder.
        services: What the application offers to tools, by name: credentials, search provider,
            the agent's own knowledge; see `agentkit.wiring`.
    """

    agent: str = ""
    folder: Path | None = None
    services: Mapping[str, Any] = field(default_factory=dict[str, Any])


ToolBuilder = Callable[[Any, ToolParts], LangChainTool]


@dataclass(frozen=True, slots=True)
class ToolType:
    """A registered tool that a blueprint can set options of.

    Attributes:
        options: Its options; refused keys and wrong values are reported with their place.
        build: Makes it, from its options and the parts of the agent.
    """

    options: type[ToolOptions]
    build: ToolBuilder


def shortened(text: str, most: int) -> str:
    """Return at most about `most` characters: the first and the last half, and how many are missing."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters left out]\n{text[-half:]}"


def available(tool: LangChainTool) -> LangChainTool:
    """Return a tool once it has said that it can do its work on this machine. May block.

    A tool that depends on the machine has a method `ensure_available` that raises when it cannot.

    Raises:
        SandboxUnavailableError: It runs code, and nothing here can isolate code.
    """
    check = getattr(tool, "ensure_available", None)
    if callable(check):
        check()
    return tool


def _marked(output: Any) -> Any:
    if isinstance(output, ToolMessage):
        artifact: object = output.artifact
        if isinstance(artifact, dict) and cast("dict[str, Any]", artifact).get("success") is False:
            output.status = "error"
    return output
