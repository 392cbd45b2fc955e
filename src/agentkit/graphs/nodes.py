"""The nodes around an agent's model: retrieval before it, and what the model is shown.

Both are LangChain middleware, so that `create_agent` keeps the model ⇄ tools loop.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NotRequired, cast

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain_core.messages import (
    AnyMessage,
    HumanMessage,
    trim_messages,  # pyright: ignore[reportUnknownVariableType] - partly untyped
)
from langchain_core.messages.utils import count_tokens_approximately
from langgraph.runtime import Runtime

from agentkit.context import RunContext
from agentkit.graphs.routing.base import last_user_text
from agentkit.graphs.state import Source

Retrieve = Callable[[str, RunContext], Awaitable[list[Source]]]
"""Finds passages for a question, within the rights of the run."""


class KnowledgeState(AgentState[Any]):
    """An agent's state with what was retrieved for the current question."""

    sources: NotRequired[list[Source]]


class KnowledgeMiddleware(AgentMiddleware[KnowledgeState, RunContext, Any]):
    """Retrieves once per turn, before the model, and shows the passages with the question.

    The passages are data: they are fenced by the prompt, and text that looks like the
    fence is defused, so that a document cannot step out of it.

    Args:
        retrieve: Finds the passages.
        prompt: Template with one variable, `{{sources}}`, already parsed: a function from
            the numbered passages to the text shown above the question.
    """

    state_schema = KnowledgeState

    def __init__(self, retrieve: Retrieve, prompt: Callable[[str], str]) -> None:
        super().__init__()
        self._retrieve = retrieve
        self._prompt = fenced(prompt)

    @property
    def name(self) -> str:
        """Name of the node: `retrieve.before_agent`."""
        return "retrieve"

    async def abefore_agent(self, state: KnowledgeState, runtime: Runtime[RunContext]) -> dict[str, Any]:
        """Find the passages and announce them on the `custom` stream."""
        question = last_user_text(state["messages"])
        context = cast("RunContext | None", runtime.context) or RunContext()
        sources = await self._retrieve(question, context) if question.strip() else []
        runtime.stream_writer({"type": "sources", "sources": sources})
        return {"sources": sources}

    async def awrap_model_call(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Put the passages above the newest question."""
        sources = cast("list[Source]", request.state.get("sources") or [])
        return await handler(request.override(messages=self._with_sources(request.messages, sources)))

    def _with_sources(self, messages: Sequence[AnyMessage], sources: Sequence[Source]) -> list[AnyMessage]:
        passages = "\n\n".join(
            f"[{source['index']}] {_place(source)}\n{source['text']}" for source in sources
        )
        return above_question(messages, self._prompt(passages))


def recent(messages: Sequence[AnyMessage], max_tokens: int) -> list[AnyMessage]:
    """Return the newest question with as much of the conversation before it as fits.

    Args:
        messages: The conversation, oldest first.
        max_tokens: Most tokens of what comes before the newest question, counted
            approximately (about 4 characters each). The question itself is never cut, and
            what is kept begins with one of the user's messages.
    """
    index = last_question(messages)
    if not index:
        return list(messages)
    earlier = trim_messages(
        list(messages[:index]),
        max_tokens=max_tokens,
        token_counter=count_tokens_approximately,
        strategy="last",
        start_on="human",
    )
    return [*cast("list[AnyMessage]", earlier), *messages[index:]]


def fenced(prompt: Callable[[str], str]) -> Callable[[str], str]:
    """Return `prompt` with its argument defused: nothing in it closes the prompt's own tags."""
    tags = re.compile("|".join(re.escape(tag) for tag in _fence_tags(prompt(""))) or r"(?!)", re.IGNORECASE)
    return lambda text: prompt(tags.sub(lambda tag: tag.group().replace("<", "&lt;"), text))


def above_question(messages: Sequence[AnyMessage], block: str) -> list[AnyMessage]:
    """Return the messages with `block` put above the newest question, in the same message."""
    index = last_question(messages)
    if index is None:
        return list(messages)
    question = messages[index]
    content = question.content
    parts: str | list[Any]
    parts = f"{block}\n{content}" if isinstance(content, str) else [{"type": "text", "text": block}, *content]
    return [*messages[:index], HumanMessage(parts, id=question.id), *messages[index + 1 :]]


def last_question(messages: Sequence[AnyMessage]) -> int | None:
    """Index of the newest message of the user's, or None."""
    return next((i for i in range(len(messages) - 1, -1, -1) if messages[i].type == "human"), None)


def _place(source: Source) -> str:
    page = f", page {source['page']}" if source["page"] else ""
    heading = f" ({source['heading']})" if source["heading"] else ""
    return f"{source['uri']}:{source['start_line']}-{source['end_line']}{page}{heading}"


def _fence_tags(text: str) -> set[str]:
    """The tags a template fences with: `<sources` and `</sources` for `<sources>…</sources>`."""
    return {f"{bracket}{name}" for name in re.findall(r"</(\w+)>", text) for bracket in ("<", "</")}
