"""From a typed function to a tool a model can call."""

from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from langchain_core.tools import BaseTool, StructuredTool


def tool(
    *, name: str | None = None, description: str | None = None
) -> Callable[[Callable[..., Any]], BaseTool]:
    """Make a LangChain tool of a function; its annotations become the argument schema.

    Args:
        name: What the model calls it by; the function's name by default.
        description: What the model reads; the docstring by default.

    Raises:
        ValueError: There is neither a description nor a docstring.

    Example:
        >>> @tool(name="add")
        ... def add(a: int, b: int) -> int:
        ...     "Add two integers."
        ...     return a + b
        >>> add.invoke({"a": 2, "b": 3})
        5
    """

    def decorate(function: Callable[..., Any]) -> BaseTool:
        asynchronous = iscoroutinefunction(function)
        return StructuredTool.from_function(
            func=None if asynchronous else function,
            coroutine=function if asynchronous else None,
            name=name,
            description=description,
        )

    return decorate
