"""The attack corpus against each backend, as root and as another user; and against none, to see it bite."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from .attacks import ATTACKS

HERE = Path(__file__).parent
USER = 12345
PAIRS = [
    ("bubblewrap", "root"),
    ("bubblewrap", "user"),
    ("landlock", "root"),
    ("landlock", "user"),
    ("landlock-1", "user"),  # with the rights of its first version only, as an old kernel has them
]

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux"),
    pytest.mark.skipif(os.uname().machine != "x86_64", reason="system call numbers are those of x86_64"),
]


@cache
def outcome(backend: str, user: str, rooms: str = "") -> dict[str, dict[str, Any]]:
    """Run the corpus once, in a process of its own."""
    is_root = os.geteuid() == 0
    if user == "root" and not is_root:
        pytest.skip("needs root")
    report = Path("/tmp", f"agentkit-attacks-{os.getpid()}-{backend}-{user}.json")
    command = [str(HERE / "run_attacks.py"), backend, str(report), rooms]
    if user == "user" and is_root:
        command = [str(HERE / "as_user.py"), str(USER), *command]
    source = str(HERE.parents[2] / "src")
    done = subprocess.run(
        [sys.executable, *command],
        env={**os.environ, "PYTHONPATH": source, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(report.read_text())
    if user == "user" and is_root:
        assert found["uid"] == USER
    report.unlink()
    return {row["id"]: row for row in found["attacks"]}


@pytest.mark.parametrize("attack", [attack.id for attack in ATTACKS])
@pytest.mark.parametrize(("backend", "user"), PAIRS)
def test_the_attack_is_contained(backend: str, user: str, attack: str) -> None:
    row = outcome(backend, user)[attack]
    assert row["problems"] == [], row["said"]


def test_there_are_enough_of_them() -> None:
    assert len(ATTACKS) >= 140
    assert len({attack.id for attack in ATTACKS}) == len(ATTACKS)


def test_without_a_sandbox_they_succeed() -> None:
    """Those that may be let loose: files, network, leaks. The others would fork, fill and kill."""
    rows = outcome("plain", "user", "files,network,leaks")
    held = [name for name, row in rows.items() if not row["problems"]]
    assert len(rows) - len(held) >= 40, held
