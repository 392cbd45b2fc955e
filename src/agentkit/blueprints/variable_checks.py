"""What can be wrong with the variables a blueprint gives a prompt."""

from collections.abc import Collection
from typing import Any, cast

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.raw import as_mapping
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem
from agentkit.prompts import PromptVersion
from agentkit.prompts.yaml_models import unknown_choice
from agentkit.prompts.yaml_source import KeyPath


def check_test_values(tree: SourceTree, value: dict[str, Any], problems: list[Problem]) -> None:
    """Add to `problems` every value that one of the blueprint's tests gives and nobody declares."""
    declared = [str(name) for name in as_mapping(value.get("context"))]
    tests = value.get("tests")
    for index, test in enumerate(cast("list[Any]", tests) if isinstance(tests, list) else ()):
        for name in as_mapping(as_mapping(test).get("context")):
            if name not in declared:
                message = unknown_choice("value of the request", str(name), declared)
                problems.append(tree.problem(message, ("tests", index, "context", name), key=True))


def variable_faults(
    tree: SourceTree, wanted: PromptRef, prompt: PromptVersion, own: Collection[str], path: KeyPath
) -> list[Problem]:
    """Return every fault of `wanted.variables`.

    Args:
        tree: The blueprint's files.
        wanted: The reference, as written.
        prompt: The prompt it names.
        own: Variables the prompt's role fills in.
        path: Place of the reference in the tree.
    """
    problems: list[Problem] = []
    for name in wanted.variables:
        place = (*path, "variables", name)
        if name in own:
            message = f"The variable {name!r} is filled in by the graph: leave it out."
            problems.append(tree.problem(message, place, key=True))
        elif name not in prompt.variables:
            choices = [variable for variable in prompt.variables if variable not in own]
            message = f"{unknown_choice('variable', name, choices)} They are those of {wanted.ref!r}."
            problems.append(tree.problem(message, place, key=True))
    return problems
