"""Everything that could change an answer changes the key; nothing else does."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.content import create_text_block
from pydantic import SecretStr

from agentkit.llm.base import LLMConfig, ProviderContext
from agentkit.llm.cache import key as key_module
from agentkit.llm.cache.key import NoKeyError, request_key
from agentkit.llm.policies import BreakerPolicy, Price, RetryPolicy
from agentkit.llm.providers.ollama import OllamaProvider
from agentkit.llm.providers.scripted import ScriptedProvider
from agentkit.weights import WeightsStore

WEIGHTS = WeightsStore("unused")
FALLBACK = LLMConfig("scripted", model="second")
CONFIG = LLMConfig(
    "scripted", model="first", temperature=0.5, max_tokens=9, options={"seed": 1}, fallbacks=(FALLBACK,)
)
CALL = {"name": "look", "args": {"q": "a", "n": 1}, "id": "c1"}
FUNCTION = {"name": "look", "description": "d", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": FUNCTION}
OPTIONS = {"stop": ["."], "tool_choice": "auto", "response_format": {"type": "json_object"}}
MESSAGES = [
    SystemMessage("rules"),
    HumanMessage([{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]),
    AIMessage("", tool_calls=[CALL]),
    ToolMessage("found", tool_call_id="c1"),
]


def key(config=CONFIG, messages=MESSAGES, tools=(TOOL,), options=OPTIONS, context=None) -> str:
    return request_key(
        ScriptedProvider(config, context or ProviderContext(WEIGHTS)), messages, list(tools), options
    )


def message(index: int, **changed: Any) -> list[Any]:
    changed_copy = MESSAGES[index].model_copy(update=changed)
    return [*MESSAGES[:index], changed_copy, *MESSAGES[index + 1 :]]


MATTERS = {
    "model": {"config": replace(CONFIG, model="other")},
    "temperature": {"config": replace(CONFIG, temperature=0.6)},
    "max_tokens": {"config": replace(CONFIG, max_tokens=None)},
    "option": {"config": replace(CONFIG, options={"seed": 2})},
    "another option": {"config": replace(CONFIG, options={"seed": 1, "top_p": 0.1})},
    "a secret option": {"config": replace(CONFIG, options={"seed": 1, "token": SecretStr("s")})},
    "another secret": {"config": replace(CONFIG, options={"seed": 1, "token": SecretStr("t")})},
    "address": {"config": replace(CONFIG, options={"seed": 1, "base_url": "http://other"})},
    "tool calls as json": {"config": replace(CONFIG, tool_calls="json")},
    "use": {"config": replace(CONFIG, use="a:b")},
    "no fallback": {"config": replace(CONFIG, fallbacks=())},
    "another fallback": {"config": replace(CONFIG, fallbacks=(replace(FALLBACK, model="x"),))},
    "a hotter fallback": {"config": replace(CONFIG, fallbacks=(replace(FALLBACK, temperature=1),))},
    "system prompt": {"messages": message(0, content="other rules")},
    "an empty block": {"messages": message(1, content=[])},
    "a block's text": {"messages": message(1, content=[{"type": "text", "text": "ho"}])},
    "text instead of blocks": {"messages": message(1, content="hi")},
    "role": {"messages": [HumanMessage("rules"), *MESSAGES[1:]]},
    "name": {"messages": message(1, name="ana")},
    "order": {"messages": MESSAGES[::-1]},
    "fewer": {"messages": MESSAGES[:-1]},
    "tool call": {"messages": message(2, tool_calls=[{**CALL, "args": {"q": "b", "n": 1}}])},
    "tool name": {"messages": message(2, tool_calls=[{**CALL, "name": "see"}])},
    "tool call id": {"messages": message(2, tool_calls=[{**CALL, "id": "c2"}])},
    "tool result": {"messages": message(3, content="nothing")},
    "result of": {"messages": message(3, tool_call_id="c2")},
    "tool failed": {"messages": message(3, status="error")},
    "reasoning": {"messages": message(2, additional_kwargs={"reasoning_content": "hm"})},
    "no tools": {"tools": ()},
    "two tools": {"tools": (TOOL, TOOL)},
    "tool schema": {"tools": ({**TOOL, "function": {**FUNCTION, "parameters": {"type": "array"}}},)},
    "stop": {"options": {**OPTIONS, "stop": ["!"]}},
    "tool_choice": {"options": {**OPTIONS, "tool_choice": "any"}},
    "response_format": {"options": {**OPTIONS, "response_format": None}},
    "call's temperature": {"options": {**OPTIONS, "temperature": 0.0}},
    "any other option": {"options": {**OPTIONS, "seed": True}},
}
DOES_NOT = {
    "a copy": {"messages": copy.deepcopy(MESSAGES)},
    "message id": {"messages": message(1, id="m1")},
    "usage": {
        "messages": message(2, usage_metadata=UsageMetadata(input_tokens=1, output_tokens=1, total_tokens=2))
    },
    "response metadata": {"messages": message(2, response_metadata={"model_name": "gpt"})},
    "artifact": {"messages": message(3, artifact={"rows": 3})},
    "api key": {"config": replace(CONFIG, options={"seed": 1, "api_key": "sk-1"})},
    "context's key": {"context": ProviderContext(WEIGHTS, openai_api_key=SecretStr("sk"))},
    "seconds": {"config": replace(CONFIG, cache=5)},
    "patience": {
        "config": replace(
            CONFIG,
            timeout=3,
            retry=RetryPolicy(1),
            breaker=BreakerPolicy(1),
            concurrency=2,
            price=Price(1, 1),
        )
    },
    "an option that says nothing": {"options": {**OPTIONS, "seed": None}},
    "LangSmith's": {"options": {**OPTIONS, "ls_structured_output_format": {"schema": object}}},
    "a number of another type": {"config": replace(CONFIG, options={"seed": 1.0})},
    "a tuple": {"options": {**OPTIONS, "stop": (".",)}},
    "order of keys": {"options": dict(reversed(OPTIONS.items()))},
    "a chunk": {"messages": [*MESSAGES[:2], AIMessageChunk("", tool_calls=[CALL]), MESSAGES[3]]},
}


@pytest.mark.parametrize("change", DOES_NOT)
def test_what_does_not_matter_does_not_change_the_key(change: str):
    assert key(**DOES_NOT[change]) == key()


def test_what_matters_changes_the_key_each_in_its_own_way():
    keys = {change: key(**arguments) for change, arguments in MATTERS.items()}
    assert len({key(), *keys.values()}) == len(MATTERS) + 1


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
WORDS = st.text(max_size=20)


@given(
    one=st.tuples(st.lists(WORDS, max_size=3), PLAIN),
    other=st.tuples(st.lists(WORDS, max_size=3), PLAIN),
)
def test_keys_are_equal_exactly_when_requests_are(one: Any, other: Any):
    def made(request: Any) -> str:
        texts, option = request
        return key(messages=[HumanMessage(text) for text in texts], options={"x": [option]})

    # repr tells True from 1, which == does not, and so does JSON; 1.0 and 1 are one number to both.
    assert (made(one) == made(other)) == (_typed(one) == _typed(other))


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _typed(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_typed(item) for item in value]
    return (isinstance(value, bool), value)


@given(
    changes=st.lists(st.sampled_from(sorted(DOES_NOT)), unique=True), matters=st.sampled_from(sorted(MATTERS))
)
def test_what_does_not_matter_hides_nothing_that_does(changes: list[str], matters: str):
    arguments: dict[str, Any] = {}
    for change in changes:
        arguments |= DOES_NOT[change]
    assert key(**arguments) == key()
    assert key(**{**arguments, **MATTERS[matters]}) != key()


def test_providers_and_addresses_of_the_context_are_told_apart():
    here = ProviderContext(WEIGHTS, ollama_base_url="http://here")
    there = ProviderContext(WEIGHTS, ollama_base_url="http://there")
    config = LLMConfig("ollama", model="first:latest")
    keys = {request_key(OllamaProvider(config, context), [], None, {}) for context in (here, there)}
    assert len(keys) == 2
    # The default tag is the model, whether it is written or not.
    assert request_key(OllamaProvider(replace(config, model="first"), here), [], None, {}) in keys
    assert request_key(ScriptedProvider(config, here), [], None, {}) not in keys


def test_blocks_made_by_langchain_have_a_random_id_that_does_not_matter():
    texts = [HumanMessage([create_text_block("hi")]) for _ in range(2)]
    assert texts[0].content != texts[1].content
    assert key(messages=[texts[0]]) == key(messages=[texts[1]])
    own = [HumanMessage([{"type": "file", "id": name}]) for name in ("f1", "f2")]
    assert key(messages=[own[0]]) != key(messages=[own[1]])


def test_the_format_version_is_in_the_key(monkeypatch: pytest.MonkeyPatch):
    before = key()
    monkeypatch.setattr(key_module, "FORMAT", key_module.FORMAT + 1)
    assert key() != before


def test_what_cannot_be_compared_has_no_key():
    with pytest.raises(NoKeyError, match="object is no plain data"):
        key(options={"schema": object()})
