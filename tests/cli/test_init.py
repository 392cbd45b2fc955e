"""`agentkit init`: the project it makes works at once, and nothing of anybody's is overwritten."""

import json
import re
import shlex
from pathlib import Path

import jsonschema
import pytest

from agentkit.prompts.yaml_source import read_yaml

from .conftest import Project


def files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def made(project: Project) -> Project:
    """A project made by `init` in the folder `My 1st Team`."""
    done = project.run("init", "My 1st Team")
    assert (done.returncode, done.stderr) == (0, "")
    assert "  cd 'My 1st Team'\n" in done.stdout
    return Project(project.root / "My 1st Team", project.env)


def test_the_two_commands_of_its_readme_work_at_once(made: Project) -> None:
    readme = (made.root / "README.md").read_text()
    commands = [
        shlex.split(line) for line in re.findall(r"^```sh\nagentkit (.*)\n```$", readme, re.MULTILINE)
    ]
    assert [command[:1] for command in commands] == [["chat"], ["blueprint"]]
    chat, test = (made.run(*command) for command in commands)
    assert chat.returncode == 0, chat.stderr
    assert chat.stdout.startswith("route  handbook semantic: ")
    assert "docs/handbook/holidays.md:" in chat.stdout
    assert test.returncode == 0, test.stdout + test.stderr
    assert test.stdout.endswith("my-1st-team: 4 of 4 tests passed\n")


def test_everything_in_it_is_valid(made: Project) -> None:
    validated = made.run("blueprint", "validate", "my-1st-team", "--json")
    assert json.loads(validated.stdout) == {"valid": True, "problems": [], "warnings": []}
    assert made.run("prompts", "check").returncode == 0
    schema = jsonschema.Draft202012Validator(
        json.loads((made.root / "blueprints" / "blueprint.schema.json").read_text())
    )
    for file in made.root.glob("blueprints/**/*.yaml"):
        schema.validate(read_yaml(file).value)
        target = file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
        assert (file.parent / target).is_file(), file
    texts = files(made.root)
    assert not [name for name, text in texts.items() if "@NAME@" in name + text or "@DATABASE@" in text]
    assert {".env.example", ".gitignore", "README.md", "docs/handbook/holidays.md"} < set(texts)
    settings = re.findall(r"^#(AGENTKIT_\w+)=(.*)$", texts[".env.example"], re.MULTILINE)
    assert len(settings) == 5
    (made.root / ".env").write_text("\n".join(f"{key}={value or 'x'}" for key, value in settings))
    assert made.run("blueprint", "list").returncode == 0  # every setting in it exists


def test_what_exists_is_never_overwritten(project: Project) -> None:
    folder = project.root / "team"
    folder.mkdir()
    (folder / "README.md").write_text("mine")
    (folder / ".gitignore").symlink_to("nowhere")
    done = project.run("init", "team")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: Nothing was made, because these exist: team/README.md, team/.gitignore.\n"
    assert files(folder) == {"README.md": "mine"}
    (folder / "README.md").unlink()
    (folder / ".gitignore").unlink()
    (folder / "notes.txt").write_text("mine too")
    assert project.run("init", "team").returncode == 0
    before = files(folder)
    assert before["notes.txt"] == "mine too"
    assert project.run("init", "team").returncode == 2
    assert files(folder) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["123"], "'123' cannot be the name of a blueprint"),
        (["x", "--name", "My Team"], "'My Team' cannot be the name of a blueprint"),
        (["x", "--name", "../x"], "Choose another with --name."),
        (["notes/generators.md"], "is a file"),
        ([], "Missing argument 'DIR'"),
    ],
)
def test_wrong_use(project: Project, arguments: list[str], said: str) -> None:
    done = project.run("init", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (project.root / "x").exists()


def test_a_folder_that_cannot_be_made(project: Project) -> None:
    done = project.run("init", "notes/generators.md/team")
    assert done.returncode == 1
    assert "cannot be written: Not a directory." in done.stderr


def test_in_the_folder_one_is_in_with_a_name_of_ones_own(project: Project) -> None:
    done = project.run("init", ".", "--name", "helpdesk")
    assert (done.returncode, "  cd " in done.stdout) == (0, False)
    assert project.run("blueprint", "validate", "helpdesk").stdout.startswith("helpdesk: valid, 2 agents")
