"""Ranges of prompt versions: `2`, `^2`, `>=2,<4`.

Versions are whole numbers, so a caret cannot mean "the same major version". It means what
it is used for, that nothing has to change on the side of the caller: `^2` is the highest
version from 2 on that takes the same variables as version 2.
"""

import operator
import re
from collections.abc import Callable, Mapping

_NUMBER = r"[1-9][0-9]{0,8}"
_CARET = re.compile(rf"\^ *({_NUMBER})")
_BOUND = re.compile(rf"([<>]=?|!=) *({_NUMBER})")
_COMPARE: Mapping[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "!=": operator.ne,
}

_ONE_BOUND = rf"([<>]=?|!=) *{_NUMBER}"
RANGE = rf"^(\^? *{_NUMBER}|{_ONE_BOUND}( *, *{_ONE_BOUND})*)$"
"""Regular expression of what a version may be as text."""

WANTED = "must be a whole number, or a range in quotes like '^2' or '>=2,<4'"


def check_wanted(wanted: int | str) -> int | str:
    """Return a version as it is asked for; a number in quotes becomes a number.

    Raises:
        ValueError: It is neither a whole number from 1 nor a range.
    """
    text = str(wanted).strip()
    if isinstance(wanted, bool) or not re.fullmatch(RANGE, text):
        raise ValueError(f"{WANTED}.")
    return int(text) if text.isdecimal() else text


def choose(wanted: int | str, versions: Mapping[int, frozenset[str]]) -> int | None:
    """Return the highest version that fits, or None.

    Args:
        wanted: Number, `^N`, or bounds joined by commas, all of which must hold.
        versions: The variables each version takes, by its number.

    Raises:
        ValueError: `wanted` is no number and no range.

    Example:
        >>> takes = {1: frozenset(), 2: frozenset({"user"}), 3: frozenset({"user"}), 4: frozenset()}
        >>> choose("^2", takes), choose(">=2,<4", takes), choose(">1", takes), choose(2, takes)
        (3, 3, 4, 2)
    """
    wanted = check_wanted(wanted)
    if isinstance(wanted, int):
        return wanted if wanted in versions else None
    if caret := _CARET.fullmatch(wanted):
        first = int(caret.group(1))
        fitting = [n for n, takes in versions.items() if n >= first and takes == versions.get(first)]
        return max(fitting, default=None)
    bounds = [(_COMPARE[sign], int(number)) for sign, number in _BOUND.findall(wanted)]
    return max((n for n in versions if all(holds(n, bound) for holds, bound in bounds)), default=None)
