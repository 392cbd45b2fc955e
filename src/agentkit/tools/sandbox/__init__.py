"""Sandboxes by name: where foreign Python code may run. See docs/sandbox.md for what each one contains.

Packages add theirs under the entry-point group `agentkit.sandboxes`.
"""

from agentkit.registry import Registry
from agentkit.tools.sandbox.base import Exit, Limits, Sandbox, SandboxResult

SANDBOXES = Registry[type[Sandbox]](
    "sandbox",
    group="agentkit.sandboxes",
    table={
        "auto": "agentkit.tools.sandbox.auto:AutoSandbox",
        "bubblewrap": "agentkit.tools.sandbox.bubblewrap:BubblewrapSandbox",
        "landlock": "agentkit.tools.sandbox.landlock:LandlockSandbox",
    },
)

__all__ = ["SANDBOXES", "Exit", "Limits", "Sandbox", "SandboxResult"]
