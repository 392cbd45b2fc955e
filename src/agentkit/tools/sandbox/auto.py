"""Backend `auto`: the strongest that works here, or none at all."""

import asyncio
import sys
import threading
from collections.abc import Mapping

from agentkit.errors import SandboxUnavailableError
from agentkit.tools.sandbox.base import NO_FILES, Limits, Sandbox, SandboxResult
from agentkit.tools.sandbox.bubblewrap import BubblewrapSandbox
from agentkit.tools.sandbox.kernel import PARALLEL
from agentkit.tools.sandbox.landlock import LandlockSandbox


class AutoSandbox(Sandbox):
    """bubblewrap when its self-test passes, else landlock when its does, else a refusal.

    Args:
        limits: What one run may use.
        parallel: Runs at a time on one event loop; further ones wait.
        python: Interpreter whose packages the code finds; this one by default.
    """

    name = "auto"

    def __init__(
        self, *, limits: Limits | None = None, parallel: int = PARALLEL, python: str = sys.executable
    ) -> None:
        self._candidates: tuple[Sandbox, ...] = (
            BubblewrapSandbox(limits=limits, parallel=parallel, python=python),
            LandlockSandbox(limits=limits, parallel=parallel, python=python),
        )
        self._chosen: Sandbox | None = None
        self._choosing = threading.Lock()
        self.passed_over: Mapping[str, str] = {}
        """Why those before the chosen one were not, once one is chosen."""

    @property
    def chosen(self) -> Sandbox:
        """The backend that runs the code. Blocks at the first use.

        Raises:
            SandboxUnavailableError: None works; with each one's reason.
        """
        with self._choosing:
            if self._chosen is None:
                self._chosen = self._choose()
            return self._chosen

    async def run(self, code: str, *, files: Mapping[str, bytes] = NO_FILES) -> SandboxResult:
        """See `Sandbox.run`."""
        chosen = self._chosen or await asyncio.to_thread(lambda: self.chosen)
        return await chosen.run(code, files=files)

    def ensure_available(self) -> None:
        """See `Sandbox.ensure_available`."""
        self.chosen  # noqa: B018 - choosing is the test

    def _choose(self) -> Sandbox:
        reasons: dict[str, str] = {}
        for candidate in self._candidates:
            try:
                candidate.ensure_available()
            except SandboxUnavailableError as error:
                reasons |= error.reasons
            else:
                self.passed_over = reasons
                return candidate
        raise SandboxUnavailableError(reasons)
