import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentkit.prompts.ranges import RANGE, check_wanted, choose

NONE, USER = frozenset[str](), frozenset({"user"})
TAKES = {1: NONE, 2: USER, 3: USER, 5: NONE, 6: USER}


@pytest.mark.parametrize(
    ("wanted", "chosen"),
    [
        (2, 2),
        ("3", 3),
        (4, None),
        ("^2", 6),
        ("^ 1", 5),
        ("^3", 6),
        ("^4", None),
        ("^7", None),
        (">=2,<4", 3),
        (">= 2 , < 4", 3),
        (">1", 6),
        ("<=2", 2),
        ("!=6", 5),
        (">6", None),
        (">=2,!=6,!=5", 3),
        ("<2,>4", None),
    ],
)
def test_the_highest_that_fits(wanted, chosen):
    assert choose(wanted, TAKES) == chosen


@pytest.mark.parametrize(
    "wanted",
    ["", "two", "0", "^0", "^", "2.1", "^2.1", ">=", ">=2,", "~2", "2,3", "latest", "-1", "=>2", True, 0],
)
def test_what_is_no_range(wanted):
    with pytest.raises(ValueError, match=r"must be a whole number, or a range in quotes like '\^2'"):
        choose(wanted, TAKES)


@given(st.text(alphabet="^<>=!, 0123456789", max_size=12))
def test_any_text_is_a_range_or_refused(text):
    try:
        wanted = check_wanted(text)
    except ValueError:
        return
    assert re.fullmatch(RANGE, text.strip())
    assert choose(wanted, TAKES) in (None, *TAKES)
