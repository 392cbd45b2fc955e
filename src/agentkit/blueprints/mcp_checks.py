"""What can be wrong with `mcp_servers` and the tools taken from them; nothing is connected."""

import re
from collections.abc import Iterator
from typing import Any

from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath

SETTING = "security.allowed_commands"

_CREDENTIAL = re.compile(r"authorization|cookie|token|secret|password|api[-_]?key", re.IGNORECASE)


def check_mcp(
    tree: SourceTree, value: dict[str, Any], problems: list[Problem], warnings: list[Problem]
) -> None:
    """Add every fault of the servers, and of the tools agents take from them.

    Args:
        tree: The blueprint's files.
        value: The tree's value; parts that do not validate are passed over.
        problems: Where faults are added.
        warnings: Where things are added that work but are probably not meant.
    """
    servers = as_mapping(value.get("mcp_servers"))
    allowed = as_list(as_mapping(value.get("security")).get("allowed_commands"))
    used: set[object] = set()
    for name in servers:
        server = as_mapping(servers[name])
        problems += _faults(tree, server, allowed, ("mcp_servers", name))
        warnings += _open_secrets(tree, server, ("mcp_servers", name))
    for index, agent in enumerate(as_list(value.get("agents"))):
        tools = [as_mapping(tool) for tool in as_list(as_mapping(agent).get("tools"))]
        problems += _taken(tree, tools, servers, ("agents", index, "tools"))
        used |= {name for tool in tools if isinstance(name := tool.get("mcp"), str)}
    for name in servers:
        if name not in used:
            message = f"No agent uses the MCP server {name!r}; it is never connected."
            warnings.append(tree.problem(message, ("mcp_servers", name), key=True))


def _faults(tree: SourceTree, server: dict[Any, Any], allowed: list[Any], path: KeyPath) -> Iterator[Problem]:
    command, cwd = server.get("command"), server.get("cwd")
    if isinstance(command, str) and command.strip() and command not in allowed:
        valid = ", ".join(str(item) for item in allowed) or "(none)"
        message = (
            f"The command {command!r} is not in {SETTING}. Allowed: {valid}. "
            "It would be run with your rights: add it there if you trust it, and its arguments."
        )
        yield tree.problem(message, (*path, "command"))
    if isinstance(cwd, str) and cwd.strip() and not (folder := tree.resolve(cwd, (*path, "cwd"))).is_dir():
        yield tree.problem(f"There is no folder {str(folder)!r}.", (*path, "cwd"))


def _open_secrets(tree: SourceTree, server: dict[Any, Any], path: KeyPath) -> Iterator[Problem]:
    for part in ("headers", "env"):
        for key, text in as_mapping(server.get(part)).items():
            if isinstance(text, str) and _CREDENTIAL.search(str(key)):
                message = f"{key} looks like a secret: write it as ${{secret:NAME}}, then nothing shows it."
                yield tree.problem(message, (*path, part, key))


def _taken(
    tree: SourceTree, tools: list[dict[Any, Any]], servers: dict[Any, Any], path: KeyPath
) -> Iterator[Problem]:
    """What is wrong with the tools that one agent takes from servers."""
    seen: set[str] = set()
    for number, tool in enumerate(tools):
        name = tool.get("mcp")
        if not isinstance(name, str) or not name.strip():
            continue
        if name not in servers:
            choices = [str(server) for server in servers]
            yield tree.problem(unknown_choice("MCP server", name, choices), (*path, number, "mcp"))
        elif name in seen:
            message = f"The MCP server {name!r} is listed twice; put all patterns into one include."
            yield tree.problem(message, (*path, number, "mcp"))
        seen.add(name)
        for part in ("include", "exclude"):
            for index, pattern in enumerate(as_list(tool.get(part))):
                if isinstance(pattern, str) and (fault := _pattern_fault(pattern)):
                    yield tree.problem(fault, (*path, number, part, index))


def _pattern_fault(pattern: str) -> str | None:
    if re.search(r"\s", pattern) and pattern.strip():
        return f"The pattern {pattern!r} has a space in it; names of tools have none."
    rest = re.sub(r"\[!?\]?[^\]]*\]", "", pattern)
    if "[" in rest:
        return f"The pattern {pattern!r} opens a '[' that nothing closes; *, ? and [abc] have a meaning."
    return None
