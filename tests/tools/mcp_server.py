"""A real MCP server (FastMCP): `mcp_server.py FOLDER` over stdio, `mcp_server.py FOLDER PORT` over HTTP.

It writes what happened to it into FOLDER, where tests look.
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from mcp.server.fastmcp import Context, FastMCP, Image
from mcp.types import AudioContent, CallToolResult, TextContent, ToolAnnotations

FOLDER = Path(sys.argv[1])
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 0

server = FastMCP("tickets", log_level="ERROR", host="127.0.0.1", port=PORT or 8000)


@server.tool()
def get_ticket(number: int) -> str:
    """Return a ticket by its number."""
    return f"Ticket {number}: the printer is on fire."


@server.tool()
def get_owner(number: int) -> dict[str, str]:
    """Return who owns a ticket."""
    return {"owner": f"ana-{number}"}


@server.tool(name="delete_admin")
def delete(number: int) -> str:
    """Delete a ticket."""
    raise ValueError(f"ticket {number} is locked")


@server.tool()
def set_up(config: str, runtime: str = "none") -> str:
    """Have arguments with names that LangChain uses itself."""
    return f"{config} {runtime}"


@server.tool(name="dots.and/slashes")
def dotted() -> str:
    """Have a name that providers refuse."""
    return "dotted"


@server.tool()
async def slow(seconds: float = 60) -> str:
    """Take long, and note when it is cancelled."""
    (FOLDER / "slow-started").touch()
    try:
        await asyncio.sleep(seconds)
    except BaseException:
        (FOLDER / "slow-cancelled").touch()
        raise
    return "done"


HERE: set[int] = set()
ALL = asyncio.Event()


@server.tool()
async def all_at_once(number: int, wait_for: int) -> str:
    """Return when so many are here at the same time."""
    HERE.add(number)
    if len(HERE) == wait_for:
        ALL.set()
    await ALL.wait()
    return str(number)


@server.tool()
def die() -> str:
    """Kill the server in the middle of a call."""
    count("die")
    os.kill(os.getpid(), 9)
    return "never"


@server.tool(annotations=ToolAnnotations(readOnlyHint=True))
def die_once() -> str:
    """Kill the server in the middle of the first call; harmless, as it says."""
    if count("die_once") == 1:
        os.kill(os.getpid(), 9)
    return "second try"


@server.tool(structured_output=False)
def picture() -> list[object]:
    """Return text, a picture and sound."""
    image = Image(data=b"\x89PNG\r\n\x1a\n" + bytes(100), format="png")
    return ["A chart:", image, AudioContent(type="audio", data="AAAA", mimeType="audio/wav")]


@server.tool(structured_output=False)
def nothing() -> None:
    """Return nothing."""


@server.tool()
def only_data() -> CallToolResult:
    """Return structured content alone."""
    return CallToolResult(content=[], structuredContent={"a": [1, 2]})


@server.tool()
def only_an_error() -> CallToolResult:
    """Fail and say what is not for everybody."""
    return CallToolResult(content=[TextContent(type="text", text=os.environ.get("KEY", "?"))], isError=True)


@server.tool()
def all_of_it() -> dict[str, object]:
    """Give away what it was given."""
    return {"result": {"given": [os.environ.get("KEY", "?"), 1]}}


@server.tool()
def who(ctx: Context) -> dict[str, str]:
    """Tell what the server was given, as a hash: the secret itself is for nobody's eyes."""
    request = ctx.request_context.request
    given = request.headers.get("authorization", "") if request else os.environ.get("KEY", "")
    return {
        "sha256": hashlib.sha256(given.encode()).hexdigest(),
        "leaked": ",".join(sorted(name for name in os.environ if name.startswith("AGENTKIT"))),
        "cwd": str(Path.cwd()),
        "pid": str(os.getpid()),
    }


def count(name: str) -> int:
    """How often this was called, however many servers there were."""
    file = FOLDER / name
    number = int(file.read_text()) + 1 if file.exists() else 1
    file.write_text(str(number))
    return number


if __name__ == "__main__":
    sys.stderr.write("tickets: ready\n")
    server.run("streamable-http" if PORT else "stdio")
