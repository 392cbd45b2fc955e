"""A backend that does not isolate is refused with its reason; `auto` takes the next, or refuses with all."""

import asyncio
import platform
import sys
from pathlib import Path

import pytest

from agentkit.errors import SandboxUnavailableError, UnknownNameError
from agentkit.tools.sandbox import SANDBOXES, Limits, kernel, supervisor
from agentkit.tools.sandbox.auto import AutoSandbox
from agentkit.tools.sandbox.bubblewrap import BubblewrapSandbox
from agentkit.tools.sandbox.interpreter import Interpreter, find_interpreter
from agentkit.tools.sandbox.kernel import KernelSandbox
from agentkit.tools.sandbox.landlock import LandlockSandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux")
KINDS = (BubblewrapSandbox, LandlockSandbox)


@pytest.fixture(autouse=True)
def unproven(monkeypatch: pytest.MonkeyPatch) -> None:
    """No self-test has been passed yet."""
    monkeypatch.setattr(KernelSandbox, "_proven", set())


@pytest.fixture
def no_bwrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")


def weaken(monkeypatch: pytest.MonkeyPatch, old: str, new: str) -> None:
    """Change the second stage, as a fault of ours or of the kernel's would."""
    text = supervisor.stage2()
    assert text.count(old) == 1, old
    monkeypatch.setattr(supervisor, "stage2", lambda: text.replace(old, new))


def refusal(sandbox: KernelSandbox) -> str:
    with pytest.raises(SandboxUnavailableError) as caught:
        sandbox.ensure_available()
    assert list(caught.value.reasons) == [sandbox.name]
    assert sandbox.remedy in str(caught.value)
    return caught.value.reasons[sandbox.name]


def test_auto_prefers_bubblewrap() -> None:
    sandbox = AutoSandbox()
    assert sandbox.chosen.name == "bubblewrap"
    assert sandbox.passed_over == {}


@pytest.mark.usefixtures("no_bwrap")
def test_without_bwrap_auto_takes_landlock_and_says_why() -> None:
    sandbox = AutoSandbox()
    assert sandbox.chosen.name == "landlock"
    assert sandbox.passed_over["bubblewrap"].startswith("the program bwrap is not installed\n")
    assert "apt-get install bubblewrap" in sandbox.passed_over["bubblewrap"]


@pytest.mark.usefixtures("no_bwrap")
def test_a_bwrap_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "(exit status 1): bwrap: No permissions to create a new namespace" in refusal(BubblewrapSandbox())
    assert AutoSandbox().chosen.name == "landlock"


@pytest.mark.usefixtures("no_bwrap")
async def test_a_bwrap_that_isolates_nothing_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of that name that just runs what it is given."""
    fake = tmp_path / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    weaken(monkeypatch, 'if payload["mount"]:', "if False:")
    weaken(monkeypatch, "    if uid is not None:\n", "    if False:\n")
    monkeypatch.setattr("agentkit.tools.sandbox.bubblewrap.WORK", str(tmp_path))
    tmp_path.chmod(0o777)
    sandbox = BubblewrapSandbox()
    reason = await asyncio.to_thread(refusal, sandbox)
    assert "a file of the host could be read" in reason
    assert "/etc/passwd could be read" in reason
    with pytest.raises(SandboxUnavailableError):
        await sandbox.run("print('never')")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            '    seccomp_enter(payload["filter"], payload["pid_slots"], machine)\n',
            "",
            "a socket could be made, a process could be made",
        ),
        ("os.environ.clear()\n", 'os.environ["LEFT"] = "x"\n', "the environment was not empty"),
    ],
)
def test_a_hole_in_the_second_stage_is_found(
    kind: type[KernelSandbox], old: str, new: str, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weaken(monkeypatch, old, new)
    assert fault in refusal(kind())


def test_landlock_without_landlock_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "        landlock_enter(ruleset)\n", "        pass\n")
    reason = refusal(LandlockSandbox())
    assert "a file of the host could be read, a folder of the host could be listed" in reason


def test_a_kernel_without_landlock_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "    abi = landlock_abi()\n", "    abi = 0\n")
    assert "OSError: this kernel has no Landlock" in refusal(LandlockSandbox())


@pytest.mark.parametrize("kind", KINDS)
def test_other_processors_and_systems_are_refused(
    kind: type[KernelSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert refusal(kind()).startswith(
        "its system call filter is written for x86_64 and aarch64, and this is riscv64"
    )
    monkeypatch.setattr(kernel.sys, "platform", "darwin")
    assert "parts of the Linux kernel, and this is darwin" in refusal(kind())


@pytest.mark.usefixtures("no_bwrap")
async def test_where_none_works_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    weaken(monkeypatch, "    abi = landlock_abi()\n", "    abi = 0\n")
    sandbox = AutoSandbox()
    with pytest.raises(SandboxUnavailableError) as caught:
        await sandbox.run("print('never')")
    assert list(caught.value.reasons) == ["bubblewrap", "landlock"]
    text = str(caught.value)
    assert text.startswith("No sandbox works here, so code is not run.\n  bubblewrap: the program bwrap")
    assert "\n  landlock: " in text
    assert "Linux 5.13 or newer" in text


@pytest.mark.parametrize("kind", KINDS)
def test_a_success_is_remembered_a_failure_is_not(
    kind: type[KernelSandbox], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        weaken(broken, "os.environ.clear()\n", 'os.environ["LEFT"] = "x"\n')
        refusal(kind())
    kind().ensure_available()
    monkeypatch.setattr(kernel, "self_test", None)
    kind().ensure_available()


def test_names_are_listed() -> None:
    assert {"auto", "bubblewrap", "landlock"} <= set(SANDBOXES.names())
    with pytest.raises(UnknownNameError, match="Did you mean 'landlock'"):
        SANDBOXES.get("landlok")


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="seconds is 0, but a limit is more than 0"):
        Limits(seconds=0)


def test_an_interpreter_is_asked_where_its_parts_are() -> None:
    found = find_interpreter(sys.executable)
    assert Path(found.executable).is_file()
    assert any(Path(path, "numpy").is_dir() for path in found.packages)
    paths = Interpreter("/usr/bin/python3", ("/usr/lib", "/usr/lib64"), ("/usr/lib/python3/x",)).paths
    assert sorted(paths) == ["/usr/bin/python3", "/usr/lib", "/usr/lib64"]


def test_roots_runs_get_user_ids_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.os, "geteuid", lambda: 0)
    ids = {kernel.spare_uid() for _ in range(20)}
    assert len(ids) == 20
    monkeypatch.setattr(kernel.os, "geteuid", lambda: 1000)
    assert kernel.spare_uid() is None
