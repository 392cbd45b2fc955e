"""One answer from the parts of several agents, always in the order of the route.

Every agent numbers its sources from 1. Joined, each source has a number of its own, and the
`[n]` in the texts follow; a passage that two agents found is one source.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from agentkit.graphs.state import AgentPart, Source

_CODE = re.compile(r"(```.*?(?:```|\Z)|`[^`\n]*`)", re.DOTALL)
_MARK = re.compile(r"(?P<before>\w?)\[(?P<numbers>\d+(?:\s*[,;]\s*\d+)*)\](?!\()")

_SAID: Mapping[str, str] = {
    "AgentTimeoutError": "it took too long",
    "ProviderTimeoutError": "its model took too long",
    "ContentRefusedError": "the message holds personal data it must not be shown",
    "BudgetExceededError": "the limit on what it may spend is reached",
}
_FAILED = "something went wrong"


def failure_text(agent: str, error: str) -> str:
    """The sentence a user reads in place of an agent's answer.

    Args:
        agent: Who failed.
        error: Class name of its error.
    """
    return f"{agent} could not answer: {_SAID.get(error, _FAILED)}."


class Joining:
    """Collects parts in order.

    Attributes:
        parts: The parts so far, their marks numbered as in `sources`.
        sources: All passages so far, numbered from 1.
    """

    def __init__(self) -> None:
        self.parts: list[AgentPart] = []
        self.sources: list[Source] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def add(self, part: AgentPart) -> tuple[AgentPart, list[Source]]:
        """Add the next part; returns it with its new marks, and the sources nobody had before."""
        marks: dict[int, int] = {}
        before = len(self.sources)
        for source in part["sources"]:
            passage = (source["uri"], source["start_line"], source["end_line"], source["text"])
            if passage not in self._numbers:
                self._numbers[passage] = len(self.sources) + 1
                self.sources.append(cast("Source", {**source, "index": len(self.sources) + 1}))
            marks[source["index"]] = self._numbers[passage]
        text = renumbered(part["text"], marks)
        added = cast("AgentPart", {**part, "text": text, "sources": []})
        self.parts.append(added)
        return added, self.sources[before:]


def section(part: AgentPart) -> str:
    """A part as it stands in the joined answer: the agent's name, then what it says."""
    return f"{heading(part['agent'])}{part['text']}"


def heading(agent: str) -> str:
    """What stands above a part."""
    return f"**{agent}**\n\n"


def joined(parts: Iterable[AgentPart]) -> str:
    """The parts one after another."""
    return "\n\n".join(section(part) for part in parts)


def ordered(parts: Sequence[AgentPart], agents: Sequence[str]) -> list[AgentPart]:
    """The parts in the order of `agents`."""
    return sorted(parts, key=lambda part: agents.index(part["agent"]))


def renumbered(text: str, marks: Mapping[int, int]) -> str:
    """Return `text` with its source marks renumbered, outside code.

    A number without a source becomes `(7)`, so that it cannot be read as another agent's
    source; stuck to a word (`rows[0]`) it was no mark and stays.

    Args:
        text: What an agent said.
        marks: New numbers by old ones.

    Example:
        >>> renumbered("Sums [1] are exact [2, 3]; `row[1]` is code.", {1: 4, 2: 5, 3: 1})
        'Sums [4] are exact [5, 1]; `row[1]` is code.'
    """

    def mark(match: re.Match[str]) -> str:
        numbers = [int(number) for number in re.findall(r"\d+", match["numbers"])]
        if all(number in marks for number in numbers):
            return f"{match['before']}[{', '.join(str(marks[number]) for number in numbers)}]"
        if match["before"]:
            return match[0]
        known = [str(marks[number]) for number in numbers if number in marks]
        strange = ", ".join(str(number) for number in numbers if number not in marks)
        return (f"[{', '.join(known)}] " if known else "") + f"({strange})"

    pieces = _CODE.split(text)
    return "".join(piece if index % 2 else _MARK.sub(mark, piece) for index, piece in enumerate(pieces))
