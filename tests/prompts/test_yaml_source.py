import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.prompts import yaml_source
from agentkit.prompts.yaml_source import parse_yaml, read_yaml, resolve_scalar


def messages(text):
    return [str(problem) for problem in parse_yaml(text, "f.yaml").problems]


def test_words_of_yaml_1_1_stay_text():
    document = parse_yaml("a: no\nb: on\nc: 010\nd: 12:30\ne: 2026-11-23\nf: 1_000\ng: =\n", "f.yaml")
    assert document.value == {
        "a": "no",
        "b": "on",
        "c": "010",
        "d": "12:30",
        "e": "2026-11-23",
        "f": "1_000",
        "g": "=",
    }
    assert not document.problems


def test_core_schema_scalars():
    value = parse_yaml("[true, false, null, ~, 7, -3, 0.5, 1e3, '7', \"true\"]", "f").value
    assert value == [True, False, None, None, 7, -3, 0.5, 1000.0, "7", "true"]
    assert parse_yaml("a:\n", "f").value == {"a": None}


def test_numbers_python_cannot_hold_stay_text():
    digits = "9" * 5000
    assert parse_yaml(f"[{digits}, 1e999, .inf, .nan]", "f").value == [digits, "1e999", ".inf", ".nan"]


def test_positions_of_keys_and_values():
    document = parse_yaml("a:\n  - x: 1\n    yy: two\n", "f.yaml")
    value = document.position(("a", 0, "yy"))
    key = document.position(("a", 0, "yy"), key=True)
    assert (value.line, value.column) == (3, 9)
    assert (key.line, key.column) == (3, 5)


def test_position_of_what_is_missing_is_what_encloses_it():
    document = parse_yaml("a:\n  b: {c: 1}\n", "f.yaml")
    place = document.position(("a", "b", "nothing", 3))
    assert (place.line, place.column) == (2, 3)


def test_problem_shows_the_line():
    assert str(parse_yaml("a:\n  b: 1\n", "f.yaml").problem("Wrong.", ("a", "b"))) == (
        "f.yaml:2:6: Wrong.\n      b: 1\n         ^"
    )


def test_locate_finds_the_nth_occurrence_in_a_block():
    document = parse_yaml("t: |\n  one {{x}}\n  two {{x}}\nu: 1\n", "f")
    first, second = document.locate(("t",), "{{x}}"), document.locate(("t",), "{{x}}", 1)
    assert [(first.line, first.column), (second.line, second.column)] == [(2, 7), (3, 7)]


def test_all_duplicate_keys_are_reported_and_the_first_wins():
    document = parse_yaml("a: 1\na: 2\nb:\n  c: 1\n  c: 2\n", "f.yaml")
    assert [str(problem).splitlines()[0] for problem in document.problems] == [
        "f.yaml:2:1: Key 'a' is here twice, first in line 1.",
        "f.yaml:5:3: Key 'c' is here twice, first in line 4.",
    ]
    assert document.value == {"a": 1, "b": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: !!python/object:os.system x", "f.yaml:1:4: Tags are not supported"),
        ("a: !secret x", "Tags are not supported: remove '!secret'."),
        ("a: !mine {b: 1}", "Tags are not supported"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f.yaml:3:3: Merge keys (<<) are not supported"),
        ("true: 1", "f.yaml:1:1: Key 'true' must be text"),
        ("[a]: 1", "A key must be text or a whole number"),
        ("a: &x [*x]", "An alias refers to something that contains it."),
        ("a: *nothing", "found undefined alias"),
        ("a: [1\nb: 2", "f.yaml:1:4: Invalid YAML: the '[' opened here is not closed, or a ',' is missing."),
        ("a:\n\tb: 1", "f.yaml:2:1: Invalid YAML: indent with spaces, not with tabs."),
        ("a: 1\n---\nb: 2\n", "f.yaml:2:1: Invalid YAML: a second document begins here"),
        ("a: b\x00c", "f.yaml:1:5: Character '\\x00' is not allowed in YAML."),
        ("a: '\ud800'", "is not allowed in YAML"),
        ("[" * 100, "f.yaml:1:41: Nested deeper than 40 levels."),
        ("- " * 5000 + "x", "Nested deeper than 40 levels."),
    ],
)
def test_refused(text, said):
    found = messages(text)
    assert len(found) == 1
    assert said in found[0]


def test_aliases_are_allowed():
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", "f").value == {"a": [1, 2], "b": [1, 2]}


def test_alias_bomb_is_refused():
    text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    text += "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    document = parse_yaml(text, "f.yaml")
    assert document.value is None
    assert [problem.message for problem in document.problems] == [
        "More than 50000 values once aliases are expanded."
    ]


def test_bare_value_and_empty_file():
    assert parse_yaml("", "f").value is None
    assert parse_yaml("# nothing\n", "f").problems == []
    assert parse_yaml("just text", "f").value == "just text"


def test_file_faults_are_problems(tmp_path):
    missing = read_yaml(tmp_path / "missing.yaml")
    assert "cannot be read: No such file" in str(missing.problems[0])
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: \xe4\n")
    assert "latin.yaml:2: The file is not UTF-8" in str(read_yaml(latin).problems[0])
    huge = tmp_path / "huge.yaml"
    huge.write_bytes(b"#" * (yaml_source.MAX_BYTES + 1))
    assert "larger than 1 MiB" in str(read_yaml(huge).problems[0])
    assert "cannot be read" in str(read_yaml(tmp_path).problems[0])


def test_byte_order_mark_and_windows_lines(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_bytes("\ufeffa: 1\r\nb:\r\n  c: ü\r\n".encode())
    document = read_yaml(path)
    assert document.value == {"a": 1, "b": {"c": "ü"}}
    assert str(document.problem("x", ("b", "c"))).startswith(f"{path}:3:6: x\n      c: ü\n")


@given(st.text(max_size=200))
def test_any_text_gives_a_value_or_problems(text):
    document = parse_yaml(text, "f")
    for problem in document.problems:
        assert problem.line >= 1


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%?,\n ", max_size=80))
def test_any_punctuation_gives_a_value_or_problems(text):
    document = parse_yaml(text, "f")
    assert all(str(problem) for problem in document.problems)


@given(st.integers(-(10**17), 10**17))
def test_integers_round_trip(number):
    assert resolve_scalar(str(number)) == number
