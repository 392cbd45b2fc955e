"""Prompts that no key names: a blueprint that needs them finds them by their ref, and pins them."""

from collections.abc import Sequence

from agentkit.blueprints.fields import PromptRef
from agentkit.blueprints.sources import SourceTree
from agentkit.errors import Problem, PromptError, UnknownNameError
from agentkit.prompts import PromptManager, PromptVersion
from agentkit.prompts.yaml_source import KeyPath


def find_prompts(
    tree: SourceTree,
    path: KeyPath,
    needed: Sequence[tuple[PromptRef, frozenset[str]]],
    prompts: PromptManager,
) -> tuple[dict[PromptRef, PromptVersion], list[Problem]]:
    """Return prompts in the version to use, and what is wrong with them.

    Args:
        tree: The blueprint's files.
        path: The key that needs them.
        needed: The prompts, each with the variables it is given; it may use fewer.
        prompts: Where they are.
    """
    found: dict[PromptRef, PromptVersion] = {}
    problems: list[Problem] = []
    for ref, variables in needed:
        try:
            prompt = prompts.version(ref.ref)
        except UnknownNameError as error:
            problems.append(tree.problem(error.message, path))
        except PromptError as error:
            problems.extend(error.problems)
        else:
            found[ref] = prompt
            if strange := sorted(prompt.variables.keys() - variables):
                message = (
                    f"The prompt {ref.ref!r} version {prompt.version} needs {', '.join(strange)}, "
                    f"but gets: {', '.join(sorted(variables)) or 'no variables'}."
                )
                problems.append(tree.problem(message, path))
    return found, problems
