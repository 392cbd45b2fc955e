"""Chat models and factories as users write them, named in tests as `foreign_models:NAME`."""

import asyncio
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from pydantic import Field


class Broken(Exception):  # noqa: N818 - as SDKs name them
    """An SDK's error, as its attributes say."""

    def __init__(self, message: str, **attributes: Any) -> None:
        super().__init__(message)
        self.__dict__.update(attributes)


class ReadTimeout(Exception):  # noqa: N818 - httpx's name
    """A timeout of a library that has its own tree of errors."""


class GraphBubbleUp(Exception):  # noqa: N818 - LangGraph's name
    """What LangGraph raises to pause a run."""


class Whole(BaseChatModel):
    """Answers as a whole only, asynchronously; raises what it is given."""

    temperature: float = 1.0
    num_predict: int | None = None
    max_retries: int = 6
    error: Any = None
    seen: list[Any] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "whole"

    def _generate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        if self.error is not None:
            raise self.error
        self.seen.append((self.temperature, self.num_predict, kwargs))
        message = AIMessage(
            content="Hello there.",
            response_metadata={"done_reason": "STOP"},
            usage_metadata={"input_tokens": 3, "output_tokens": 2, "total_tokens": 5},
        )
        return ChatResult(generations=[ChatGeneration(message=message)])


class Tools(Whole):
    """Calls the first tool it is given; never finishes when it is asked to wait."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(functions=tools, **kwargs)

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **kwargs: Any) -> ChatResult:
        if not kwargs.get("functions"):
            return self._generate(messages)
        name = kwargs["functions"][0]["function"]["name"]
        calls = [{"name": name, "args": {"city": "Paris"}, "id": "call_1"}]
        return ChatResult(generations=[ChatGeneration(message=AIMessage("", tool_calls=calls))])


class Endless(Whole):
    """Never answers; says when it was cancelled."""

    cancelled: Any = None

    async def _agenerate(self, *_: Any, **__: Any) -> ChatResult:
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        raise AssertionError


def talker(*, model: str = "talker", temperature: float = 0.5, texts: Any = ()) -> GenericFakeChatModel:
    """A model that streams, from a function with arguments."""
    return GenericFakeChatModel(messages=iter(texts), metadata={"model": model, "temperature": temperature})


def endless_talk() -> Iterator[str]:
    while True:
        yield "Hello there, how are you?"


TALKER = GenericFakeChatModel(messages=endless_talk())
NOT_A_MODEL = 3


def wrong() -> str:
    return "text"
