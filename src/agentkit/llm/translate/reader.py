"""Reads tool calls and answers out of the JSON that a model was told, or constrained, to write.

It was told to write `{"tool": NAME, "arguments": {...}}` or `{"answer": TEXT}` and nothing else.
Models that no schema holds to it write around it, fence it, break it: what is not the
expected JSON is text, and nothing is an error.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal, Protocol, cast
from uuid import uuid4

from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk

from agentkit.llm.translate.scanning import JSONEnd, first_json, parsed, read_string, written

Said = str | ToolCallChunk
"""A piece of the answer's text, or a whole tool call."""

# Models that lose the thread write white space without end: each run is looked at once.
_OPENING = re.compile(r"(?<!\s)\s*+(?:```(?:json)?\s*+)?\{")
_PERHAPS_OPENING = re.compile(r"(?<!\s)\s*+(?:`{1,2}|```(?:j|js|jso|json)?\s*+)?\Z")
_PERHAPS_FENCE = re.compile(r"\s*`{0,2}")
_FENCE = re.compile(r"\s*```")
_HEAD = re.compile(r'\{\s*(?:"(?P<key>\w*)(?P<closed>"\s*(?P<colon>:\s*)?)?)?')
_ANSWER = re.compile(r'\{\s*"answer"\s*:\s*"')

_KEYS = ("answer", "arguments", "name", "parameters", "tool")


class Reader(Protocol):
    """Turns a model's output, as it streams in, into text and tool calls."""

    @property
    def called(self) -> bool:
        """Whether there was a call."""
        ...

    def feed(self, piece: str) -> Iterator[Said]:
        """Take the next piece; yield what is certain by now."""
        ...

    def end(self) -> Iterator[Said]:
        """Yield what is left when the output is over."""
        ...


class CallReader:
    """Reads calls of tools, and streams text and answers.

    Args:
        names: The tools. A call in another form than the one asked for counts if it names one.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)
        self._state: Literal["text", "object", "answer", "rest", "after"] = "text"
        self._held = ""
        self._opening = ""  # what came before the object: white space, a fence
        self._scanned = 0
        self._end = JSONEnd()
        self._calls = 0
        self._understood = False

    @property
    def called(self) -> bool:
        """Whether there was a call."""
        return self._calls > 0

    def feed(self, piece: str) -> Iterator[Said]:
        """Take the next piece of the model's output; yield what is certain by now."""
        self._held += piece
        state = None
        while self._held and state != self._state:  # a state that is left leaves something to the next
            state = self._state
            yield from getattr(self, f"_read_{state}")()

    def end(self) -> Iterator[Said]:
        """Yield what is left: cut off by a limit or a stop string, it is text."""
        match self._state:
            case "object":
                yield self._opening + self._held
            case "text" if self._held and (self._held.strip() or not self._understood):
                yield self._held
            case _:
                pass  # white space after the object, or half an escape
        self._held = ""

    def _read_text(self) -> Iterator[Said]:
        if self._held.isspace():
            return
        opening = _OPENING.search(self._held)
        if opening is None:
            perhaps = _PERHAPS_OPENING.search(self._held)
            text, self._held = _cut(self._held, perhaps.start() if perhaps else len(self._held))
        else:
            text, self._held = self._held[: opening.start()], self._held[opening.end() - 1 :]
            self._opening = opening.group()[:-1]
            self._state, self._scanned, self._end = "object", 0, JSONEnd()
        if text:
            yield text

    def _read_object(self) -> Iterator[Said]:
        if answer := _ANSWER.match(self._held):
            self._state, self._held = "answer", self._held[answer.end() :]
            self._understood = True
            return
        ours = _is_ours(self._held)
        if ours is None:
            return
        if not ours:
            yield from self._not_ours("{")
            return
        end = self._end.find(self._held, self._scanned)
        self._scanned = len(self._held)
        if end is None:
            return
        said = self._understand(self._held[:end])
        if said is None:
            yield from self._not_ours(self._held[:end])
            return
        self._state, self._held, self._understood = "after", self._held[end:], True
        yield said

    def _not_ours(self, text: str) -> Iterator[Said]:
        self._state, self._held = "text", self._held[len(text) :]
        yield self._opening + text

    def _read_answer(self) -> Iterator[Said]:
        text, self._held, over = read_string(self._held)
        if over:
            self._state, self._end = "rest", JSONEnd(depth=1)
        if text:
            yield text

    def _read_rest(self) -> Iterator[Said]:
        end = self._end.find(self._held)
        self._held = "" if end is None else self._held[end:]
        if end is not None:
            self._state = "after"
        yield from ()

    def _read_after(self) -> Iterator[Said]:
        """Take the closing fence away with the object it was opened for."""
        if "`" in self._opening:
            if _PERHAPS_FENCE.fullmatch(self._held):
                return
            if fence := _FENCE.match(self._held):
                self._held = self._held[fence.end() :]
        self._state = "text"
        yield from ()

    def _understand(self, raw: str) -> Said | None:
        try:
            value = cast("dict[str, Any]", parsed(raw))
            name = value.get("tool", value.get("name") if value.get("name") in self._names else None)
            if isinstance(name, str):
                return self._call(name, value.get("arguments", value.get("parameters", {})))
            return _answer(value["answer"]) if "answer" in value else None
        except (ValueError, TypeError, RecursionError):
            return None

    def _call(self, name: str, arguments: Any) -> ToolCallChunk:
        if isinstance(arguments, str):  # some write the arguments as OpenAI does: JSON in a string
            arguments = parsed(arguments) if arguments.strip() else {}
        # Arguments that are no object become an entry of invalid_tool_calls: LangChain sees to it.
        args = written(arguments)
        self._calls += 1
        return tool_call_chunk(name=name, args=args, id=f"call_{uuid4().hex[:16]}", index=self._calls - 1)


class JSONReader:
    """Gives the first JSON object or array of the output; without one, the output.

    Args:
        opener: `{` or `[`.
    """

    called = False

    def __init__(self, opener: str) -> None:
        self._opener = opener
        self._pieces: list[str] = []

    def feed(self, piece: str) -> Iterator[Said]:
        """Take the next piece; nothing is certain before the end."""
        self._pieces.append(piece)
        yield from ()

    def end(self) -> Iterator[Said]:
        """Yield the JSON."""
        text = "".join(self._pieces)
        yield first_json(text, self._opener) or text


def _cut(text: str, position: int) -> tuple[str, str]:
    return text[:position], text[position:]


def _is_ours(text: str) -> bool | None:
    """Whether an object begins with a key we asked for; None if that is not certain yet."""
    head = cast("re.Match[str]", _HEAD.match(text))
    key, more_to_come = head["key"], head.end() == len(text)
    if head["colon"] is not None and key in _KEYS:
        # An answer that is a string streams, and its quote may be the next character.
        return None if key == "answer" and more_to_come else True
    if not more_to_come:
        return False
    if head["closed"] is not None:
        return None if key in _KEYS else False
    return None if key is None or any(known.startswith(key) for known in _KEYS) else False


def _answer(value: Any) -> str:
    return value if isinstance(value, str) else written(value)
