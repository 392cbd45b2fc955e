"""The key `middleware`: one line each here, one file each beside this one.

An entry is a `MiddlewareType`. Packages add theirs under the entry-point group
`agentkit.middleware`; there any function or class that makes a LangChain `AgentMiddleware` from
keyword arguments will do as well.
"""

from agentkit.blueprints.middleware.base import MiddlewareParts, MiddlewareType
from agentkit.registry import Registry

MIDDLEWARE = Registry[MiddlewareType](
    "middleware",
    group="agentkit.middleware",
    table={
        "context_editing": "agentkit.blueprints.middleware.context_editing:CONTEXT_EDITING",
        "pii": "agentkit.blueprints.middleware.pii:PII",
        "summarize": "agentkit.blueprints.middleware.summarize:SUMMARIZE",
        "todo_list": "agentkit.blueprints.middleware.todo_list:TODO_LIST",
        "tool_call_limit": "agentkit.blueprints.middleware.tool_call_limit:TOOL_CALL_LIMIT",
        "tool_retry": "agentkit.blueprints.middleware.tool_retry:TOOL_RETRY",
        "tool_selection": "agentkit.blueprints.middleware.tool_selection:TOOL_SELECTION",
    },
)


def own_type(name: str) -> MiddlewareType | None:
    """What `name` is, where that can be said without running an installed package's code."""
    kind: object = MIDDLEWARE.get(name) if MIDDLEWARE.is_own(name) else None
    return kind if isinstance(kind, MiddlewareType) else None


__all__ = ["MIDDLEWARE", "MiddlewareParts", "MiddlewareType", "own_type"]
