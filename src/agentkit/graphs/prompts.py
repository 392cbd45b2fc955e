"""The packaged prompts, for graphs built in Python without a blueprint."""

from collections.abc import Callable

from agentkit.prompts import PromptManager, PromptText
from agentkit.resources import search_path


def packaged(ref: str, variable: str) -> Callable[[str], PromptText]:
    """Return a function that fills the one variable of a prompt.

    The prompt is looked up in `./prompts`, then in the package.

    Raises:
        UnknownNameError: There is no such prompt.
    """
    prompt = PromptManager(search_path("prompts")).version(ref)
    return lambda value: prompt.render(**{variable: value})


def packaged_summary() -> Callable[[str, str], str]:
    """Return the packaged request for a summary, from the summary so far and the messages since."""
    prompt = PromptManager(search_path("prompts")).version("summary")
    return lambda summary, messages: prompt.render(summary=summary, messages=messages)


def text_of(ref: str) -> str:
    """Return the text of a prompt without variables. Looked up, and raises, as `packaged`."""
    return PromptManager(search_path("prompts")).get(ref)
