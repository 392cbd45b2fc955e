"""Agents and supervisors on scripted models."""

from collections.abc import Sequence
from typing import Any

from langchain_core.embeddings import Embeddings

from agentkit.context import RunContext
from agentkit.graphs.state import Source

TOPICS = ("pod", "python", "architecture")


class TopicEmbeddings(Embeddings):
    """One axis a topic: a text points where its topic words point, and nowhere without one."""

    def __init__(self) -> None:
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._embed(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        self.queries.append(text)
        return self._embed(text)

    def _embed(self, text: str) -> list[float]:
        return [float(text.lower().count(topic)) for topic in TOPICS] + [0.1]


def source(text: str, *, index: int = 1, uri: str = "docs/a.md") -> Source:
    return Source(
        index=index,
        uri=uri,
        title="A",
        heading="",
        start_line=3,
        end_line=9,
        page=None,
        scope="s",
        score=0.1,
        similarity=0.9,
        text=text,
    )


class Knowledge:
    """A retriever that returns what it was given and remembers what it was asked."""

    def __init__(self, *sources: Source) -> None:
        self.sources = list(sources)
        self.asked: list[tuple[str, RunContext]] = []

    async def __call__(self, question: str, context: RunContext) -> list[Source]:
        self.asked.append((question, context))
        return self.sources


def ask(text: str) -> Any:
    return {"messages": [("user", text)]}


def texts(messages: Sequence[Any]) -> list[str]:
    return [message.text for message in messages]
