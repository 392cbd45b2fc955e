"""docs/blueprint.schema.json is generated: `python tests/blueprints/test_editor_schema.py` writes it anew."""

import json
from pathlib import Path

import jsonschema
import pytest

from agentkit.blueprints import json_schema
from agentkit.prompts.yaml_source import read_yaml

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "docs" / "blueprint.schema.json"


def rendered() -> str:
    return json.dumps(json_schema(), indent=2) + "\n"


@pytest.fixture
def validator():
    jsonschema.Draft202012Validator.check_schema(json_schema())
    return jsonschema.Draft202012Validator(json_schema())


def test_written_schema_is_current():
    assert SCHEMA.read_text() == rendered(), f"run: python {Path(__file__).relative_to(ROOT)}"


def test_devassist_fits_and_names_the_schema(validator):
    folder = ROOT / "blueprints" / "devassist"
    files = [folder / "blueprint.yaml", *sorted(folder.glob("agents/*.yaml"))]
    assert len(files) == 4
    for file in files:
        validator.validate(read_yaml(file).value)
        first = file.read_text().splitlines()[0]
        target = first.removeprefix("# yaml-language-server: $schema=")
        assert (file.parent / target).resolve() == SCHEMA


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"nam": "x"}, "Additional properties"),
        ({"runtime": {"checkpointer": "redis"}}, "not valid under any"),
        ({"models": {"main": {"timeout": "fast"}}}, "not valid under any"),
        ({"knowledge": {"k": "many"}}, "not valid under any"),
        ({"agents": [{"name": "a"}]}, "required property"),
    ],
)
def test_editor_sees_faults(validator, change, wrong):
    blueprint = {"apiVersion": "agentkit/v1", "kind": "Blueprint", "name": "x", **change}
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        validator.validate(blueprint)


def test_expressions_are_accepted_where_numbers_and_choices_are(validator):
    validator.validate(
        {
            "apiVersion": "agentkit/v1",
            "kind": "Blueprint",
            "name": "x",
            "knowledge": {"k": "${param:k}", "mode": "${env:MODE:-dense}"},
        }
    )


def test_every_key_is_described():
    for name, definition in json_schema()["$defs"].items():
        for key, field in definition["properties"].items():
            # pydantic leaves out a description that repeats the one of the section referred to
            assert field.get("description") or "$ref" in field, f"{name}.{key}"


if __name__ == "__main__":
    SCHEMA.write_text(rendered())
