"""Blueprints people really break: what `agentkit blueprint validate` says, to the character.

Each folder below `broken/` is one; its `expected.txt` is what the command prints. After a
change that is meant: `python tests/blueprints/test_broken.py` writes them anew; read the diff.
"""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import agentkit
from agentkit.cli import main

BROKEN = Path(__file__).parent / "broken"
NAMES = sorted(path.parent.name for path in BROKEN.glob("*/blueprint.yaml"))


def validate(name: str) -> str:
    """What the command prints on standard error, and its exit status."""
    out, err = io.StringIO(), io.StringIO()
    env = {key: value for key, value in os.environ.items() if not key.startswith("AGENTKIT_")}
    arguments = ["agentkit", "blueprint", "validate", name]
    with (
        contextlib.chdir(BROKEN),
        mock.patch.dict(os.environ, env, clear=True),
        mock.patch.object(sys, "argv", arguments),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    assert out.getvalue() == ""
    return f"{err.getvalue()}exit {ended.value.code}\n"


@pytest.mark.parametrize("name", NAMES)
def test_what_is_said(name: str) -> None:
    said = validate(name)
    assert said == (BROKEN / name / "expected.txt").read_text()
    assert said.endswith("exit 1\n")


def test_every_kind_of_mistake_is_among_them() -> None:
    wanted = {"typo", "wrong_indent", "tab", "duplicate_key", "wrong_type", "missing_file", "cycle"}
    assert wanted | {"unset_variable", "bad_expression", "unknown_tool", "through_extends"} <= set(NAMES)


def test_a_process_of_its_own_says_the_same() -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith("AGENTKIT_")}
    env["PYTHONPATH"] = str(Path(agentkit.__file__).parents[1])
    command = "from agentkit.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "blueprint", "validate", "typo"],
        cwd=BROKEN,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert f"{done.stderr}exit {done.returncode}\n" == (BROKEN / "typo" / "expected.txt").read_text()
    assert "Traceback" not in done.stderr


if __name__ == "__main__":
    for folder in NAMES:
        (BROKEN / folder / "expected.txt").write_text(validate(folder))
