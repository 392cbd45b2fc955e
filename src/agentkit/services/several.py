"""How the answer of several agents is told while they are still at it.

Their words must not mingle. The first agent of the route is heard as it speaks; each other
one when it and all before it are done, so that what is told is what is joined in the end.
A combined answer is heard alone.
"""

from collections.abc import Iterable, Sequence

from agentkit.graphs.joining import Joining, heading, section
from agentkit.graphs.limits import sentence
from agentkit.graphs.state import AgentPart, Source


class Several:
    """Follows one turn of several agents.

    Args:
        agents: The route, in order.
        combined: Whether the supervisor's model will make one answer of theirs.

    Attributes:
        models: Models that answered, in the order of the parts told.
    """

    def __init__(self, agents: Sequence[str], *, combined: bool) -> None:
        self._agents = list(agents)
        self._combined = combined
        self._joining = Joining()
        self._waiting: dict[str, AgentPart] = {}
        self._shown = ""
        self.models: list[str] = []

    @property
    def sources(self) -> list[Source]:
        """The sources of all parts told so far, each with a number of its own."""
        return self._joining.sources

    def token(self, node: str, text: str) -> str:
        """What to say now of some words of a model.

        Args:
            node: Agent whose model it is; empty for the supervisor's.
            text: The words.
        """
        first = not self._combined and not self._joining.parts and node == self._agents[0]
        said = text if first or (self._combined and not node) else ""
        if first and not self._shown:
            said = heading(node) + said
        self._shown += said
        return said

    def finished(self, parts: Iterable[AgentPart]) -> list[tuple[list[Source], str]]:
        """What can be told now that some agents are done: new sources, and the words that cite them."""
        self._waiting |= {part["agent"]: part for part in parts}
        told: list[tuple[list[Source], str]] = []
        while len(self._joining.parts) < len(self._agents):
            part = self._waiting.get(self._agents[len(self._joining.parts)])
            if part is None:
                break
            added, sources = self._joining.add(part)
            if part["model"]:
                self.models.append(part["model"])
            told.append((sources, self._words(added)))
        return told

    def rest(self, answer: str) -> str:
        """What of the whole answer has not been told, where the supervisor combined it."""
        if not self._combined:
            return ""
        if not self._shown or answer.startswith(self._shown):
            return answer.removeprefix(self._shown)
        return f"\n\n{answer}"

    def _words(self, part: AgentPart) -> str:
        if self._combined:
            return ""
        words = section(part)
        if len(self._joining.parts) == 1 and self._shown:  # heard already, if not to its end
            unsaid = [sentence(limit) for limit in part.get("limits_reached", [])]
            words = "".join(f"\n\n{text}" for text in unsaid)
            if part["status"] not in ("answered", "limited"):
                words = f"\n\n{part['text']}"
        elif self._shown:
            words = f"\n\n{words}"
        self._shown += words
        return words
