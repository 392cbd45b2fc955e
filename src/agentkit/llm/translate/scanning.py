"""Finding JSON in what a model writes, and reading it while it is still being written."""

import json
import re
from typing import Any

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|[^u])", re.DOTALL)
_UNFINISHED = re.compile(r"\\(u[0-9a-fA-F]{0,3})?")
_SPECIAL = re.compile(r'["\\]')
_CLOSING = {"{": "}", "[": "]"}


class JSONEnd:
    """Finds where a JSON object or array ends, in text that comes in pieces.

    Args:
        opener: `{` or `[`.
        depth: How many of them were opened before the text begins.
    """

    def __init__(self, opener: str = "{", *, depth: int = 0) -> None:
        self._opener, self._closer = opener, _CLOSING[opener]
        self._depth = depth
        self._in_string = self._escaped = False

    def find(self, text: str, start: int = 0) -> int | None:
        """Return the position after the end, or None if it is still to come. Each piece is given once."""
        for position in range(start, len(text)):
            character = text[position]
            if self._in_string:
                if self._escaped:
                    self._escaped = False
                elif character == "\\":
                    self._escaped = True
                elif character == '"':
                    self._in_string = False
            elif character == '"':
                self._in_string = True
            elif character == self._opener:
                self._depth += 1
            elif character == self._closer:
                self._depth -= 1
                if self._depth == 0:
                    return position + 1
        return None


def parsed(text: str) -> Any:
    """Parse JSON as models write it, with line breaks in strings.

    Raises:
        ValueError: It is none, or nested too deeply to be meant.
    """
    try:
        return json.loads(text, strict=False)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def written(value: Any) -> str:
    """Write JSON that every encoder can send: half a surrogate pair becomes U+FFFD."""
    return whole_characters(json.dumps(value, ensure_ascii=False))


def whole_characters(text: str) -> str:
    """Join surrogate pairs; halves become U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def first_json(text: str, opener: str = "{") -> str | None:
    """Return the first JSON object (or array) in `text`, or None.

    What is cut off is none, and nothing inside it is taken for the whole.
    """
    start = text.find(opener)
    while start >= 0:
        end = JSONEnd(opener).find(text, start)
        if end is None:
            return None
        try:
            return written(parsed(text[start:end]))
        except (ValueError, RecursionError):
            start = text.find(opener, end)
    return None


def read_string(text: str) -> tuple[str, str, bool]:
    """Decode the inside of a JSON string as far as it has come.

    Returns:
        What is certain by now; what is left of `text`; whether the closing quote was met.
    """
    decoded: list[str] = []
    position = 0
    while position < len(text):
        special = _SPECIAL.search(text, position)
        end = special.start() if special else len(text)
        decoded.append(text[position:end])
        if special is None:
            return "".join(decoded), "", False
        if special.group() == '"':
            return "".join(decoded), text[end + 1 :], True
        position, end = end, _escape_end(text, end)
        if end is None:
            break
        decoded.append(_unescaped(text[position:end]))
        position = end
    return "".join(decoded), text[position:], False


def _escape_end(text: str, start: int) -> int | None:
    """The end of the escape at `start`, or None if it may go on."""
    escape = _ESCAPE.match(text, start)
    if escape is None:
        return None if _UNFINISHED.fullmatch(text, start) else start + 1  # a stray backslash
    end = escape.end()
    if not _is_half(escape, "89ab"):
        return end
    if end == len(text) or _UNFINISHED.fullmatch(text, end):
        return None
    other = _ESCAPE.match(text, end)
    return other.end() if other and _is_half(other, "cdef") else end


def _is_half(escape: re.Match[str], of: str) -> bool:
    """Whether an escape is the high (`89ab`) or the low (`cdef`) half of a surrogate pair."""
    code = escape.group(1).lower()
    return code.startswith("ud") and code[2] in of


def _unescaped(escape: str) -> str:
    try:
        return whole_characters(json.loads(f'"{escape}"'))
    except ValueError:
        return escape  # no escape of JSON's: \' and the like
