"""Two tools with which an agent keeps facts about a user beyond the conversation.

Whose facts they are is read from the run's context, never from what a model says: a user
of a tenant has a place of their own in the graph's store, and nobody else reaches it.
"""

import hashlib
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, cast

from langchain.tools import ToolRuntime
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.errors import GraphBubbleUp
from langgraph.store.base import BaseStore, SearchItem

from agentkit.context import RunContext
from agentkit.errors import ConfigurationError
from agentkit.graphs.prompts import text_of

logger = logging.getLogger(__name__)

MAX_CHARACTERS = 500
"""Longest fact."""

MAX_FACTS = 200
"""Most facts of one user; two that are kept at the same moment may both be the last."""

RECALLED = 20
"""Most facts that are looked up at once."""

_WORD = re.compile(r"\w{3,}")

Runtime = ToolRuntime[Any, Any]


def memory_tools(remember: str | None = None, recall: str | None = None) -> list[BaseTool]:
    """Return the tools `remember` and `recall`, for `build_agent(tools=…)`.

    The graph they run in needs a store: `build_supervisor(…, store=…)`.

    Args:
        remember: Describes the first to the model. None: the packaged prompt `memory_remember`.
        recall: Describes the second. None: the packaged prompt `memory_recall`.
    """
    return [
        StructuredTool.from_function(
            coroutine=_remember, name="remember", description=remember or text_of("memory_remember")
        ),
        StructuredTool.from_function(
            coroutine=_recall, name="recall", description=recall or text_of("memory_recall")
        ),
    ]


def namespace(context: RunContext) -> tuple[str, ...]:
    """Where the facts of the user who asks are in the store.

    Names are hashed: the store allows no dots in them, and finds by the beginning of a name.
    """
    who = json.dumps([context.tenant, context.user])
    return ("agentkit", "facts", hashlib.sha256(who.encode()).hexdigest())


async def _remember(fact: str, runtime: Runtime) -> ToolMessage:
    async def keep(store: BaseStore, context: RunContext) -> str:
        text = _cleaned(fact)
        if not text:
            raise _RefusedError("There is nothing to remember.")
        if len(text) > MAX_CHARACTERS:
            raise _RefusedError(f"That is too long: a fact has at most {MAX_CHARACTERS} characters.")
        place, key = namespace(context), hashlib.sha256(text.casefold().encode()).hexdigest()
        known = await store.asearch(place, limit=MAX_FACTS)
        if len(known) >= MAX_FACTS and all(item.key != key for item in known):
            raise _RefusedError(f"The memory is full: it holds {MAX_FACTS} facts of this user.")
        await store.aput(place, key, {"fact": text, "user": context.user, "tenant": context.tenant})
        return "Remembered."

    return await _answer(runtime, "remember", keep)


async def _recall(runtime: Runtime, about: str = "") -> ToolMessage:
    async def look_up(store: BaseStore, context: RunContext) -> str:
        known = await store.asearch(namespace(context), limit=MAX_FACTS)
        wanted = _words(about)
        known.sort(key=lambda item: item.updated_at, reverse=True)
        known.sort(key=lambda item: -len(wanted & _words(_fact(item))))  # stable: then the newest first
        return "\n".join(f"- {_fact(item)}" for item in known[:RECALLED]) or "Nothing is remembered."

    return await _answer(runtime, "recall", look_up)


class _RefusedError(Exception):
    """Why a tool does nothing, in words for the model."""


async def _answer(
    runtime: Runtime, tool: str, work: Callable[[BaseStore, RunContext], Awaitable[str]]
) -> ToolMessage:
    """The result of a tool; a memory that fails is the model's to know, and ends no turn."""
    store = runtime.store
    if store is None:
        raise ConfigurationError(
            f"The tool {tool!r} needs a store, and the graph has none.",
            hint="Set runtime.store in the blueprint, or give build_supervisor a store.",
        )
    context = cast("RunContext | None", runtime.context) or RunContext()
    text, failed = "It is not known who the user is, so nothing can be remembered.", True
    if context.user != RunContext().user:
        try:
            text, failed = await work(store, context), False
        except _RefusedError as refused:
            text = str(refused)
        except GraphBubbleUp:
            raise
        except Exception:
            logger.warning("the tool %s could not use the store", tool, exc_info=True)
            text = "The memory does not answer now."
    return ToolMessage(
        text, tool_call_id=runtime.tool_call_id, name=tool, status="error" if failed else "success"
    )


def _cleaned(text: str) -> str:
    """One line, without what PostgreSQL's JSON cannot hold: NUL and lone surrogates."""
    return " ".join(text.replace("\x00", " ").encode("utf-8", "ignore").decode().split())


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _fact(item: SearchItem) -> str:
    return str(item.value.get("fact", ""))
