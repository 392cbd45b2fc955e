"""What can be wrong with `routing.rules`: the expressions, and who they send to."""

from typing import Any

from agentkit import expressions
from agentkit.blueprints.raw import as_list, as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath, Position

_SUPERVISOR = "supervisor"


def check_rules(tree: SourceTree, value: dict[str, Any], problems: list[Problem]) -> None:
    """Add every fault of the rules in `value` to `problems`.

    Args:
        tree: The blueprint's files.
        value: The tree's value; parts that do not validate are passed over.
        problems: Where faults are added.
    """
    routing = as_mapping(value.get("routing"))
    rules = as_list(routing.get("rules"))
    _both_or_none(tree, routing.get("strategy"), bool(rules), problems)
    agents = [as_mapping(agent).get("name") for agent in as_list(value.get("agents"))]
    names = [name for name in agents if isinstance(name, str)]
    parallel = routing.get("parallel", 1)
    for number, rule in enumerate(rules):
        path = ("routing", "rules", number)
        when, to = as_mapping(rule).get("when"), as_mapping(rule).get("to")
        if isinstance(when, str) and when.strip():
            problems += check_expression(tree, when, (*path, "when"))
        problems += _targets(tree, to, names, parallel, (*path, "to"))


def _both_or_none(tree: SourceTree, strategy: object, rules: bool, problems: list[Problem]) -> None:
    named = "rules" in as_list(strategy)
    if named and not rules:
        place = ("routing", "strategy", as_list(strategy).index("rules"))
        problems.append(tree.problem("There are no rules: add routing.rules.", place))
    if rules and not named and as_list(strategy):
        message = "The rules are never looked at: add 'rules' to routing.strategy, or leave that out."
        problems.append(tree.problem(message, ("routing", "rules"), key=True))


def check_expression(
    tree: SourceTree, when: str, path: KeyPath, vocabulary: expressions.Vocabulary = expressions.RULE
) -> list[Problem]:
    """The fault of the expression `when`, placed at the character where it goes wrong."""
    try:
        expressions.parse(when, vocabulary)
    except expressions.ExpressionError as error:
        document, inner = tree.locate(path)
        place = document.position(inner)
        if when in document.text[place.start : place.end] and "\n" not in when:
            start = document.locate(inner, when)
            place = Position(start.line, start.column + error.column)
        return [document.problem_at(error.message, place)]
    return []


def _targets(
    tree: SourceTree, to: object, names: list[str], parallel: object, path: KeyPath
) -> list[Problem]:
    listed = bool(as_list(to))
    targets = as_list(to) or [to]
    problems: list[Problem] = []
    for index, name in enumerate(targets):
        place = (*path, index) if listed else path
        if name == _SUPERVISOR and len(targets) > 1:
            message = "The supervisor answers alone: a rule that sends to it names nobody else."
            problems.append(tree.problem(message, place))
        elif isinstance(name, str) and name.strip() and name not in (*names, _SUPERVISOR):
            problems.append(tree.problem(unknown_choice("agent", name, [*names, _SUPERVISOR]), place))
        elif name in targets[:index]:
            problems.append(tree.problem(f"The agent {name!r} is listed twice.", place))
    if isinstance(parallel, int) and len(targets) > parallel:
        message = f"The rule sends to {len(targets)} agents, but routing.parallel is {parallel}: raise it."
        problems.append(tree.problem(message, path))
    return problems
