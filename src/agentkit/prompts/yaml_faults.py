"""What the YAML parser's errors mean to the person who wrote the file, and where to look.

The parser says what it expected at the place where it gave up. What was meant is mostly one
of a few things, told apart by that text and the line it stands in.
"""

import re
from dataclasses import dataclass

import yaml

_QUOTES = "put the whole text in quotes"
_FROM_THE_START = ("is not closed", "or a ',' is missing", "or the space after it")
"""How messages end that speak of where something began."""

_MEANINGS = tuple(
    (re.compile(pattern), message)
    for pattern, message in (
        (r"found character '\\t' that cannot", "indent with spaces, not with tabs"),
        (r"found character (.+) that cannot start any token", f"a text cannot begin with {{}}: {_QUOTES}"),
        (r"expected ',' or '\]', but got", "the '[' opened here is not closed, or a ',' is missing"),
        (r"expected ',' or '\}', but got", "the '{{' opened here is not closed, or a ',' is missing"),
        (r"quoted scalar: found unexpected end of stream", "the quote opened here is not closed"),
        (
            r"expected <block end>, but found '<scalar>'",
            f"the text goes on after its closing quote or bracket: {_QUOTES}, double around single ones",
        ),
        (
            r"expected <block end>, but found '<block (mapping|sequence) start>'",
            "this line is indented unlike those it belongs to",
        ),
        (
            r"expected <block end>, but found '[-?]'",
            "list entries ('- ') and keys are mixed: indent what belongs to the entry, or remove the '-'",
        ),
        (r"expected <block end>, but found (.*)", f"unexpected {{}}: remove it, or {_QUOTES}"),
        (r"chomping or indentation", f"a bare '>' or '|' begins a block of text: {_QUOTES}"),
        (r"while scanning an? (alias|anchor)", f"a bare '*' or '&' begins an alias or anchor: {_QUOTES}"),
        (r"(found undefined alias .*)", f"{{}}; if text is meant, {_QUOTES}"),
        (r"sequence entries are not allowed", "a list begins on a line of its own, below its key"),
        (r"could not find expected ':'", "this key lacks its ':', or the space after it"),
        (r"expected '<document start>'", "this line is indented less than the first one"),
        (r"expected a single document", "a second document begins here: a file holds one; remove the '---'"),
        (
            r"unknown escape character",
            "a backslash in double quotes is special: use single quotes, or write it twice",
        ),
        (
            r"expected the node content, but found (.*)",
            f"a value is missing before {{}}; if it is text, {_QUOTES}",
        ),
    )
)
"""Parts of what the parser says, and what to say instead; the first that fits."""


@dataclass(frozen=True, slots=True)
class SyntaxFault:
    """What is wrong, and where: 0-based line and column, and the character's offset."""

    message: str
    line: int
    column: int
    index: int


def explain(error: yaml.MarkedYAMLError, text: str) -> SyntaxFault:
    """Say what `error` in the YAML `text` means."""
    problem, context = error.problem or "", error.context or ""
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return SyntaxFault(f"{context} {problem}".strip(), 0, 0, 0)
    opened = error.context_mark
    if problem == "expected <block end>, but found '<scalar>'" and (quote := _long_quote(text, mark.index)):
        message = "the quote opened here is closed only lines below: one is missing"
        return SyntaxFault(message, quote.line, quote.column, quote.index)
    line = text.splitlines()[mark.line] if mark.line < len(text.splitlines()) else ""
    message = _meaning(problem, context, line, mark.column)
    if opened is not None and message.endswith(_FROM_THE_START):
        mark = opened  # where the parser gave up is lines below
    return SyntaxFault(message, mark.line, mark.column, mark.index)


def _long_quote(text: str, index: int) -> yaml.Mark | None:
    """Where the text in quotes just before `index` began, if that was on another line."""
    last: yaml.Token | None = None
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            if token.start_mark.index >= index:
                break
            last = token if isinstance(token, yaml.ScalarToken) else last
    except yaml.YAMLError:  # reported already
        return None
    quoted = isinstance(last, yaml.ScalarToken) and not last.plain
    return last.start_mark if last and quoted and last.start_mark.line < last.end_mark.line else None


def _meaning(problem: str, context: str, line: str, column: int) -> str:
    if problem.startswith("mapping values are not allowed"):
        if re.fullmatch(r"\s*(- +)?[\w.-]+", line[:column]):
            return "this line is indented deeper than the others, or the one above lacks its ':' or a quote"
        return f"': ' in a text that is not in quotes: {_QUOTES}"
    said = ": ".join(part for part in (context, problem) if part)
    for pattern, message in _MEANINGS:
        if found := pattern.search(said):
            return message.format(*found.groups())
    return said
