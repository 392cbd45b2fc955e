"""The tools of one agent: registered ones, functions by import path, and those of MCP servers."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, cast

from langchain_core.tools import BaseTool

from agentkit.blueprints.agents import AgentSpec, ToolSpec
from agentkit.errors import ConfigurationError, nearest
from agentkit.graphs.approval import tool_name
from agentkit.llm.providers.scripted import Script
from agentkit.references import load
from agentkit.tools import TOOLS, ToolParts, ToolType, available
from agentkit.tools.mcp import McpTool

logger = logging.getLogger(__name__)

Tool = BaseTool | Callable[..., Any]
Offered = Mapping[str, Sequence[McpTool]]
"""What MCP servers offer, by name of the server."""


def used_servers(agents: Iterable[AgentSpec], scripts: Mapping[str, Script] | None = None) -> list[str]:
    """Names of the MCP servers that must be connected, in the order agents name them.

    Args:
        agents: The agents.
        scripts: What is said instead of models: an agent whose script calls no tool needs
            none, and one that has no script is not called. None: the real models.
    """
    names = [
        tool.mcp
        for agent in agents
        if scripts is None or _calls_tools(scripts.get(agent.name) or scripts.get(agent.model))
        for tool in agent.tools
        if tool.mcp is not None
    ]
    return list(dict.fromkeys(names))


def agent_tools(agent: AgentSpec, allowed: Sequence[str], offered: Offered) -> list[tuple[ToolSpec, Tool]]:
    """The tools of an agent, each with the entry it comes from, in the order of the entries.

    The tools of a server are in the server's order.

    Args:
        agent: The agent.
        allowed: Modules its functions may be taken from.
        offered: What MCP servers offer; tools of a server that is not in it are left out.

    Raises:
        ConfigurationError: A tool cannot be imported, or is no tool; a server offers nothing
            that a pattern fits; or two tools have the same name.
    """
    tools: list[tuple[ToolSpec, Tool]] = []
    origins: dict[str, str] = {}
    for spec in agent.tools:
        for tool in _tools(agent, spec, allowed, offered):
            name = tool_name(tool)
            if name and name in origins:
                _clash(agent.name, name, (origins[name], spec.title), tool)
            origins[name] = spec.title
            tools.append((spec, tool))
    return tools


def _tools(agent: AgentSpec, spec: ToolSpec, allowed: Sequence[str], offered: Offered) -> Iterator[Tool]:
    if spec.mcp is not None:
        if spec.mcp in offered:
            yield from _chosen(agent.name, spec, offered[spec.mcp])
    elif spec.use is None:
        registered = TOOLS.get(spec.name or "")
        if isinstance(registered, ToolType):
            registered = registered.build(registered.options(), ToolParts(agent.name))
        yield available(registered)
    else:
        tool = load(spec.use, allowed=allowed, kind="tool")
        if not isinstance(tool, BaseTool) and not callable(tool):
            raise ConfigurationError(f"{spec.use!r} is neither a LangChain tool nor a function.")
        yield cast("Tool", tool)


def _chosen(agent: str, spec: ToolSpec, tools: Sequence[McpTool]) -> list[McpTool]:
    """Those of a server's tools that an agent may call."""
    names = [tool.offered_as for tool in tools]
    for pattern in spec.include:
        if not _fitting([pattern], names):
            guess = nearest(pattern, names)
            raise ConfigurationError(
                f"The agent {agent!r} includes {pattern!r} of the MCP server {spec.mcp!r}, "
                "which offers no such tool." + (f" Did you mean {guess!r}?" if guess else ""),
                hint=f"It offers: {', '.join(sorted(names)) or '(nothing)'}.",
            )
    for pattern in spec.exclude:
        if not _fitting([pattern], names):
            logger.warning(
                "agent %s: %r, excluded of the MCP server %s, fits none of its tools: %s",
                agent, pattern, spec.mcp, ", ".join(sorted(names)),
            )  # fmt: skip
    wanted = set(_fitting(spec.include, names) if spec.include else names)
    wanted -= set(_fitting(spec.exclude, names))
    if not wanted:
        raise ConfigurationError(
            f"The agent {agent!r} gets no tool of the MCP server {spec.mcp!r}.",
            hint=f"It offers: {', '.join(sorted(names)) or '(nothing)'}. "
            "Correct include and exclude, or take the server out of its tools.",
        )
    return [tool for tool in tools if tool.offered_as in wanted]


def _fitting(patterns: Sequence[str], names: Sequence[str]) -> list[str]:
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _clash(agent: str, name: str, origins: tuple[str, str], second: Tool) -> None:
    first, last = origins
    there = second.offered_as if isinstance(second, McpTool) else name
    raise ConfigurationError(
        f"The agent {agent!r} would have two tools called {name!r}: of {first} and of {last}.",
        hint=f"Leave one out; of an MCP server with exclude: [{there}].",
    )


def _calls_tools(script: Script | None) -> bool:
    return script is not None and script.calls_tools
