"""`agentkit init`: a project to start from, made of the files in `project/` beside this module."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from agentkit.cli.session import FAILED, WRONG_USE, err, out

_TEMPLATES = Path(__file__).parent / "project"
_LONGEST = 63


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", file_okay=False, help="Where the project is made; may exist.")
    ],
    *,
    name: Annotated[
        str | None, typer.Option(help="Name of the blueprint; after the folder if left out.")
    ] = None,
) -> None:
    """Make a project with a blueprint, prompts, documents and tests. Overwrites nothing."""
    chosen = _name(folder, name)
    files = dict(_files(chosen))
    if taken := [str(folder / file) for file in files if _exists(folder / file)]:
        _fail(f"Nothing was made, because these exist: {', '.join(taken)}.", WRONG_USE)
    for file, text in files.items():
        target = folder / file
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as stream:  # x: never over another file
                stream.write(text)
        except OSError as error:
            _fail(f"{str(target)!r} cannot be written: {error.strerror}.", FAILED)
    out.print(f"Made {len(files)} files in {folder}. Go on with:", markup=False)
    steps = [
        f'agentkit chat {chosen} "How many days of holiday do I have?"',
        f"agentkit blueprint test {chosen}",
    ]
    if folder.resolve() != Path.cwd():
        steps.insert(0, f"cd {shlex.quote(str(folder))}")
    for step in steps:
        out.print(f"  {step}", markup=False)


def _name(folder: Path, given: str | None) -> str:
    """The blueprint's name: as given, or what the folder's name comes nearest to."""
    from agentkit.blueprints.fields import SLUG

    name = given
    if name is None:
        slug = re.sub(r"[^a-z0-9_]+", "-", folder.resolve().name.lower())
        name = slug.lstrip("-_0123456789")[:_LONGEST].rstrip("-_")
    if not re.fullmatch(SLUG, name):
        _fail(
            f"{name or folder.resolve().name!r} cannot be the name of a blueprint: lower-case letters, "
            "digits, - and _, starting with a letter. Choose another with --name.",
            WRONG_USE,
        )
    return name


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Every file of the project by its path, with the name filled in."""
    from agentkit.blueprints import json_schema

    yield Path("blueprints/blueprint.schema.json"), json.dumps(json_schema(), indent=2) + "\n"
    for template in sorted(path for path in _TEMPLATES.rglob("*") if path.is_file()):
        file = template.relative_to(_TEMPLATES)
        parts = [name if part == "NAME" else re.sub("^dot-", ".", part) for part in file.parts]
        text = template.read_text(encoding="utf-8")
        yield Path(*parts), text.replace("@NAME@", name).replace("@DATABASE@", name.replace("-", "_"))


def _exists(path: Path) -> bool:
    return path.exists() or path.is_symlink()


def _fail(message: str, status: int) -> None:
    err.print(f"error: {message}", style="red", markup=False)
    raise typer.Exit(status)
