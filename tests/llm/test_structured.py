"""`structured.caller`: the same answer as LangChain's pair of model and parser, in one run."""

from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda

from agentkit.errors import StructuredOutputError
from agentkit.llm.structured import caller
from agentkit.testing import scripted_model

SCHEMA = {
    "title": "route",
    "description": "Who answers.",
    "type": "object",
    "properties": {"agent": {"type": "string", "enum": ["python", "none"]}},
    "required": ["agent"],
}
QUESTION = [HumanMessage("How do I write a generator?")]


class Runs(AsyncCallbackHandler):
    """Counts what a trace would show."""

    def __init__(self) -> None:
        self.models = 0
        self.chains = 0

    async def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        self.models += 1

    async def on_chain_start(self, *args: Any, **kwargs: Any) -> None:
        self.chains += 1


class Tools(FakeMessagesListChatModel):
    """A model of somebody else's, whose structured output is LangChain's: by tool call."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


async def test_ours_answers_in_one_run():
    runs = Runs()
    ask = caller(scripted_model('{"agent": "python"}').with_structured_output(SCHEMA))
    assert await ask(QUESTION, {"callbacks": [runs]}) == {"agent": "python"}
    assert (runs.models, runs.chains) == (1, 0)


async def test_langchains_own_parser_is_run_too():
    runs = Runs()
    call = {"name": "route", "args": {"agent": "none"}, "id": "1"}
    model = Tools(responses=[AIMessage("", tool_calls=[call])])
    ask = caller(model.with_structured_output(SCHEMA))
    assert await ask(QUESTION, {"callbacks": [runs]}) == {"agent": "none"}
    assert (runs.models, runs.chains) == (1, 0)


async def test_an_answer_that_does_not_fit_is_the_same_error():
    structured = scripted_model("python, I think", "python, I think").with_structured_output(SCHEMA)
    with pytest.raises(StructuredOutputError, match="does not fit the schema"):
        await structured.ainvoke(QUESTION)
    with pytest.raises(StructuredOutputError, match="does not fit the schema"):
        await caller(structured)(QUESTION, {})


async def test_what_is_no_pair_is_asked_as_it_is():
    async def echo(messages: Any) -> Any:
        return {"agent": messages[0].text}

    assert await caller(RunnableLambda(echo))(QUESTION, {}) == {"agent": QUESTION[0].text}
