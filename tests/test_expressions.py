"""Expressions: what they mean, what is refused, and that no text does anything else."""

import ast
import builtins
from typing import Any, ClassVar

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from agentkit import expressions
from agentkit.expressions import ALLOWED, ARGUMENTS, ExpressionError, UndecidableError, parse

VALUES: dict[str, Any] = {
    "message": "Restart Kubectl",
    "text": "restart kubectl",
    "user": "Ana",
    "tenant": "acme",
    "history_length": 3,
}


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("'Kubectl' in message", True),
        ("'kubectl' in message", False),
        ("'kubectl' in text", True),
        ("'KUBECTL' in text", True),  # what text is compared with is lowered too
        ("text == 'RESTART kubectl'", True),
        ("message in text", True),
        ("user == 'ana'", False),
        ("user in ['Ana', 'Bob']", True),
        ("user not in ('Ana', 'Bob')", False),
        ("'RESTART KUBECTL' in [] or text in ['RESTART KUBECTL']", True),
        ("user != 'Bob' and tenant == 'acme'", True),
        ("not (user == 'Ana' or tenant == 'x')", False),
        ("1 < history_length <= 3", True),
        ("history_length > 3", False),
        ("history_length >= 3.0", True),
        ("history_length in [1, 2]", False),
        ("'a' < user", False),
        ("user == 'a' or user == 'Ana' and history_length == 4", False),
        ("  'kubectl'   in\ttext  ", True),
        ("'ü' not in text", True),
        ("'1e3' in text or \"it's 5pm\" in text", False),
    ],
)
def test_what_it_means(source: str, holds: bool) -> None:
    assert parse(source).holds(VALUES) is holds


@pytest.mark.parametrize(
    ("source", "column", "message"),
    [
        ("__import__('os').system('x')", 0, "Calls are not allowed in a rule."),
        ("'a' in text and exit()", 16, "Calls are not allowed in a rule."),
        ("message.lower() == 'a'", 0, "Calls are not allowed in a rule."),
        ("message.x == 'a'", 0, "Attributes are not allowed in a rule."),
        ("message[0] == 'a'", 0, "Subscripts are not allowed in a rule."),
        ("9 ** 9 ** 9 > 1", 0, "Arithmetic is not allowed in a rule."),
        ("-1 < history_length", 0, "This is not allowed in a rule."),
        ("f'{user}' == 'a'", 0, "Formatted strings are not allowed in a rule."),
        ("(lambda: 1) == 1", 1, "This is not allowed in a rule."),
        ("[c for c in text] == 1", 0, "This is not allowed in a rule."),
        ("(x := 1) == 1", 1, "This is not allowed in a rule."),
        ("'a' if user else 'b'", 0, "This is not allowed in a rule."),
        ("user == b'a'", 8, "This is not allowed in a rule."),
        ("user == None", 8, "This is not allowed in a rule."),
        ("True", 0, "This is not allowed in a rule."),
        ("('a' in text) == ('b' in text)", 1, "Comparing a comparison is not allowed in a rule."),
        ("user is 'a'", 8, "'is' is not allowed: write == or !=."),
        ("'ä' == usr", 7, "Unknown name 'usr'. Did you mean 'user'?"),
        ("   'a' in mesage", 10, "Unknown name 'mesage'. Did you mean 'message'?"),
        ("user == 1", 8, "A text is compared with a number here."),
        ("history_length in text", 0, "'in' looks for a text in a text, or for anything in a list."),
        ("user in [1]", 9, "A text is looked for here, among a number."),
        ("user in [tenant]", 9, "A list may hold texts and numbers only."),
        ("user == ['a']", 8, "A list is only allowed after 'in'; elsewhere lists are not allowed in a rule."),
        ("message", 0, "Compare it with something: this alone is neither true nor false."),
        ("'a' or user == 'a'", 0, "Compare it with something: this alone is neither true nor false."),
        ("'a' in", None, "This is not an expression: invalid syntax."),
        ("  user = 'a'", 7, "This is not an expression: write == to compare."),
        ("user = 'a'", 5, "This is not an expression: write == to compare."),
        (r"'a\d' in text", 2, "Backslashes are not allowed: write the character itself."),
        ("user == 'x' or 1in [2]", 15, "'1in' is no plain number, like 5 or 0.5."),
        ("history_length > 1e3", 17, "'1e3' is no plain number"),
        ("history_length > 007", 17, "'007' is no plain number"),
        ("history_length > 1_000", 17, "'1_000' is no plain number"),
        ("", 0, "This is not an expression: invalid syntax."),
        ("'a' in text; exit()", 11, "This is not an expression: invalid syntax."),
        ("\x00", 0, "This is not an expression: source code string cannot contain null bytes."),
        ("'\ud800' in text", 0, "This is not an expression: 'utf-8' codec can't encode character"),
        ("(" * 230 + "1" + ")" * 230, None, "This is not an expression: too many nested parentheses"),
        ("not " * 30 + "user == 'a'", 48, "The expression is nested deeper than 12 levels."),
        ("user == 'a' or " * 30 + "user == 'b'", 0, "The expression has more than 100 parts"),
        ("user == '" + "a" * 500 + "'", 0, "The expression is longer than 500 characters."),
    ],
)
def test_what_is_refused_says_where_and_why(source: str, column: int | None, message: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(source)
    assert message in caught.value.message
    if column is not None:  # where the parser gives up differs between Pythons
        assert caught.value.column == column


def test_what_is_refused_names_what_is_allowed() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse("open('x')")
    assert str(caught.value).endswith(ALLOWED)
    assert all(name in ALLOWED for name in expressions.NAMES)


WORDS = st.sampled_from(
    [
        *expressions.NAMES,
        *("and", "or", "not", "in", "is", "==", "!=", "<", ">=", "(", ")", "[", "]", ",", ".", "-", "**"),
        *("'a'", '"B"', "1", "1e9", "0x1", "None", "True", "lambda", "if", "else", "for", "await", "print"),
        *("__import__", "f'{user}'", "b'x'", "\\", "\n", "#", "'", "'''", "é", "\x00", "{", "}", "*", ":="),
    ]
)
SOURCES = st.one_of(st.text(max_size=60), st.lists(WORDS, max_size=25).map(" ".join))


@settings(max_examples=1500, deadline=None)
@given(SOURCES)
@example("(" * 499)
@example("[" * 250 + "]" * 250)
@example("-" * 499 + "1")
@example("not " * 120 + "1")
@example("'a' in text " * 41)
@example("1in text")
@example("user == 1if 1else 2")
@example("'\\N{DASH}' in text")
def test_any_text_is_an_expression_or_a_clear_error(source: str) -> None:
    executed: list[str] = []

    def forbidden(*arguments: object, **_: object) -> None:
        executed.append(repr(arguments))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builtins, "eval", forbidden)
        patch.setattr(builtins, "exec", forbidden)
        patch.setattr(builtins, "print", forbidden)
        try:
            condition = parse(source)
        except ExpressionError as error:
            assert error.message
            assert 0 <= error.column <= len(source)
            return
        finally:
            assert executed == []
        holds = condition.holds(VALUES)
    assert isinstance(holds, bool)
    assert executed == []
    # What is accepted means what it means in Python, apart from the folding of `text`.
    if "text" not in source:
        assert holds is bool(eval(source.strip(), {"__builtins__": {}}, VALUES))


def test_nothing_but_comparisons_is_ever_walked() -> None:
    """Every node class of Python's grammar is refused unless it is one of these."""
    known = {"BoolOp", "UnaryOp", "Compare", "Name", "Constant", "List", "Tuple"}
    kinds = {kind.__name__ for kind in ast.expr.__subclasses__()} - known
    checker = expressions._Checker("x")
    assert len(kinds) > 15
    for name in kinds:
        node = getattr(ast, name)()
        node.lineno, node.col_offset = 1, 0
        with pytest.raises(ExpressionError, match="not allowed"):
            checker.condition(node, 5)


class TestArguments:
    """Conditions of approvals: they ask about a tool call's arguments."""

    ARGS: ClassVar[dict[str, Any]] = {
        "args": {
            "amount": 120,
            "pod": "Web",
            "force": True,
            "tags": ["a", 2],
            "order": {"total": 7, "lines": []},
            "none": None,
        }
    }

    @pytest.mark.parametrize(
        ("source", "holds"),
        [
            ("args.amount > 100", True),
            ("100 < args.amount <= 120", True),
            ("args.amount == 120 and not args.force == False", True),
            ("args.pod == 'web'", False),
            ("'eb' in args.pod", True),
            ("args.pod in ['Web', 'db']", True),
            ("args.pod not in ['Web', 'db']", False),
            ("args.pod in []", False),
            ("args.amount in [1, 'x', 120]", True),
            ("2 in args.tags", True),
            ("'b' not in args.tags", True),
            ("args.order.total == 7", True),
            ("args.pod == 'db' and args.missing == 1", False),
            ("args.amount > args.order.total", True),
        ],
    )
    def test_what_it_means(self, source: str, holds: bool) -> None:
        assert parse(source, ARGUMENTS).holds(self.ARGS) is holds

    @pytest.mark.parametrize(
        "source",
        [
            "args.missing == 1",
            "args.order.missing == 1",
            "args.amount.missing == 1",
            "args.amount == '120'",
            "args.pod > 3",
            "args.force == 1",
            "args.amount == True",
            "args.none == 1",
            "args.order == 1",
            "args.tags == 1",
            "args.pod in [1, 2]",
            "'a' in args.amount",
            "1 in args.pod",
            "not args.missing == 1",
        ],
    )
    def test_what_cannot_be_decided_is_not_guessed(self, source: str) -> None:
        with pytest.raises(UndecidableError):
            parse(source, ARGUMENTS).holds(self.ARGS)

    @pytest.mark.parametrize(
        ("source", "said", "column"),
        [
            ("args > 1", "Which argument?", 0),
            ("args.x", "Compare it with something", 0),
            ("amount > 1", "Unknown name 'amount'.", 0),
            ("message == 'x'", "Unknown name 'message'.", 0),
            ("arg.x == 1", "Attributes are not allowed in an approval.", 0),
            ("args.x.upper() == 'X'", "Calls are not allowed in an approval.", 0),
            ("args.x[0] == 'X'", "Subscripts are not allowed", 0),
            ("True", "Compare it", 0),
            ("args.x is True", "'is' is not allowed", 10),
            ("args.x == None", "This is not allowed in an approval.", 10),
        ],
    )
    def test_what_is_refused(self, source: str, said: str, column: int) -> None:
        with pytest.raises(ExpressionError) as caught:
            parse(source, ARGUMENTS)
        assert said in caught.value.message
        assert "args.NAME" in caught.value.message or "neither true nor false" in caught.value.message
        assert caught.value.column == column

    def test_rules_know_neither_arguments_nor_truths(self) -> None:
        for source in ("args.x == 1", "text == True"):
            with pytest.raises(ExpressionError):
                parse(source)

    def test_the_arguments_it_asks_about(self) -> None:
        assert parse("args.a.b == 1 or args.c == args.a", ARGUMENTS).arguments == {"a", "c"}

    def test_nothing_is_looked_up_on_objects(self) -> None:
        for name in ("__class__", "items", "__len__"):
            with pytest.raises(UndecidableError):
                parse(f"args.{name} == 'x'", ARGUMENTS).holds({"args": {"x": 1}})
