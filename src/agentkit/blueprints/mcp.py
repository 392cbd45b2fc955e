"""The key `mcp_servers`: servers whose tools agents may call, and what connects to them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, WithJsonSchema, model_validator

from agentkit.blueprints.fields import Duration, Section, Text
from agentkit.blueprints.sources import SourceTree

if TYPE_CHECKING:
    from agentkit.tools.mcp import McpServer

_FOR_COMMAND = ("args", "env", "cwd")


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that do not close; a port that is no number, or too large
        usable = False
    if not usable:
        raise ValueError("must be an address like https://host/mcp.")
    if "@" in urlsplit(value).netloc:
        raise ValueError("must not hold a password: put it into headers, as ${secret:NAME}.")
    return value


def _value(value: object) -> object:
    if isinstance(value, str | SecretStr):
        return value
    raise ValueError("must be text (put it in quotes).")


Value = Annotated[str | SecretStr, BeforeValidator(_value), WithJsonSchema({"type": "string"})]


class McpServerSpec(Section):
    """An MCP server: an address it listens at, or a command that starts it."""

    url: Annotated[Text, AfterValidator(_url)] | None = Field(
        default=None, description="Address of its streamable HTTP endpoint: https://host/mcp."
    )
    headers: Mapping[Text, Value] = Field(
        default_factory=dict[str, str | SecretStr],
        description="Sent with every request to the url; may hold ${secret:NAME}.",
    )
    command: Text | None = Field(
        default=None,
        description="Program that is started and spoken to over stdio; must be in security.allowed_commands.",
    )
    args: tuple[str, ...] = Field(default=(), description="Arguments of the command.")
    env: Mapping[Text, Value] = Field(
        default_factory=dict[str, str | SecretStr],
        description="Variables the command gets beside PATH, HOME and USER; may hold ${secret:NAME}.",
    )
    cwd: Text | None = Field(
        default=None,
        description="Folder the command runs in; relative to, and if absent, the folder of this file.",
    )
    timeout: Duration = Field(
        default=30.0, description="Longest until it is connected, and for one call: 30s."
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "McpServerSpec":
        if (self.url is None) == (self.command is None):
            raise ValueError("a server has either 'url' or 'command', and only one of them.")
        if self.url is not None and (wrong := [key for key in _FOR_COMMAND if key in self.model_fields_set]):
            raise ValueError(f"{wrong[0]!r} belongs to a server with 'command', this one has 'url'.")
        if self.command is not None and "headers" in self.model_fields_set:
            raise ValueError("'headers' belongs to a server with 'url', this one has 'command'.")
        return self


def mcp_servers(specs: Mapping[str, McpServerSpec], tree: SourceTree) -> "dict[str, McpServer]":
    """The servers of a blueprint as they are connected to, by name; folders are absolute."""
    if not specs:
        return {}
    # Only now: settings import this file, and tools bring langchain-core.
    from agentkit.tools.mcp import HttpServer, StdioServer

    servers: dict[str, McpServer] = {}
    for name, spec in specs.items():
        if spec.url is not None:
            servers[name] = HttpServer(name, spec.url, spec.headers, spec.timeout)
        elif spec.command is not None:
            cwd = tree.resolve(spec.cwd or ".", ("mcp_servers", name, "cwd" if spec.cwd else "command"))
            servers[name] = StdioServer(
                name, spec.command, spec.args, spec.env, cwd.resolve(), timeout=spec.timeout
            )
    return servers
