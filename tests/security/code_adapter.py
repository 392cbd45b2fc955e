"""Adapter of `code_execute`'s sandbox for runners of attack corpora that are kept outside this repository.

AGENTKIT_ATTACK_BACKEND=landlock ./jail.sh python run_code_attacks.py --adapter code_adapter:run --benign
"""

import asyncio
import os
import sys
from functools import cache
from typing import Any

from agentkit.errors import SandboxError
from agentkit.tools.sandbox import SANDBOXES, Limits

_STATUS = {"memory": "limit", "output": "limit", "disk": "limit"}


@cache
def _sandbox(**limits: float) -> Any:
    kind = SANDBOXES.get(os.environ.get("AGENTKIT_ATTACK_BACKEND", "auto"))
    return kind(limits=Limits(**limits), python=os.environ.get("AGENTKIT_ATTACK_PYTHON", sys.executable))


def run(code: str, limits: dict[str, int]) -> dict[str, Any]:
    """Run a snippet under the corpus's limits and say how it ended, in the corpus's words."""
    sandbox = _sandbox(
        seconds=float(limits["wall_s"]),
        memory=limits["memory_mb"] << 20,
        output=limits["output_kb"] << 10,
        disk=limits["disk_mb"] << 20,
        threads=limits["max_procs"],
    )
    try:
        result = asyncio.run(sandbox.run(code))
    except (SandboxError, ValueError) as error:
        return {"status": "refused", "stdout": "", "stderr": "", "error": str(error)}
    return {
        "status": _STATUS.get(result.exit, result.exit),
        "stdout": result.stdout,
        "stderr": result.stderr,
        "files": dict(result.files),
        "truncated": result.stdout_truncated or result.stderr_truncated,
        "error": "" if result.exit == "ok" else result.exit,
    }
