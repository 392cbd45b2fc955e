import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.graphs.joining import Joining, failure_text, joined, ordered, renumbered
from agentkit.graphs.state import AgentPart, Source

from .helpers import source


def part(agent: str, text: str = "", *sources: Source) -> AgentPart:
    return AgentPart(agent=agent, status="answered", text=text, error="", model="", sources=list(sources))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("See [1].", "See [3]."),
        ("See [1][2] and [1, 2]; [2;1].", "See [3][4] and [3, 4]; [4, 3]."),
        ("Stuck[1] to a word", "Stuck[3] to a word"),
        ("Nobody's [9]", "Nobody's (9)"),
        ("Half of them [1, 9]", "Half of them [3] (9)"),
        ("rows[9] is no mark", "rows[9] is no mark"),
        (
            "`rows[1]` and ``` x[1] ``` are code, [1] is not",
            "`rows[1]` and ``` x[1] ``` are code, [3] is not",
        ),
        ("```python\nrows[1]\n```\n[2]", "```python\nrows[1]\n```\n[4]"),
        ("```never closed [1]", "```never closed [1]"),
        ("[1](https://example.org) is a link, [x] and [] are nothing", None),
        ("[12345678901234567890]", "(12345678901234567890)"),
        ("", None),
    ],
)
def test_marks_get_their_new_numbers_outside_code(text: str, shown: str | None) -> None:
    assert renumbered(text, {1: 3, 2: 4}) == (text if shown is None else shown)


PIECES = st.sampled_from(
    [
        "[1]",
        "[2]",
        "[7]",
        "[1, 2]",
        "[2;7]",
        "word",
        " ",
        "\n",
        "`",
        "```",
        "[",
        "]",
        "(",
        "é",
        "[01]",
        "[ 1]",
    ]
)


@given(st.lists(PIECES, max_size=30).map("".join))
def test_no_mark_is_left_that_could_be_read_as_somebody_elses_source(text: str) -> None:
    shown = renumbered(text, {1: 101, 2: 102})
    outside = re.sub(r"```.*?(?:```|\Z)|`[^`\n]*`", "`", shown, flags=re.DOTALL)
    for match in re.finditer(r"(?<!\w)\[(\d+(?:\s*[,;]\s*\d+)*)\](?!\()", outside):
        assert {int(number) for number in re.findall(r"\d+", match[1])} <= {101, 102}, shown


def test_the_same_passage_of_two_agents_is_one_source() -> None:
    joining = Joining()
    first, new = joining.add(part("a", "[1] [2]", source("x"), source("y", index=2)))
    assert (first["text"], [found["index"] for found in new]) == ("[1] [2]", [1, 2])
    second, new = joining.add(part("b", "[1] [2]", source("y"), source("x", index=2, uri="other")))
    assert (second["text"], [found["index"] for found in new]) == ("[2] [3]", [3])
    assert [found["index"] for found in joining.sources] == [1, 2, 3]
    assert [kept["sources"] for kept in joining.parts] == [[], []]


def test_parts_come_in_the_order_of_the_route() -> None:
    parts = [part("b", "B"), part("a", "A")]
    assert joined(ordered(parts, ["a", "b"])) == "**a**\n\nA\n\n**b**\n\nB"


def test_what_is_said_of_a_failure_names_no_class() -> None:
    assert failure_text("a", "ProviderTimeoutError") == "a could not answer: its model took too long."
    assert failure_text("a", "KeyError") == "a could not answer: something went wrong."
