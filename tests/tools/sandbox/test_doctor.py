"""What `agentkit doctor` says of sandboxes: which one, why not a better one, and when none is a fault."""

import sys
from collections.abc import Mapping

import pytest

from agentkit.cli.doctor import _sandbox
from agentkit.errors import SandboxUnavailableError
from agentkit.tools.sandbox.bubblewrap import BubblewrapSandbox
from agentkit.tools.sandbox.kernel import KernelSandbox
from agentkit.tools.sandbox.landlock import LandlockSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux")


def refuse(monkeypatch: pytest.MonkeyPatch, kind: type[KernelSandbox], reasons: Mapping[str, str]) -> None:
    def unavailable(_: object) -> None:
        raise SandboxUnavailableError(reasons)

    monkeypatch.setattr(kind, "ensure_available", unavailable)


def test_the_one_that_works_is_named() -> None:
    finding = _sandbox(runs_code=True)
    assert finding.ok
    assert finding.detail == "bubblewrap, its self-test passed"


def test_why_not_a_better_one_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(
        monkeypatch, BubblewrapSandbox, {"bubblewrap": "the program bwrap is not installed\n    Install it."}
    )
    finding = _sandbox(runs_code=True)
    assert finding.ok
    assert finding.detail == (
        "landlock, its self-test passed; not bubblewrap: the program bwrap is not installed Install it."
    )


@pytest.mark.parametrize("runs_code", [True, False])
def test_none_is_a_fault_only_where_a_blueprint_runs_code(
    runs_code: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, BubblewrapSandbox, {"bubblewrap": "no bwrap"})
    refuse(monkeypatch, LandlockSandbox, {"landlock": "no Landlock"})
    finding = _sandbox(runs_code=runs_code)
    assert finding.ok is not runs_code
    assert "code_execute refuses. bubblewrap: no bwrap; landlock: no Landlock" in finding.detail
    assert finding.fix == "see docs/sandbox.md"
