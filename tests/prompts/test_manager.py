import logging
import os
from pathlib import Path

import pytest

from agentkit.errors import PromptError, UnknownNameError
from agentkit.prompts import PromptManager

GREETING = """\
name: Greeting
description: Says hello.
versions:
  1:
    template: Hello {{name}}!
    variables: {name: Who is greeted.}
  2:
    template: |
      Good day, {{name}} of {{place}}.
      {{name}}, be welcome.
    variables:
      name: Who is greeted.
      place: Where they are from.
    notes: More formal.
current: 1
"""


def write(folder: Path, ref: str, text: str) -> Path:
    path = folder / f"{ref}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def replace(path: Path, text: str) -> None:
    """Write with another modification time, however coarse the file system's clock is."""
    before = path.stat().st_mtime_ns
    path.write_text(text, encoding="utf-8")
    os.utime(path, ns=(before + 1_000_000_000, before + 1_000_000_000))


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "greeting", GREETING)
    return tmp_path


def test_current_and_named_version(folder):
    prompts = PromptManager([folder])
    assert prompts.get("greeting", name="Ana") == "Hello Ana!"
    assert prompts.get("greeting", 2, name="Ana", place="Rome") == (
        "Good day, Ana of Rome.\nAna, be welcome.\n"
    )
    assert list(prompts.template("greeting").versions) == [1, 2]


def test_highest_version_without_current(folder):
    write(folder, "greeting", GREETING.replace("current: 1\n", ""))
    assert PromptManager([folder]).version("greeting").version == 2


def test_values_are_inserted_literally(folder):
    prompts = PromptManager([folder])
    text = prompts.get("greeting", 2, name=r"{{place}} \1 \g<0>", place="{{name}}")
    assert text.startswith(r"Good day, {{place}} \1 \g<0> of {{name}}.")


def test_missing_and_unknown_variables_are_listed(folder):
    with pytest.raises(PromptError) as caught:
        PromptManager([folder]).get("greeting", 2, nam="Ana", place="Rome")
    assert str(caught.value) == (
        "Prompt 'greeting' version 2 cannot be rendered; missing: name; unknown: nam.\nIt takes: name, place."
    )


def test_unknown_prompt_names_the_nearest(folder):
    with pytest.raises(UnknownNameError) as caught:
        PromptManager([folder]).get("greting")
    assert "Unknown prompt 'greting'. Did you mean 'greeting'? Valid: greeting." in str(caught.value)
    assert f"Searched: {folder}." in str(caught.value)


def test_unknown_version_lists_the_versions(folder):
    with pytest.raises(UnknownNameError, match=r"version of the prompt 'greeting' '3'.* Valid: 1, 2\."):
        PromptManager([folder]).get("greeting", 3)


@pytest.mark.parametrize("ref", ["../secret", "/etc/passwd", "a/../greeting", "", "greeting.yaml", "a//b"])
def test_a_ref_cannot_leave_the_folder(folder, ref):
    write(folder.parent, "secret", GREETING)
    with pytest.raises(UnknownNameError):
        PromptManager([folder]).get(ref)


def test_first_folder_wins_and_missing_folders_are_passed_over(folder, tmp_path):
    over = tmp_path / "over"
    write(over, "greeting", "name: G\nversions: {1: {template: Hi}}\n")
    prompts = PromptManager([tmp_path / "absent", over, folder])
    assert prompts.get("greeting") == "Hi"


def test_list_and_nested_refs(folder):
    write(folder, "agents/python", "name: Python\nversions: {3: {template: Hi}}\n")
    write(folder, "broken", "name: [")
    found = PromptManager([folder]).list_prompts()
    assert [(item.ref, item.name, tuple(item.versions), item.current) for item in found] == [
        ("agents/python", "Python", (3,), 3),
        ("greeting", "Greeting", (1, 2), 1),
    ]


def test_undeclared_variable_is_placed_and_corrected(tmp_path):
    path = write(tmp_path, "g", GREETING.replace("{{name}}, be", "{{nome}}, be"))
    with pytest.raises(PromptError) as caught:
        PromptManager([tmp_path]).get("g")
    assert f"{path}:10:7: Unknown variable 'nome'. Did you mean 'name'? Valid: name, place." in str(
        caught.value
    )


def test_unused_variable_is_placed(tmp_path):
    path = write(tmp_path, "g", GREETING.replace("Hello {{name}}", "Hello"))
    problems = PromptManager([tmp_path]).check()
    assert [str(problem).splitlines()[0] for problem in problems] == [
        f"{path}:6:17: The variable 'name' is declared but the template does not use it."
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "Hello {{name}}",
            "Hello {{name}} {{ name }}",
            "5:30: '{{ name }}' is not a variable; write {{name}}",
        ),
        ("Hello {{name}}", "Hello {{name}} {{Name}}", "'{{Name}}' is not a variable"),
        ("current: 1", "current: 4", "15:10: Unknown version '4'. Valid: 1, 2."),
        ("template: Hello", "templat: Hello", "5:5: Unknown key 'templat'. Did you mean 'template'?"),
        ("template: Hello", "templat: Hello", "versions.1: the key 'template' is missing."),
        ("  2:", "  two:", "must be a whole number, not text."),
        ("  2:", "  0:", "greater than or equal to 1"),
        ("name: Greeting", "nam: Greeting", "the key 'name' is missing."),
        ("{{place}}", "{{ref}}", "Unknown variable 'ref'"),
        (
            "template: Hello",
            "created: yesterday\n    template: Hello",
            "versions.1.created: must be a day like",
        ),
        ("template: Hello", "created: 2026\n    template: Hello", "versions.1.created: "),
        ("      place: ", "      version: ", "A variable cannot be called 'version'"),
    ],
)
def test_check_finds(tmp_path, old, new, said):
    write(tmp_path, "g", GREETING.replace(old, new))
    assert said in "\n".join(map(str, PromptManager([tmp_path]).check()))


def test_check_reports_every_file(tmp_path):
    write(tmp_path, "a", "name: [")
    write(tmp_path, "b", "- list")
    found = [str(problem) for problem in PromptManager([tmp_path]).check()]
    assert len(found) == 2
    assert "a.yaml:1:8: Invalid YAML" in found[0]
    assert "b.yaml:1:1: the file: must be a mapping of keys to values, not a list." in found[1]


def test_diff(folder):
    lines = PromptManager([folder]).diff("greeting", 1, 2).splitlines()
    assert lines[:2] == ["--- greeting@1", "+++ greeting@2"]
    assert "-Hello {{name}}!" in lines
    assert "+Good day, {{name}} of {{place}}." in lines
    assert PromptManager([folder]).diff("greeting", 1, 1) == ""


def test_changed_file_is_read_again(folder):
    prompts = PromptManager([folder])
    assert prompts.get("greeting", name="Ana") == "Hello Ana!"
    replace(folder / "greeting.yaml", GREETING.replace("current: 1", "  3: {template: Salve!}"))
    assert prompts.get("greeting") == "Salve!"


def test_last_good_version_stays_while_the_file_is_faulty(folder, caplog):
    prompts = PromptManager([folder])
    prompts.get("greeting", name="Ana")
    replace(folder / "greeting.yaml", GREETING.replace("{{name}}!", "{{nobody}}!"))
    with caplog.at_level(logging.WARNING):
        assert prompts.get("greeting", name="Ana") == "Hello Ana!"
        assert prompts.get("greeting", name="Ana") == "Hello Ana!"
    assert len(caplog.records) == 1
    assert "Unknown variable 'nobody'" in caplog.text
    assert prompts.check()
    replace(folder / "greeting.yaml", GREETING.replace("current: 1", "  3: {template: Salve!}"))
    assert prompts.get("greeting") == "Salve!"


def test_faulty_at_first_use_is_an_error_with_all_problems(folder):
    write(folder, "greeting", GREETING.replace("name: Who", "nome: Who"))
    with pytest.raises(PromptError) as caught:
        PromptManager([folder]).get("greeting")
    assert caught.value.headline == "The prompt 'greeting' is faulty."
    assert len(caught.value.problems) == 5


def test_template_braces_that_are_no_placeholder_stay(tmp_path):
    write(tmp_path, "g", 'name: G\nversions: {1: {template: \'{"a": {"b": 1}} {x}\'}}\n')
    assert PromptManager([tmp_path]).get("g") == '{"a": {"b": 1}} {x}'


def test_shipped_prompts_are_sound_and_short():
    prompts = PromptManager([Path(__file__).parents[2] / "prompts"])
    assert prompts.check() == ()
    refs = {prompt.ref for prompt in prompts.list_prompts()}
    assert {"routing", "supervisor", "retrieval"} <= refs
    for prompt in prompts.list_prompts():
        # A local model reads about 110 tokens a second; four characters are about a token.
        assert len(prompt.version().content) < 480, prompt.ref
