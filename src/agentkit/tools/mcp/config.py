"""Where an MCP server is, or how it is started."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

DEFAULT_TIMEOUT = 30.0

Values = Mapping[str, str | SecretStr]

_SHOWN = 200


@dataclass(frozen=True, slots=True)
class HttpServer:
    """A server that listens, spoken to over streamable HTTP.

    Attributes:
        name: Its name in the blueprint.
        url: Address of its endpoint, like `https://host/mcp`.
        headers: Sent with every request; secrets are revealed there only.
        timeout: Most seconds until it is connected, and for one call.
    """

    name: str
    url: str
    headers: Values = field(default_factory=dict[str, str | SecretStr], repr=False)
    timeout: float = DEFAULT_TIMEOUT

    @property
    def shown(self) -> str:
        """The address as errors name it: without a query, which may hold a key."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

    @property
    def private(self) -> Values:
        """Values that may be secrets."""
        return self.headers


@dataclass(frozen=True, slots=True)
class StdioServer:
    """A program that is started, and spoken to over its standard input and output.

    Attributes:
        name: Its name in the blueprint.
        command: Program, found as a shell would find it; with a slash, relative to `cwd`.
        args: Its arguments.
        env: Variables it gets beside PATH, HOME, USER and the like; none of our others.
        cwd: Folder it runs in; None for ours.
        timeout: Most seconds until it is connected, and for one call.
    """

    name: str
    command: str
    args: Sequence[str] = ()
    env: Values = field(default_factory=dict[str, str | SecretStr], repr=False)
    cwd: Path | None = None
    timeout: float = DEFAULT_TIMEOUT

    @property
    def shown(self) -> str:
        """The command line as errors name it."""
        line = shlex.join([self.command, *self.args])
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"

    @property
    def private(self) -> Values:
        """Values that may be secrets."""
        return self.env


McpServer = HttpServer | StdioServer
