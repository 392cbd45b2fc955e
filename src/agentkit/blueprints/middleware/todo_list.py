"""`todo_list`: the agent plans its work in a list that it keeps."""

from langchain.agents.middleware import TodoListMiddleware

from agentkit.blueprints.fields import Section
from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType


class TodoListOptions(Section):
    """Gives the agent a tool `write_todos` and tells it how to plan with it."""


def _build(options: TodoListOptions, parts: MiddlewareParts) -> TodoListMiddleware:
    del options, parts
    return TodoListMiddleware()


TODO_LIST = MiddlewareType(TodoListOptions, _build)
