"""The documents tell the truth: examples run, links lead somewhere, tables match the code."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from agentkit.cli import app
from agentkit.settings import Settings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted(ROOT.glob("docs/**/*.md")),
]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def fences(language: str) -> list[object]:
    return [
        pytest.param(code, id=f"{document.relative_to(ROOT)}-{number}")
        for document in DOCUMENTS
        for number, (found, code) in enumerate(FENCE.findall(document.read_text()))
        if found == language
    ]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("code", fences("python"))
def test_python_examples_run(code: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("code", fences("yaml"))
def test_yaml_examples_parse(code: str) -> None:
    assert yaml.safe_load(code)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
    broken = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert broken == []


def test_the_readme_has_exactly_two_set_up_commands() -> None:
    commands = FENCE.findall((ROOT / "README.md").read_text())
    assert [language for language, _ in commands].count("sh") == 2
    assert all(len(code.strip().splitlines()) == 1 for language, code in commands if language == "sh")


def test_every_setting_is_documented_and_no_other() -> None:
    text = (ROOT / "docs" / "configuration.md").read_text()
    documented = set(re.findall(r"^\| `AGENTKIT_([A-Z]+(?:_[A-Z]+)*)", text, re.MULTILINE))
    assert documented == {field.upper() for field in Settings.model_fields}


def test_every_command_is_documented_and_no_other() -> None:
    group = typer.main.get_command(app)
    text = (ROOT / "docs" / "cli.md").read_text()
    rows = {row.split()[0].strip("`"): row for row in re.findall(r"^\| `(.*)\|$", text, re.MULTILINE)}
    commands = group.commands  # typer's own Group, whatever click it brings
    assert set(commands) <= set(rows)
    for command, node in commands.items():
        for subcommand in getattr(node, "commands", {}):
            assert subcommand in rows[command], f"{command} {subcommand}"
