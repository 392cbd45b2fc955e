"""A provider around a provider that says everything in the words its model understands."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.llm._loops import PerLoop
from agentkit.llm.base import LLMProvider, ModelInfo, ToolSpec, closing, merged
from agentkit.llm.resilience.wrapper import ProviderWrapper
from agentkit.llm.translate.history import portable, told, uses_tools
from agentkit.llm.translate.reader import CallReader, JSONReader, Reader, Said
from agentkit.llm.translate.wording import (
    instructed,
    json_instruction,
    reply_schema,
    schema_instruction,
    tools_instruction,
)

logger = logging.getLogger(__name__)

_DESCRIBE_SECONDS = 5.0
_ASK_AGAIN_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Request:
    """What the inner provider is asked, and how its answer is read; None: as it is."""

    messages: list[BaseMessage]
    tools: Sequence[ToolSpec] | None
    options: dict[str, Any]
    reader: Reader | None = None


class TranslatingProvider(ProviderWrapper):
    """Gives any model tools and structured output, and histories made elsewhere.

    `LLMConfig.tool_calls` says who makes the tool calls. `native`: the provider. `json`: the
    model writes them as JSON, held to a schema where the provider can do that, asked for in
    words where it cannot; one call a turn. `auto`: native, unless `get_model_info` says that
    the model has no tools, or that nothing can make it call the one that `tool_choice` demands.
    An answer's `response_format` is asked for in words where the provider cannot enforce it.

    `get_model_info` is asked at the first call that needs it, and again after a minute if that
    failed; meanwhile the model is taken to be able.

    Args:
        inner: Answers. Timeouts belong inside, so that they see the model write: what is
            written of a call comes out only when it is complete. Retries belong outside.
    """

    def __init__(self, inner: LLMProvider) -> None:
        super().__init__(inner)
        self._mode = inner.config.tool_calls
        self._info: ModelInfo | None = None
        self._ask_after = -math.inf
        self._asking = PerLoop(asyncio.Lock)

    def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the inner provider; see `LLMProvider.chat`."""
        if not self._info and self._must_know(messages, tools, options):
            return self._informed(messages, tools, options, stream=stream)
        return self._answer(self._request(messages, tools, options), stream=stream)

    def _must_know(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolSpec] | None, options: dict[str, Any]
    ) -> bool:
        if options.get("response_format"):
            return True
        return self._mode != "native" and (bool(tools) or uses_tools(messages))

    async def _informed(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[ToolSpec] | None,
        options: dict[str, Any],
        *,
        stream: bool,
    ) -> AsyncIterator[AIMessageChunk]:
        await self._describe()
        async with closing(self._answer(self._request(messages, tools, options), stream=stream)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _describe(self) -> None:
        """Ask once what the model can do; not knowing is no reason to fail."""
        async with self._asking.get():
            if self._info or time.monotonic() < self._ask_after:
                return  # somebody else has asked
            seconds = min(_DESCRIBE_SECONDS, self.config.timeouts.total or math.inf)
            try:
                async with asyncio.timeout(seconds):
                    self._info = await self.inner.get_model_info()
            except Exception as error:  # noqa: BLE001 - whatever somebody's provider raises
                logger.info("Cannot tell what %s can do: %s", self.model, error)
                self._ask_after = time.monotonic() + _ASK_AGAIN_SECONDS
        self._asking = PerLoop(asyncio.Lock)  # a lock that was waited for keeps its loop

    def _request(
        self, messages: Sequence[BaseMessage], tools: Sequence[ToolSpec] | None, options: dict[str, Any]
    ) -> _Request:
        if self._writes_calls(options.get("tool_choice")):
            options = dict(options)
            choice = options.pop("tool_choice", None)
            if tools and choice != "none":
                return self._calls_in_json(messages, tools, choice, options)
            request = _Request(told(messages), None, options)
        else:
            request = _Request(portable(messages, self.name), tools, options)
        return self._formatted(request)

    def _writes_calls(self, choice: str | None) -> bool:
        """Whether the model is to write its calls as JSON."""
        if self._mode != "auto" or self._info is None:
            return self._mode == "json"
        forced = choice not in (None, "auto", "none")
        helpless = forced and not self._info.tool_choice and self._info.structured_output != "none"
        return helpless or not self._info.native_tools

    def _calls_in_json(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[ToolSpec],
        choice: str | None,
        options: dict[str, Any],
    ) -> _Request:
        enforced = self._info is not None and self._info.structured_output != "none"
        must_call = choice not in (None, "auto")
        answer = _schema(options.pop("response_format", None))
        allowed = [tool for tool in tools if tool["function"]["name"] == choice] or list(tools)
        if enforced:
            schema = reply_schema(allowed, must_call=must_call, answer=answer)
            options["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "reply", "schema": schema},
            }
        instruction = tools_instruction(
            tools if enforced else allowed, enforced=enforced, must_call=must_call, answer=answer
        )
        reader = CallReader([tool["function"]["name"] for tool in tools])
        return _Request(instructed(told(messages, remind=True), instruction), None, options, reader)

    def _formatted(self, request: _Request) -> _Request:
        """Ask in words for a `response_format` that the model knows only from its effect, or not at all."""
        response_format = request.options.get("response_format")
        if not response_format or self._info is None or self._info.structured_output == "native":
            return request
        schema = _schema(response_format)
        if self._info.structured_output == "none":
            options = {name: value for name, value in request.options.items() if name != "response_format"}
            reader = JSONReader("[" if schema and schema.get("type") == "array" else "{")
            return replace(
                request,
                messages=instructed(request.messages, json_instruction(schema)),
                options=options,
                reader=reader,
            )
        if schema is None:
            return request
        return replace(request, messages=instructed(request.messages, schema_instruction(schema)))

    def _answer(self, request: _Request, *, stream: bool) -> AsyncIterator[AIMessageChunk]:
        source = self.inner.chat(request.messages, tools=request.tools, stream=stream, **request.options)
        if request.reader is None:
            return source
        read = _read(source, request.reader)
        return read if stream else _at_once(read)


async def _read(chunks: AsyncIterator[AIMessageChunk], reader: Reader) -> AsyncIterator[AIMessageChunk]:
    """Replace the text of a stream by what the reader makes of it."""
    over = False
    async with closing(chunks) as source:
        async for chunk in source:
            for said in _pieces(reader.feed(str(chunk.text)), chunk.id):
                yield said
            over = chunk.chunk_position == "last"
            if over:
                for said in _pieces(reader.end(), chunk.id):
                    yield said
            if rest := _without_text(chunk, reader):
                yield rest
    if not over:
        for said in _pieces(reader.end(), None):
            yield said


def _pieces(said: Iterator[Said], message_id: str | None) -> Iterator[AIMessageChunk]:
    for piece in said:
        if not isinstance(piece, str):
            yield AIMessageChunk(content="", tool_call_chunks=[piece], id=message_id)
        elif piece:
            yield AIMessageChunk(content=piece, id=message_id)


def _without_text(chunk: AIMessageChunk, reader: Reader) -> AIMessageChunk | None:
    """What a chunk carries beside text: reasoning, usage, the end."""
    content = cast("str | list[Any]", chunk.content)
    blocks = [] if isinstance(content, str) else [block for block in content if not _is_text(block)]
    others = (chunk.additional_kwargs, chunk.tool_call_chunks, chunk.usage_metadata, chunk.response_metadata)
    if not (blocks or any(others) or chunk.chunk_position):
        return None
    rest = chunk.model_copy(update={"content": blocks or ""})
    if reader.called and rest.response_metadata:
        rest.response_metadata = {**rest.response_metadata, "finish_reason": "tool_calls"}
    return rest


def _is_text(block: Any) -> bool:
    return isinstance(block, str) or cast("dict[str, Any]", block).get("type") == "text"


async def _at_once(chunks: AsyncIterator[AIMessageChunk]) -> AsyncIterator[AIMessageChunk]:
    if whole := await merged(chunks):
        yield whole


def _schema(response_format: dict[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that a `response_format` asks for, if it asks for one."""
    if not response_format or response_format.get("type") != "json_schema":
        return None
    return response_format["json_schema"]["schema"]
