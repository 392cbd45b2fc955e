"""A model that says what a script says: for tests, and for blueprints' own tests.

The script is strict. A call it has no step for fails, an expectation that does not hold
fails, and so do steps that are left over.

Options: `script` (a `Script`), or `replies` (a list of what `Script` accepts, so that YAML
can write one).
"""

import asyncio
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self, cast
from uuid import uuid4

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from pydantic import BaseModel

from agentkit.errors import ConfigurationError, ScriptError
from agentkit.llm.base import (
    Health,
    LLMConfig,
    LLMProvider,
    ModelInfo,
    ProviderContext,
    ToolSpec,
    closing,
    merged,
)

_WORDS = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+")
_CHARACTERS_PER_TOKEN = 4
_EXCERPT = 200

Expectation = str | Callable[[Sequence[BaseMessage]], bool]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool call the model makes."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Step:
    """One call of the model, and its answer.

    Attributes:
        text: What it says.
        tool_calls: What it calls.
        error: What it raises, after `text` if there is any.
        expect: Text the last message must contain, or a test of all messages.
        seen: Text that any of the messages must contain: what the model is to remember.
        usage: Token counts it reports; `estimated` counts about four characters a token,
            None reports none.
    """

    text: str = ""
    tool_calls: tuple[ToolUse, ...] = ()
    error: BaseException | None = None
    expect: Expectation | None = None
    usage: UsageMetadata | Literal["estimated"] | None = "estimated"
    seen: str | None = None


Reply = (
    str
    | Step
    | ToolUse
    | BaseException
    | BaseModel
    | Mapping[str, Any]
    | Sequence[ToolUse | Mapping[str, Any]]
)
"""A step, or short for one: text, an error, tool calls, or data the model says as JSON.
As a mapping: `{"tool": name, "arguments": {...}}` (a list of those is several calls at once),
`{"text": ...}`, either with `"expect"` and `"seen"`; else data."""


def step(reply: Reply) -> Step:
    """Turn any accepted form of a reply into a step.

    Raises:
        ConfigurationError: It has none of the accepted forms.
    """
    match reply:
        case Step():
            made = reply
        case str():
            made = Step(text=reply)
        case ToolUse():
            made = Step(tool_calls=(reply,))
        case BaseException():
            made = Step(error=reply)
        case BaseModel():
            made = Step(text=reply.model_dump_json())
        case Mapping():
            made = _mapped(reply)
        case _:
            made = _called(reply)
    return made


def _called(reply: object) -> Step:
    calls = cast("Sequence[object]", reply) if isinstance(reply, Sequence) else ()
    steps = [step(cast("Reply", call)) for call in calls if isinstance(call, (ToolUse, Mapping))]
    uses = tuple(use for made in steps for use in made.tool_calls)
    if not uses or len(uses) != len(calls):
        raise ConfigurationError(f"A scripted reply cannot be {reply!r}.")
    return replace(steps[0], tool_calls=uses)


def _mapped(reply: Mapping[str, Any]) -> Step:
    keys = set(reply)
    wanted: dict[str, Any] = {key: reply.get(key) for key in ("expect", "seen")}
    if "tool" in keys and keys <= {"tool", "arguments", *wanted}:
        use = ToolUse(str(reply["tool"]), reply.get("arguments") or {})
        return Step(tool_calls=(use,), **wanted)
    if "text" in keys and keys <= {"text", *wanted}:
        return Step(text=str(reply["text"]), **wanted)
    return Step(text=json.dumps(reply, ensure_ascii=False))


class Script:
    """The steps of one scripted model, consumed in order, and the calls it received.

    Args:
        *replies: What it says, one a call.
        name: Whose script it is, for errors.

    Example:
        >>> with Script("Hello!") as script:
        ...     script.take([])
        Step(text='Hello!', tool_calls=(), error=None, expect=None, usage='estimated', seen=None)
    """

    def __init__(self, *replies: Reply, name: str = "") -> None:
        self._whose = f" of {name!r}" if name else ""
        self._steps = deque(step(reply) for reply in replies)
        self._total = len(self._steps)
        self.calls: list[list[BaseMessage]] = []

    def take(self, messages: Sequence[BaseMessage]) -> Step:
        """Consume the next step for a call with `messages`.

        Raises:
            ScriptError: There is none, or what it expects does not hold.
        """
        self.calls.append(list(messages))
        last = _excerpt(messages)
        if not self._steps:
            raise ScriptError(
                f"Call {len(self.calls)} is not in the script{self._whose}, which has {self._total} steps. "
                f"Its last message: {last!r}",
                hint="Add a step, or find out why the model is called once more.",
            )
        taken = self._steps.popleft()
        wanted = taken.expect
        if isinstance(wanted, str) and wanted not in (str(messages[-1].text) if messages else ""):
            raise ScriptError(
                f"Call {len(self.calls)}{self._whose} expected {wanted!r} in the last message, got {last!r}."
            )
        if callable(wanted) and not wanted(messages):
            raise ScriptError(
                f"The expectation of call {len(self.calls)}{self._whose} does not hold. "
                f"Its last message: {last!r}"
            )
        if taken.seen is not None and not any(taken.seen in str(message.text) for message in messages):
            raise ScriptError(
                f"Call {len(self.calls)}{self._whose} was to see {taken.seen!r}; "
                f"none of its {len(messages)} messages has it."
            )
        return taken

    @property
    def remaining(self) -> int:
        """Steps not consumed yet."""
        return len(self._steps)

    @property
    def calls_tools(self) -> bool:
        """Whether a step that is left calls a tool."""
        return any(taken.tool_calls for taken in self._steps)

    def assert_done(self) -> None:
        """Check that every step was consumed.

        Raises:
            ScriptError: Some were not; the text shows the next one.
        """
        if self._steps:
            raise ScriptError(
                f"{len(self._steps)} of {self._total} steps were not used; next: {self._steps[0]!r}",
                hint="The model was called less often than the script says.",
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:  # an error on its way says more than "steps left over"
            self.assert_done()


class ScriptedProvider(LLMProvider):
    """Answers from a script. See the module for its options."""

    name = "scripted"

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        super().__init__(config, context)
        script = config.options.get("script")
        self.script = script if isinstance(script, Script) else Script(*config.options.get("replies", ()))

    @property
    def model(self) -> str:
        """Any name; it only shows up in metadata."""
        return self.config.model or "scripted"

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Give the next step's answer, word by word; see `LLMProvider.chat`."""
        pieces = self._pieces(messages, tools or (), options.get("stop"), in_words=stream)
        async with closing(pieces) as chunks:
            if stream:
                async for chunk in chunks:
                    yield chunk
            elif whole := await merged(chunks):
                yield whole

    async def _pieces(
        self,
        messages: Sequence[BaseMessage],
        tools: Sequence[ToolSpec],
        stop: Sequence[str] | None,
        *,
        in_words: bool,
    ) -> AsyncIterator[AIMessageChunk]:
        taken = self.script.take(messages)
        names = [tool["function"]["name"] for tool in tools]
        for use in taken.tool_calls:
            if use.name not in names:
                raise ScriptError(
                    f"The script calls {use.name!r}, but the bound tools are: {', '.join(names) or 'none'}."
                )
        text = _stopped(taken.text, stop)
        for word in _WORDS.findall(text) if in_words else [text]:
            await asyncio.sleep(0)  # let others run, as a real stream would
            yield AIMessageChunk(content=word)
        if taken.error is not None:
            raise taken.error
        for index, use in enumerate(taken.tool_calls):
            arguments = json.dumps(use.arguments, ensure_ascii=False)
            start = tool_call_chunk(name=use.name, args="", id=f"call_{uuid4().hex[:16]}", index=index)
            yield AIMessageChunk(content="", tool_call_chunks=[start])
            yield AIMessageChunk(content="", tool_call_chunks=[tool_call_chunk(args=arguments, index=index)])
        yield self._last(messages, text, taken)

    def _last(self, messages: Sequence[BaseMessage], text: str, taken: Step) -> AIMessageChunk:
        usage = taken.usage
        if estimated := usage == "estimated":
            read = sum(_tokens(str(message.text)) for message in messages)
            written = _tokens(text) + sum(_tokens(json.dumps(use.arguments)) for use in taken.tool_calls)
            usage = UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
        return AIMessageChunk(
            content="",
            usage_metadata=usage,
            response_metadata={
                "model_name": self.model,
                "model_provider": self.name,
                "finish_reason": "tool_calls" if taken.tool_calls else "stop",
                "usage_estimated": estimated,
            },
            chunk_position="last",
        )

    async def health_check(self) -> Health:
        """Always well; says how much of the script is left."""
        return Health(ok=True, detail=f"{self.script.remaining} steps left")

    async def get_model_info(self) -> ModelInfo:
        """Whatever the script says, it can do."""
        return ModelInfo(self.name, self.model, None, native_tools=True, structured_output="native")

    async def list_models(self) -> list[str]:
        """The one it is."""
        return [self.model]


def _excerpt(messages: Sequence[BaseMessage]) -> str:
    return str(messages[-1].text)[:_EXCERPT] if messages else ""


def _stopped(text: str, stop: Sequence[str] | None) -> str:
    ends = [end for mark in stop or () if (end := text.find(mark)) >= 0]
    return text[: min(ends, default=len(text))]


def _tokens(text: str) -> int:
    """An estimate, labelled as one: about four characters of English a token."""
    return -(-len(text) // _CHARACTERS_PER_TOKEN)
