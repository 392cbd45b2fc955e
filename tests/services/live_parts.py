"""What the blueprints of test_live.py name as `live_parts:NAME`, as a user's own module would be."""

import asyncio
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.types import interrupt


class Gate:
    """What models wait for while it is closed; `waiting` is how many do."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = 0

    async def passed(self) -> None:
        self.waiting += 1
        await self.open.wait()
        self.waiting -= 1


gate: Gate | None = None


class Says(BaseChatModel):
    """Says one thing, as soon as the gate is open."""

    text: str = ""

    @property
    def _llm_type(self) -> str:
        return "says"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"{self.text} {messages[0].text}"))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        if gate is not None:
            await gate.passed()
        return self._generate(messages)


class Asks(BaseChatModel):
    """Restarts a pod, and then says what came of it."""

    @property
    def _llm_type(self) -> str:
        return "asks"

    def bind_tools(self, tools: Any, **_: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        call = {"name": "restart", "args": {"pod": "web"}, "id": f"call {len(messages)}"}
        done = messages[-1].type == "tool"
        said = AIMessage(f"Done: {messages[-1].text}") if done else AIMessage("", tool_calls=[call])
        return ChatResult(generations=[ChatGeneration(message=said)])


@tool
def restart(pod: str) -> str:
    """Restart a pod, once a person agrees."""
    return f"{pod}: {interrupt({'restart': pod})}"
