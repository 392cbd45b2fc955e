"""The tools of a blueprint's MCP servers, loaded before it is compiled."""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agentkit.tools.mcp import McpServers, McpTool

if TYPE_CHECKING:
    from agentkit.blueprints import LoadedBlueprint
    from agentkit.blueprints.agent_tools import Tool
    from agentkit.llm.providers.scripted import Script
    from agentkit.wiring.kit import Kit


@dataclass(frozen=True, slots=True)
class ListedTool:
    """A tool an agent has.

    Attributes:
        name: What the model calls it by.
        description: What the model reads.
        source: Where it comes from: `mcp NAME`, `registered`, or the module it is defined in.
    """

    name: str
    description: str
    source: str


async def mcp_tools(
    servers: McpServers, loaded: "LoadedBlueprint", scripts: "Mapping[str, Script] | None" = None
) -> Mapping[str, Sequence[McpTool]]:
    """What the MCP servers that a blueprint's agents use offer, by name; all asked at once.

    Those of its teams are named by their paths.

    Args:
        servers: Connections, made where there are none yet.
        loaded: The blueprint.
        scripts: What is said instead of models; see `used_servers`.

    Raises:
        McpServerError: One cannot be reached or started.
        MissingExtraError: The extra `mcp` is not installed.
    """
    from agentkit.blueprints.agent_tools import used_servers

    names = used_servers(loaded.spec.agents, scripts)
    found = await asyncio.gather(*(servers.tools(loaded.mcp_servers[name]) for name in names))
    offered = dict(zip(names, found, strict=True))
    for team, below in loaded.teams.items():
        path = f"{team}/"
        own = None
        if scripts is not None:
            own = {name.removeprefix(path): scripts[name] for name in scripts if name.startswith(path)}
        offered |= {path + name: tools for name, tools in (await mcp_tools(servers, below, own)).items()}
    return offered


async def listed_tools(kit: "Kit", loaded: "LoadedBlueprint") -> dict[str, list[ListedTool]]:
    """The tools of every agent, as its model is told of them; agents of teams are named by their paths.

    Imports functions, connects MCP servers.

    Raises:
        McpServerError: A server cannot be reached or started.
        ConfigurationError: A tool cannot be imported, or has the name of another.
    """
    from agentkit.blueprints.agent_tools import agent_tools

    offered = await mcp_tools(kit.mcp, loaded)
    allowed = loaded.spec.security.allowed_modules
    listed: dict[str, list[ListedTool]] = {}
    for agent in loaded.spec.agents:
        tools = await asyncio.to_thread(agent_tools, agent, allowed, offered)
        listed[agent.name] = [_listed(tool) for _, tool in tools]
    for team, below in loaded.teams.items():
        listed |= {f"{team}/{name}": tools for name, tools in (await listed_tools(kit, below)).items()}
    return listed


def _listed(tool: "Tool") -> ListedTool:
    from langchain_core.tools import BaseTool

    if isinstance(tool, McpTool):
        return ListedTool(tool.name, tool.description, f"mcp {tool.server}")
    if isinstance(tool, BaseTool):
        return ListedTool(tool.name, tool.description, "registered")
    return ListedTool(tool.__name__, inspect.getdoc(tool) or "", tool.__module__)
