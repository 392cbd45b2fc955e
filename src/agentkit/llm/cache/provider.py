"""A model whose answers are kept for a while, and given again for the same request."""

import json
import logging
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final, Literal

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk

from agentkit.events import CacheLooked, EventBus
from agentkit.llm.base import LLMConfig, LLMProvider, ToolSpec, closing
from agentkit.llm.cache.answers import AnswerCache, CacheUnusableError
from agentkit.llm.cache.key import NoKeyError, request_key
from agentkit.llm.resilience.wrapper import ProviderWrapper

logger = logging.getLogger(__name__)

_COMPLETE: Final = ("stop", "tool_calls")
"""Finish reasons of answers that are kept; `length`, a filter's veto or none at all is no whole answer."""


class CachedProvider(ProviderWrapper):
    """Answers from a cache what was asked before; goes outermost, around the fallbacks.

    A hit makes no request. It says `cached: true` and costs nothing: usage and `cost_usd` are
    0, and what the answer took when it was written is under `cached_usage`. A streamed hit
    comes as one chunk, then the last one. Only whole answers of the model itself are kept:
    none of a fallback, none that was cut off, cancelled or filtered, none without content or
    with JSON that cannot be read. Equal requests at the same moment are all made.

    Args:
        inner: Who answers what is not kept.
        answers: Where answers are kept; shared by all models.
        config: Of the model with its fallbacks; its `cache` says for how long.
        events: Receives `CacheLooked`.
    """

    def __init__(
        self, inner: LLMProvider, answers: AnswerCache, config: LLMConfig, *, events: EventBus
    ) -> None:
        super().__init__(inner)
        self.config = config
        self._answers = answers
        self._seconds = config.cache or 0.0
        self._events = events
        self._warned = False

    async def start(self) -> None:
        """Open the cache and get the model ready."""
        await self._answers.open()
        await self.inner.start()

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer from the cache, else ask the inner provider; see `LLMProvider.chat`."""
        key = self._key(messages, tools, options)
        if key is not None and (kept := await self._look(key)) is not None:
            for chunk in replayed(kept, stream=stream):
                yield chunk
            return
        seen: list[AIMessageChunk] = []
        source = self.inner.chat(messages, tools=tools, stream=stream, **options)
        async with closing(source) as chunks:
            async for chunk in chunks:
                if key is not None:
                    # LangChain sets ids on what it gets, and its users write into the metadata.
                    seen.append(chunk.model_copy(deep=chunk.chunk_position == "last"))
                yield chunk
        # The caller has its last chunk already; awaited all the same, or the end of the program
        # would lose the answer.
        in_json = options.get("response_format") is not None
        if key is not None and (answer := keepable(seen, in_json=in_json)) is not None:
            # Asked again: `auto` may have chosen only now.
            await self._keep(self._key(messages, tools, options) or key, answer)

    def _key(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolSpec] | None, options: Mapping[str, Any]
    ) -> str | None:
        try:
            return request_key(self, messages, tools, options)
        except NoKeyError as error:
            log = logger.debug if self._warned else logger.warning
            self._warned = True
            log("Answers of %s cannot be kept: an option of the request holds a %s", self.model, error)
            return None

    async def _look(self, key: str) -> AIMessage | None:
        try:
            kept = await self._answers.find(key, self._seconds)
        except CacheUnusableError:
            self._emit("error")
            return None
        self._emit("miss" if kept is None else "hit")
        return kept

    async def _keep(self, key: str, answer: AIMessage) -> None:
        try:
            await self._answers.keep(key, answer, self._seconds)
        except CacheUnusableError:
            self._emit("error")

    def _emit(self, outcome: Literal["hit", "miss", "error"]) -> None:
        self._events.emit(CacheLooked(self.name, self.model, outcome))


def keepable(chunks: Sequence[AIMessageChunk], *, in_json: bool) -> AIMessage | None:
    """Return a finished stream as a message, or None if it must not be given again.

    Args:
        chunks: The whole stream.
        in_json: Whether the text was to be JSON; one that is not would fail again and again.
    """
    if not chunks:
        return None
    whole = chunks[0].__add__(list(chunks[1:])) if len(chunks) > 1 else chunks[0]
    metadata: dict[str, Any] = whole.response_metadata
    if str(metadata.get("finish_reason")).lower() not in _COMPLETE or "fallback" in metadata:
        return None
    # Not `tool_calls`: LangChain completes the JSON of a chunk's half-written arguments.
    if whole.invalid_tool_calls or not all(_is_json(call["args"]) for call in whole.tool_call_chunks):
        return None
    text = str(whole.text).strip()
    if not whole.tool_calls and not (_is_json(text) if in_json and text else text):
        return None
    return AIMessage(
        content=whole.content,
        tool_calls=whole.tool_calls,
        additional_kwargs=_plain(whole.additional_kwargs),
        response_metadata=_plain(metadata),
        usage_metadata=whole.usage_metadata,
    )


def replayed(kept: AIMessage, *, stream: bool) -> list[AIMessageChunk]:
    """A kept answer as the chunks a provider would yield."""
    metadata: dict[str, Any] = {**kept.response_metadata, "cached": True, "cost_usd": 0.0}
    metadata.pop("usage_estimated", None)
    if kept.usage_metadata:
        metadata["cached_usage"] = dict(kept.usage_metadata)
    calls = [
        tool_call_chunk(name=call["name"], args=json.dumps(call["args"]), id=call["id"], index=index)
        for index, call in enumerate(kept.tool_calls)
    ]
    answer = AIMessageChunk(
        content=kept.content, additional_kwargs=kept.additional_kwargs, tool_call_chunks=calls
    )
    last = AIMessageChunk(
        content="",
        response_metadata=metadata,
        usage_metadata=UsageMetadata(input_tokens=0, output_tokens=0, total_tokens=0),
        chunk_position="last",
    )
    return [answer, last] if stream else [answer.__add__([last])]


def _is_json(arguments: str | None) -> bool:
    try:
        json.loads(arguments or "{}")
    except ValueError:
        return False
    return True


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """What of `values` JSON can say; an SDK may put objects of its own beside it."""
    return {name: value for name, value in values.items() if _is_plain(value)}


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError):
        return False
    return True
