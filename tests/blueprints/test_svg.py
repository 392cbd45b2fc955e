"""The SVG picture: everything is in it, nothing leaves its box, and it is XML whatever the texts."""

import itertools
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest

from agentkit.blueprints import Blueprint
from agentkit.blueprints.svg import svg

from .conftest import Loader

SVG = "{http://www.w3.org/2000/svg}"


def drawn(blueprint: Blueprint) -> Element:
    return fromstring(svg(blueprint))


def texts(root: Element) -> list[str]:
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def agents(number: int, **more: object) -> Blueprint:
    made = [
        {"name": f"a{index}", "description": "d", "prompt": {"ref": "p"}, **more} for index in range(number)
    ]
    head = {"apiVersion": "agentkit/v1", "kind": "Blueprint", "name": "team"}
    return Blueprint.model_validate({**head, "agents": made})


def test_models_knowledge_tools_and_routes_are_shown(check: Loader, folder: Path) -> None:
    file = folder / "agents" / "writer.yaml"
    file.write_text(file.read_text() + "tools: [{use: 'shop:stock'}]\n")
    main = folder / "blueprint.yaml"
    main.write_text(main.read_text() + "security: {allowed_modules: [shop]}\n")
    root = drawn(check(folder).spec)
    assert texts(root) == [
        "no agent fits",
        "writer", "Writes texts.", "model: big, ollama qwen3:8b", "knowledge: notes", "tools: shop:stock",
        "supervisor", "routing: semantic → llm", "model: main, scripted",
        "answer",
    ]  # fmt: skip
    assert root.findtext(f"{SVG}title") == "team"
    # One way past the agents, one to each of them and one from each of them.
    assert len(root.findall(f"{SVG}path")) == 3


@pytest.mark.parametrize("number", [1, 2, 7, 60])
def test_boxes_do_not_overlap_and_stay_in_the_picture(number: int) -> None:
    root = drawn(agents(number, description="word " * 60))
    boxes = [
        tuple(float(box.get(key, "")) for key in ("x", "y", "width", "height"))
        for box in root.findall(f"{SVG}rect")[1:]
    ]
    assert len(boxes) == number + 2
    width, height = float(root.get("width", "")), float(root.get("height", ""))
    for x, y, w, h in boxes:
        assert x >= 0 <= y
        assert x + w <= width
        assert y + h <= height
    column = sorted(boxes[:number], key=lambda box: box[1])
    assert all(above[1] + above[3] < below[1] for above, below in itertools.pairwise(column))


@pytest.mark.parametrize("text", ["x" * 400, "漢字" * 200, "<script>&\"']]>", "bell \x07"])
def test_any_text_fits_its_box(text: str) -> None:
    root = drawn(agents(1, description=text, name="n" * 63))
    assert text.replace("\x07", "\ufffd") in "".join(texts(root)).replace(" ", "") or " " in text
    for line in texts(root):
        wide = sum(2 if ord(character) > 0x2E80 and character != "\ufffd" else 1 for character in line)
        assert wide * 7.3 <= 400


def test_a_file_that_cannot_be_written_is_wrong_use(capfd: pytest.CaptureFixture[str]) -> None:
    import typer

    from agentkit.cli.blueprint import graph

    with pytest.raises(typer.Exit) as caught:
        graph("devassist", form="svg", file=Path("/nowhere/team.svg"))
    assert caught.value.exit_code == 2
    assert "'/nowhere/team.svg' cannot be written" in capfd.readouterr().err
