"""Conditions as people write them in YAML: a few of Python's comparisons, and nothing else.

An expression is parsed, never executed: `ast` reads it, every node must be one of those
below, and `Condition.holds` walks them. There are no calls, attributes, subscripts or
arithmetic, so there is nothing an expression could reach or spend time on.

    'kubectl' in message and not (user == 'ana' or history_length > 4)

An approval's condition asks about the arguments of a tool call instead, and the dots in
`args.order.amount > 100` are looked up in the arguments, never on an object.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from agentkit.errors import nearest

MAX_CHARACTERS = 500
MAX_NODES = 100
MAX_DEPTH = 12

Kind = Literal["text", "number", "truth", "argument"]
Value = Any

NAMES: Mapping[str, Kind] = {
    "message": "text",
    "text": "text",
    "user": "text",
    "tenant": "text",
    "history_length": "number",
}
"""What an expression may ask about; see `docs/blueprints.md`."""

LOWERED = "text"
"""The name whose value is in lower case; what it is compared with is lowered too."""

ALLOWED = (
    f"Allowed: {', '.join(NAMES)}; texts in quotes, numbers, lists of them; "
    "in, not in, ==, !=, <, <=, >, >=; and, or, not, parentheses."
)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What an expression may speak of.

    Attributes:
        names: Names and their kinds; an `argument` is of a kind that shows only when it is there.
        place: Where such an expression stands, for messages.
        allowed: What is allowed, for messages.
    """

    names: Mapping[str, Kind]
    place: str
    allowed: str


RULE = Vocabulary(NAMES, "a rule", ALLOWED)
"""Conditions of routing rules."""

ARGUMENTS = Vocabulary(
    {"args": "argument"},
    "an approval",
    "Allowed: args.NAME, an argument of the tool; texts in quotes, numbers, True, False, lists of them; "
    "in, not in, ==, !=, <, <=, >, >=; and, or, not, parentheses.",
)
"""Conditions of approvals."""

_ORDER: dict[type[ast.cmpop], Callable[[Value, Value], bool]] = {
    ast.Lt: cast("Callable[[Value, Value], bool]", operator.lt),
    ast.LtE: cast("Callable[[Value, Value], bool]", operator.le),
    ast.Gt: cast("Callable[[Value, Value], bool]", operator.gt),
    ast.GtE: cast("Callable[[Value, Value], bool]", operator.ge),
}


_STRING = re.compile(r"'[^']*'|\"[^\"]*\"")
_NUMBER = re.compile(r"(?<![\w.])\d[\w.]*")
_PLAIN_NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?")

_REFUSED: Mapping[type[ast.expr], str] = {
    ast.Call: "Calls are",
    ast.Attribute: "Attributes are",
    ast.Subscript: "Subscripts are",
    ast.BinOp: "Arithmetic is",
    ast.JoinedStr: "Formatted strings are",
    ast.List: "A list is only allowed after 'in'; elsewhere lists are",
    ast.Tuple: "A list is only allowed after 'in'; elsewhere lists are",
    ast.Compare: "Comparing a comparison is",
}


_FOREIGN = (
    (r"&&|\|\||!(?!=)", "write and, or, not"),
    (r"===", "write == to compare"),
    (r"\bcontains\b|\bincludes\b", "write 'word' in message"),
    (r"\bmatches\b|=~", "there are no regular expressions; write 'word' in message"),
)
"""Forms of other languages, and what is said of them."""


class ExpressionError(ValueError):
    """An expression is not one; `column` is the 0-based character where it goes wrong."""

    def __init__(self, message: str, column: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class UndecidableError(Exception):
    """An argument is missing, or of a kind that cannot be compared so."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed expression; make it with `parse`.

    Attributes:
        source: The text it was parsed from.
    """

    source: str
    _tree: ast.expr

    def holds(self, values: Mapping[str, Value]) -> bool:
        """Whether it is true.

        Args:
            values: A value of the right kind for each name of the vocabulary.

        Raises:
            UndecidableError: It asks about an argument that is missing or of another kind.
        """
        return _holds(self._tree, values)

    @property
    def arguments(self) -> frozenset[str]:
        """The arguments it asks about, without what is inside them."""
        return frozenset(
            node.attr
            for node in ast.walk(self._tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        )


def parse(source: str, vocabulary: Vocabulary = RULE) -> Condition:
    """Parse an expression that speaks of `vocabulary`.

    Raises:
        ExpressionError: It is too long or too deep, or has something that is not allowed. The
            text says what is.

    Example:
        >>> values = {"message": "A", "text": "a", "user": "u", "tenant": "t", "history_length": 0}
        >>> parse("'a' in text and history_length < 2").holds(values)
        True
    """
    if len(source) > MAX_CHARACTERS:
        raise ExpressionError(f"The expression is longer than {MAX_CHARACTERS} characters.")
    try:
        tree = _parsed(source.strip(), vocabulary)
    except ExpressionError as error:
        error.column += len(source) - len(source.lstrip())
        raise
    return Condition(source, tree)


def _parsed(source: str, vocabulary: Vocabulary) -> ast.expr:
    tree = _read(source, vocabulary.allowed)
    if sum(1 for _ in ast.walk(tree)) > MAX_NODES:
        raise ExpressionError(f"The expression has more than {MAX_NODES} parts: make several rules of it.")
    _Checker(source, vocabulary).condition(tree, MAX_DEPTH)
    return tree


def _read(source: str, allowed: str) -> ast.expr:
    _refuse_what_only_warns(source, allowed)
    try:
        return ast.parse(source, mode="eval").body
    except SyntaxError as error:
        column = max((error.offset or 1) - 1, 0) if (error.lineno or 1) == 1 else 0
        said = _meant(source, column) or error.msg.split(". ")[0].rstrip(".")
        raise ExpressionError(f"This is not an expression: {said}. {allowed}", column) from None
    except (ValueError, RecursionError, MemoryError) as error:
        # A null character, half of a surrogate pair, or more brackets than the parser follows.
        reason = str(error).split("\n")[0] or "too many brackets"
        raise ExpressionError(f"This is not an expression: {reason}. {allowed}") from None


def _meant(source: str, column: int) -> str | None:
    """What to write instead of a form other languages have, which Python calls invalid."""
    if _STRING.sub("", source).count("'") % 2 or _STRING.sub("", source).count('"') % 2:
        return "a quote is not closed"
    if source[column : column + 2].strip() == "=":
        return "write == to compare"
    outside = _STRING.sub("", source)
    return next((said for word, said in _FOREIGN if re.search(word, outside)), None)


def _refuse_what_only_warns(source: str, allowed: str) -> None:
    """Refuse what Python's parser would warn of, on standard error and for the developer only."""
    if (column := source.find("\\")) >= 0:
        raise ExpressionError("Backslashes are not allowed: write the character itself.", column)
    outside = _STRING.sub(lambda text: " " * len(text[0]), source)
    for number in _NUMBER.finditer(outside):
        if not _PLAIN_NUMBER.fullmatch(number[0]):
            raise ExpressionError(
                f"{number[0]!r} is no plain number, like 5 or 0.5. {allowed}", number.start()
            )


class _Checker:
    """Refuses every node that is not known, and comparisons that make no sense."""

    def __init__(self, source: str, vocabulary: Vocabulary = RULE) -> None:
        self._vocabulary = vocabulary
        self._allowed = vocabulary.allowed
        self._line = source.split("\n", 1)[0].encode("utf-8", "surrogatepass")

    def condition(self, node: ast.expr, depth: int) -> None:
        """Check something that is true or false."""
        if not depth:
            raise self._fault(node, f"The expression is nested deeper than {MAX_DEPTH} levels.")
        if isinstance(node, ast.BoolOp):
            for value in node.values:
                self.condition(value, depth - 1)
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            self.condition(node.operand, depth - 1)
        elif isinstance(node, ast.Compare):
            self._comparison(node)
        else:
            if isinstance(node, (ast.Name, ast.Constant, ast.Attribute)):
                self._kind(node)
                raise self._fault(node, "Compare it with something: this alone is neither true nor false.")
            raise self._refused(node)

    def _comparison(self, node: ast.Compare) -> None:
        left = node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            kind = self._kind(left)
            if isinstance(op, (ast.In, ast.NotIn)):
                self._membership(kind, left, right)
            elif isinstance(op, (ast.Eq, ast.NotEq, *_ORDER)):
                other = self._kind(right)
                if kind != other and "argument" not in (kind, other):
                    raise self._fault(right, f"A {kind} is compared with a {other} here.")
            else:
                raise self._fault(right, f"'is' is not allowed: write == or !=. {self._allowed}")
            left = right

    def _membership(self, kind: Kind, left: ast.expr, right: ast.expr) -> None:
        if isinstance(right, (ast.List, ast.Tuple)):
            for item in right.elts:
                if not isinstance(item, ast.Constant):
                    raise self._fault(item, f"A list may hold texts and numbers only. {self._allowed}")
                if self._kind(item) != kind and kind != "argument":
                    raise self._fault(item, f"A {kind} is looked for here, among a {self._kind(item)}.")
        elif "argument" not in (kind, self._kind(right)) and "number" in (kind, self._kind(right)):
            wrong = left if kind == "number" else right
            raise self._fault(wrong, "'in' looks for a text in a text, or for anything in a list.")

    def _kind(self, node: ast.expr) -> Kind:
        names = self._vocabulary.names
        if isinstance(node, ast.Name):
            if node.id not in names:
                near = nearest(node.id, names)
                guess = f" Did you mean {near!r}?" if near else ""
                raise self._fault(node, f"Unknown name {node.id!r}.{guess} {self._allowed}")
            if names[node.id] == "argument":
                raise self._fault(node, f"Which argument? Write {node.id}.NAME. {self._allowed}")
            return names[node.id]
        if isinstance(node, ast.Attribute) and "args" in names and (found := self._argument(node)):
            return found
        if isinstance(node, ast.Constant) and type(node.value) in (str, int, float):
            return "text" if isinstance(node.value, str) else "number"
        if isinstance(node, ast.Constant) and isinstance(node.value, bool) and "args" in names:
            return "truth"
        raise self._refused(node)

    def _argument(self, node: ast.Attribute) -> Kind | None:
        """The kind of `args.NAME`, or of what is inside; None where that is not what it is."""
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            inner = inner.value
        named = isinstance(inner, ast.Name) and self._vocabulary.names.get(inner.id) == "argument"
        return "argument" if named else None

    def _refused(self, node: ast.expr) -> ExpressionError:
        what = _REFUSED.get(type(node), "This is")
        return self._fault(node, f"{what} not allowed in {self._vocabulary.place}. {self._allowed}")

    def _fault(self, node: ast.expr, message: str) -> ExpressionError:
        # ast counts columns in bytes of UTF-8.
        before = self._line[: node.col_offset] if node.lineno == 1 else b""
        return ExpressionError(message, len(before.decode("utf-8", "replace")))


def _holds(node: ast.expr, values: Mapping[str, Value]) -> bool:
    if isinstance(node, ast.BoolOp):
        combine = all if isinstance(node.op, ast.And) else any
        return combine(_holds(value, values) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _holds(node.operand, values)
    comparison = cast("ast.Compare", node)
    operands = [comparison.left, *comparison.comparators]
    return all(
        _compares(op, left, right, values)
        for op, left, right in zip(comparison.ops, operands, operands[1:], strict=False)
    )


def _compares(op: ast.cmpop, left: ast.expr, right: ast.expr, values: Mapping[str, Value]) -> bool:
    lower = _is_lowered(left) or _is_lowered(right)
    one = _value(left, values, lower=lower)
    if isinstance(right, (ast.List, ast.Tuple)):
        items = [_value(item, values, lower=lower) for item in right.elts]
        found = any(_alike(one, item) and one == item for item in items)
        if items and not any(_alike(one, item) for item in items):
            raise UndecidableError
        return found if isinstance(op, ast.In) else not found
    other = _value(right, values, lower=lower)
    if isinstance(op, (ast.In, ast.NotIn)):
        found = _contains(other, one)
        return found if isinstance(op, ast.In) else not found
    if not _alike(one, other):
        raise UndecidableError
    if isinstance(op, (ast.Eq, ast.NotEq)):
        return (one == other) == isinstance(op, ast.Eq)
    return _ORDER[type(op)](one, other)


def _contains(whole: Value, part: Value) -> bool:
    if isinstance(whole, list):
        return part in cast("list[Any]", whole)
    if isinstance(whole, str) and isinstance(part, str):
        return part in whole
    raise UndecidableError


def _alike(one: Value, other: Value) -> bool:
    """Whether two values are of one kind; what is neither text, number nor truth is like nothing."""
    kind = _kind_of(one)
    return kind is not None and kind == _kind_of(other)


def _kind_of(value: Value) -> Kind | None:
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, str):
        return "text"
    return "number" if isinstance(value, (int, float)) else None


def _is_lowered(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == LOWERED


def _value(node: ast.expr, values: Mapping[str, Value], *, lower: bool) -> Value:
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, values, lower=False)
        if not isinstance(owner, Mapping) or node.attr not in owner:
            raise UndecidableError
        return cast("Mapping[str, Value]", owner)[node.attr]
    value = values[node.id] if isinstance(node, ast.Name) else cast("ast.Constant", node).value
    return value.lower() if lower and isinstance(value, str) else value
