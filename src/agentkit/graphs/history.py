"""What an agent is given of the conversation, and what it hands back into it."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage, get_buffer_string
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM

from agentkit.errors import BudgetExceededError, ProviderError, ScriptError
from agentkit.graphs.nodes import fenced, last_question, recent
from agentkit.graphs.state import ConversationSummary

logger = logging.getLogger(__name__)

History = Literal["task", "task_and_summary", "full"]
Returns = Literal["last_message", "full"]

_UNSEEN: RunnableConfig = {"tags": [TAG_NOSTREAM], "run_name": "summary"}


@dataclass(frozen=True, slots=True)
class RunningSummary:
    """Keeps a summary of the conversation before its newest question.

    Attributes:
        model: Writes it.
        ask: Makes the request from the summary so far and the messages since.
        show: Makes the message an agent reads.
    """

    model: BaseChatModel
    ask: Callable[[str, str], str]
    show: Callable[[str], str]

    def shown(self, summary: ConversationSummary | None) -> str:
        """The message that stands for the conversation; empty when there is nothing to say of it."""
        return fenced(self.show)(summary["text"]) if summary else ""

    async def updated(
        self, messages: Sequence[AnyMessage], before: ConversationSummary | None
    ) -> ConversationSummary | None:
        """Return the summary with what was said since `before`; one model call, or none if nothing was.

        When it cannot be had, because the model fails or a limit is reached, it stays as it was.
        """
        earlier = plain(messages[: last_question(messages) or 0])
        if not earlier:
            return None
        said = [message.id for message in earlier]
        new = earlier
        if before is not None and before["until"] in said:
            new = earlier[said.index(before["until"]) + 1 :]
        if before is not None and not new:
            return before
        request = self.ask(before["text"] if before else "", get_buffer_string(new, format="xml"))
        try:
            text = (await self.model.ainvoke(request, _UNSEEN)).text.strip()
        except ScriptError:  # a test's own mistake
            raise
        except (ProviderError, BudgetExceededError) as error:
            if isinstance(error, BudgetExceededError) and error.of is None:
                raise
            logger.warning("the conversation could not be summarised: %s", error)
            return before
        return ConversationSummary(text=text, until=earlier[-1].id or "") if text else before


def given(
    messages: Sequence[AnyMessage], history: History, *, tokens: int, tools: bool, summary: str
) -> list[AnyMessage]:
    """What an agent is given: the newest question, with more or less of the conversation before it.

    Args:
        messages: The conversation.
        history: How much of it.
        tokens: Most tokens of what comes before the question, with `full`.
        tools: Whether the agent calls tools; only then may there be calls in the history.
        summary: The message that stands for the conversation, with `task_and_summary`; empty
            when there is none.
    """
    if history == "full":
        return recent(messages if tools else plain(messages), tokens)
    question = list(messages[last_question(messages) or 0 :])
    shown = history == "task_and_summary" and summary
    return [HumanMessage(summary), *question] if shown else question


def handed_back(messages: Sequence[AnyMessage], returns: Returns) -> list[AnyMessage]:
    """What an agent hands back of its messages: its answer, or all since the question."""
    if returns == "last_message":
        return [messages[-1]]
    index = last_question(messages)
    return list(messages[-1:] if index is None else messages[index + 1 :])


def plain(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The conversation without tool calls and their results.

    Not every provider takes calls in the history of a model that has no tools.
    """
    kept: list[AnyMessage] = []
    for message in messages:
        if isinstance(message, ToolMessage):
            continue
        if isinstance(message, AIMessage) and message.tool_calls:
            if message.text.strip():
                kept.append(AIMessage(message.text, id=message.id, name=message.name))
            continue
        kept.append(message)
    return kept
