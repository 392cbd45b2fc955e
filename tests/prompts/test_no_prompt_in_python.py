"""Prompt text is in YAML (or, for the wire form of tools, in text files), never in Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "agentkit"

MESSAGES = {"SystemMessage", "HumanMessage", "SystemMessagePromptTemplate", "ChatPromptTemplate"}
ROLES = {"system", "human", "user", "developer"}
INSTRUCTIONS = re.compile(
    r"^\s*you are (an?|the)\b|\byou are an? (helpful|assistant|expert)|\banswer the (user|question)"
    r"|\b(reply|respond|answer) (only|with exactly|with one|in json|with json)\b|\bas an ai\b"
    r"|\buse only the sources\b|\bdo not (invent|make up)\b|\bstep by step\b|\byour (task|job) is\b",
    re.IGNORECASE,
)

ALLOWED: dict[str, str] = {}
"""Literals that read like a prompt and are none, each with the reason."""


def literals(node: ast.AST) -> Iterator[str]:
    """The texts of string literals below a node, f-strings included."""
    for child in ast.walk(node):
        if isinstance(child, ast.Constant) and isinstance(child.value, str):
            yield child.value


def faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every literal that is a prompt, or stands where one does."""
    documentation = {
        id(owner.body[0].value)
        for owner in ast.walk(tree)
        if isinstance(owner, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and owner.body
        and isinstance(owner.body[0], ast.Expr)
    }
    attribute_texts = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node.func) in MESSAGES:
            for argument in [*node.args, *(keyword.value for keyword in node.keywords)]:
                yield from ((node.lineno, text) for text in literals(argument) if _words(text) > 2)
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            role, content = node.elts
            if isinstance(role, ast.Constant) and role.value in ROLES:
                yield from ((node.lineno, text) for text in literals(content) if _words(text) > 2)
        if isinstance(node, ast.Dict):
            said = {key.value: value for key, value in zip(node.keys, node.values, strict=True)
                    if isinstance(key, ast.Constant)}  # fmt: skip
            role = said.get("role")
            if isinstance(role, ast.Constant) and role.value in ROLES and "content" in said:
                yield from ((node.lineno, t) for t in literals(said["content"]) if _words(t) > 2)
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            shown = id(node) not in documentation | attribute_texts
            if shown and INSTRUCTIONS.search(node.value) and node.value not in ALLOWED:
                yield node.lineno, node.value


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):  # ChatPromptTemplate.from_messages
        return function.attr if function.attr in MESSAGES else _name(function.value)
    return function.id if isinstance(function, ast.Name) else ""


def _words(text: str) -> int:
    return len(re.findall(r"[A-Za-z]{2,}", text))


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_no_prompt_in_python(path: Path) -> None:
    found = [f"{path.name}:{line}: {text[:80]!r}" for line, text in faults(ast.parse(path.read_text()))]
    assert found == [], "write it as a prompt, prompts/NAME.yaml"


@pytest.mark.parametrize(
    "code",
    [
        "SystemMessage('Summarise the conversation briefly.')",
        "messages.HumanMessage(content=f'Choose one of {names} now.')",
        "x = [('system', 'Translate this text to French.')]",
        "x = {'role': 'system', 'content': 'Translate this text to French.'}",
        "ChatPromptTemplate.from_messages([('ai', 'Translate this text to French.')])",
        "TEXT = 'You are a helpful assistant.'",
        "TEXT = f'Answer the user in {language}.'",
    ],
)
def test_the_test_finds_prompts(code: str) -> None:
    assert list(faults(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "SystemMessage(text)",
        "x = ('user', message)",
        "SystemMessage(f'{content}\\n\\n{instruction}')",
        "'''You are a reader of this docstring.'''",
        "x = ('system', 'main')",
    ],
)
def test_the_test_leaves_the_rest_alone(code: str) -> None:
    assert not list(faults(ast.parse(code)))
