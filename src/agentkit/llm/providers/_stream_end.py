"""The last chunk of a stream, from what LangChain's packages spread over several."""

from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGeneration

# Where LangChain's packages put the reason, and what it is called there when it is not OpenAI's word.
_REASONS = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_STOPPED = {
    "stop": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
}


class StreamEnd:
    """Gathers what belongs to the last chunk, which vendors spread over several.

    Args:
        additive: Whether usage that comes more than once adds up, as LangChain has it, or is
            the count so far.
    """

    def __init__(self, *, additive: bool = False) -> None:
        self._additive = additive
        self.begun = False
        self.reason: str | None = None
        self._called = False
        self._usage: UsageMetadata | None = None
        self._id: str | None = None

    def note(self, part: ChatGeneration) -> AIMessageChunk:
        """Return the part's chunk without what belongs to the last one."""
        chunk = as_chunk(cast("AIMessage", part.message))
        said = {**cast("dict[str, Any]", chunk.response_metadata), **(part.generation_info or {})}
        self.begun = True
        self.reason = next((said[name] for name in _REASONS if said.get(name)), self.reason)
        self._called = self._called or bool(chunk.tool_call_chunks)
        if chunk.usage_metadata:
            earlier = self._usage if self._additive else None
            self._usage = add_usage(earlier, chunk.usage_metadata)
        self._id = chunk.id or self._id
        chunk.response_metadata, chunk.usage_metadata, chunk.chunk_position = {}, None, None
        return chunk

    def seal(self, chunk: AIMessageChunk, model: str, provider: str) -> AIMessageChunk:
        """Make `chunk` the last one: all that was gathered goes into it."""
        reason = _STOPPED.get((self.reason or "").lower(), self.reason)
        if self._called and reason == "stop":
            reason = "tool_calls"  # OpenAI says "stop" after a call it was forced to make
        # No prompt is empty: 0 means that the server did not say.
        usage = self._usage if self._usage and self._usage["input_tokens"] > 0 else None
        chunk.id = self._id
        chunk.usage_metadata = usage
        chunk.response_metadata = {"model_name": model, "model_provider": provider, "finish_reason": reason}
        chunk.chunk_position = "last"
        return chunk


def as_chunk(message: AIMessage) -> AIMessageChunk:
    """Return a whole message as the one chunk of its stream."""
    if isinstance(message, AIMessageChunk):
        return message
    return AIMessageChunk(
        content=message.content,
        additional_kwargs=message.additional_kwargs,
        response_metadata=message.response_metadata,
        tool_calls=message.tool_calls,
        invalid_tool_calls=message.invalid_tool_calls,
        usage_metadata=message.usage_metadata,
        id=message.id,
    )
