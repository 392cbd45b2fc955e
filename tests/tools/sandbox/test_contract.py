"""Every backend keeps the contract, and `auto` keeps it by choosing one."""

import sys

import pytest

from agentkit.testing.sandbox import SandboxContract
from agentkit.tools.sandbox import Limits, Sandbox
from agentkit.tools.sandbox.auto import AutoSandbox
from agentkit.tools.sandbox.bubblewrap import BubblewrapSandbox
from agentkit.tools.sandbox.landlock import LandlockSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux")


class TestBubblewrap(SandboxContract):
    def make(self, limits: Limits) -> Sandbox:
        return BubblewrapSandbox(limits=limits)


class TestLandlock(SandboxContract):
    def make(self, limits: Limits) -> Sandbox:
        return LandlockSandbox(limits=limits)


class TestAuto(SandboxContract):
    def make(self, limits: Limits) -> Sandbox:
        return AutoSandbox(limits=limits)
