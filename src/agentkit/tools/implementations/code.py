"""The tool `code_execute`: the model writes Python, a sandbox runs it, the model reads what came of it."""

from collections.abc import Mapping

from langchain_core.tools import ArgsSchema
from pydantic import BaseModel, ConfigDict, Field

from agentkit.errors import SandboxError
from agentkit.tools.base import BaseTool, Risk, ToolResult, shortened
from agentkit.tools.sandbox import SANDBOXES, Exit, Sandbox, SandboxResult

SHOWN = 8000
"""Most characters of output the model is shown: the first and the last half."""

_ENDS: Mapping[Exit, str] = {
    "timeout": "stopped: it ran longer than it may",
    "memory": "stopped: it needed more memory than it may",
    "output": "stopped: it printed more than it may",
    "disk": "stopped: it wrote more files or bytes than it may",
    "killed": "it crashed, or did something that is not allowed",
}


class CodeArguments(BaseModel):
    """What the model passes."""

    code: str = Field(description="A complete Python program. Print what you want to know.")


class CodeExecute(BaseTool):
    """Runs Python in a sandbox. What the code does wrong is a result, not an exception.

    The message's artifact is a mapping with `exit`, `stdout`, `stderr`, `files` (bytes by
    name), `left_out`, `seconds` and `backend`.

    Args:
        sandbox: Where the code runs.
    """

    name: str = "code_execute"
    description: str = (
        "Run a Python program and return what it prints. Use it to calculate and to work with data."
        " Each call starts from nothing: no variables or files of earlier calls, no internet, no programs."
    )
    args_schema: ArgsSchema | None = CodeArguments
    timeout: float | None = None  # the sandbox has its own limits
    max_output: int = 2 * SHOWN  # its notes stand below what is printed, and are never cut
    risk: Risk = "none"
    sandbox: Sandbox = Field(exclude=True)

    model_config = ConfigDict(arbitrary_types_allowed=True)

    def ensure_available(self) -> None:
        """Test, once, that code can be isolated here. Blocks.

        Raises:
            SandboxUnavailableError: It cannot; the tool must not be offered to a model.
        """
        self.sandbox.ensure_available()

    async def execute(self, code: str) -> ToolResult:
        """Run the program."""
        try:
            result = await self.sandbox.run(code)
        except (SandboxError, ValueError) as error:
            return ToolResult.failed(f"[not run: {error}]")
        data = {
            "exit": result.exit,
            "stdout": result.stdout,
            "stderr": result.stderr,
            "files": dict(result.files),
            "left_out": list(result.left_out),
            "seconds": result.seconds,
            "backend": result.backend,
        }
        return ToolResult(result.exit == "ok", describe(result), data=data)


def describe(result: SandboxResult) -> str:
    """What the model reads: the output, the error, and in brackets what it could not see otherwise."""
    printed = "\n".join(text.rstrip("\n") for text in (result.stdout, result.stderr) if text.strip())
    notes: list[str] = []
    if result.exit in _ENDS:
        notes.append(_ENDS[result.exit])
    elif result.exit == "ok" and not printed:
        notes.append("it ended without printing anything; print what you want to know")
    elif result.exit == "error" and not result.stderr.strip():
        notes.append("it ended with an error status")
    if result.files:
        listed = ", ".join(f"{name} ({len(data)} bytes)" for name, data in result.files.items())
        notes.append(f"files: {listed}")
    if result.left_out:
        notes.append(f"files left out, too many, too large or links: {', '.join(result.left_out)}")
    return "\n".join([*([shortened(printed, SHOWN)] if printed else []), *(f"[{note}]" for note in notes)])


code_execute = CodeExecute(sandbox=SANDBOXES.get("auto")())
