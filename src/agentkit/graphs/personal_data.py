"""Personal data kept from an agent's model: LangChain's finder, applied to every message."""

from typing import Any, Literal

from langchain.agents.middleware import PIIDetectionError, PIIMiddleware
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.runtime import Runtime

from agentkit.context import RunContext
from agentkit.errors import ContentRefusedError

Strategy = Literal["redact", "mask", "hash", "block"]


class PersonalData(PIIMiddleware[Any, RunContext]):
    """Makes personal data unrecognisable before the model, and retrieval, see it.

    LangChain's own looks at the newest question only: what was said in earlier turns, a model
    would be shown with the conversation, which keeps what users wrote.

    With `block` the newest question is refused; in an earlier one, which was refused then or
    went to somebody else, the data is redacted, so that the conversation can go on.

    Args:
        agent: Whose model it is.
        kind: What is looked for: `email`, `credit_card`, `ip`, `mac_address`, `url`, or any name
            with a `pattern`.
        pattern: Regular expression that finds it.
        strategy: What becomes of it.
        in_questions: Whether to look into the user's messages, and into answers of earlier turns.
        in_tool_results: Whether to look into what tools return.
    """

    def __init__(
        self,
        agent: str,
        kind: str,
        *,
        pattern: str | None,
        strategy: Strategy,
        in_questions: bool,
        in_tool_results: bool,
    ) -> None:
        super().__init__(
            kind,
            strategy=strategy,
            detector=pattern,
            apply_to_input=in_questions,
            apply_to_tool_results=in_tool_results,
        )
        self.transformers = ()  # it is about what the model sees, not about the stream
        self._agent = agent
        self._earlier = PIIMiddleware[Any, RunContext](
            kind,
            strategy="redact" if strategy == "block" else strategy,
            detector=pattern,
            apply_to_input=in_questions,
            apply_to_output=in_questions,
        )

    async def abefore_agent(self, state: Any, runtime: Runtime[RunContext]) -> dict[str, Any] | None:
        """Look into the questions before anything is searched for them."""
        return await self.abefore_model(state, runtime)

    async def abefore_model(self, state: Any, runtime: Runtime[RunContext]) -> dict[str, Any] | None:
        """Look into every message; only those that change are written back.

        Raises:
            ContentRefusedError: The strategy is `block`, and the newest question or a tool's
                result holds the data.
        """
        messages: list[AnyMessage] = state["messages"]
        newest = max((i for i, message in enumerate(messages) if message.type == "human"), default=-1)
        changed: list[AnyMessage] = []
        for index, message in enumerate(messages):
            update = self._looked_into(message, runtime, earlier=index < newest)
            if update is not None:
                changed.append(update["messages"][-1])
        return {"messages": changed} if changed else None

    def _looked_into(
        self, message: AnyMessage, runtime: Runtime[RunContext], *, earlier: bool
    ) -> dict[str, Any] | None:
        if earlier and isinstance(message, AIMessage):  # of somebody who was shown more
            return self._earlier.after_model({"messages": [message]}, runtime)
        if earlier and message.type == "human":
            return self._earlier.before_model({"messages": [message]}, runtime)
        # A tool's result is looked into when it follows a reply.
        before = [AIMessage("")] if isinstance(message, ToolMessage) else []
        try:
            return self.before_model({"messages": [*before, message]}, runtime)
        except PIIDetectionError as error:
            where = "The message" if message.type == "human" else f"A result of {message.name or 'a tool'}"
            raise ContentRefusedError(
                f"{where} holds personal data ({self.pii_type}), which {self._agent} must not be shown.",
                kind=self.pii_type,
                hint="Leave it out, and ask again.",
            ) from error
