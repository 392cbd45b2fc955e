import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolMessage

from agentkit.llm.providers._constrained import ConstrainedReader, said, tools_instruction, tools_schema

PARAMETERS = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/N"}},
    "required": ["a"],
    "$defs": {"N": {"type": "integer"}},
}
TOOL = {"function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}
OTHER = {"function": {"name": "noop"}}


def read(pieces: list[str]) -> tuple[str, object]:
    reader = ConstrainedReader()
    text = "".join(part for piece in pieces for part in reader.feed(piece))
    return text, reader.end()


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 7), st.booleans())
def test_an_answer_survives_any_cut(text: str, size: int, ascii_only: bool):
    raw = json.dumps({"answer": text}, ensure_ascii=ascii_only)
    assert read([raw[i : i + size] for i in range(0, len(raw), size)]) == (text, None)


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.integers(1, 7))
def test_a_call_survives_any_cut(arguments: dict, size: int):
    raw = json.dumps({"tool": "add", "arguments": arguments})
    text, call = read([raw[i : i + size] for i in range(0, len(raw), size)])
    assert text == ""
    assert (call["name"], json.loads(call["args"])) == ("add", arguments)


def test_an_answer_streams_before_it_is_complete():
    reader = ConstrainedReader()
    assert [list(reader.feed(piece)) for piece in ('{ "ans', 'wer" : "He', "llo\\", "n wor")] == [
        [],
        ["He"],
        ["llo"],
        ["\n wor"],
    ]


@pytest.mark.parametrize("raw", ["", '{"tool": "ad', "{", '{"to', "plain text"])
def test_what_was_cut_off_is_given_as_it_is(raw: str):
    assert read([raw]) == ("", raw)


def test_an_answer_cut_off_keeps_its_text():
    assert read(['{"answer": "half of']) == ("half of", None)


def test_the_schema_follows_the_tool_choice():
    free = tools_schema([TOOL, OTHER], None)
    assert [sorted(variant["properties"]) for variant in free["anyOf"]] == [
        ["arguments", "tool"],
        ["arguments", "tool"],
        ["answer"],
    ]
    assert "$ref" not in json.dumps(free)
    assert len(tools_schema([TOOL, OTHER], "any")["anyOf"]) == 2
    only = tools_schema([TOOL, OTHER], "noop")
    assert only["properties"]["tool"] == {"const": "noop"}


def test_history_is_told_in_the_same_words():
    call = {"name": "add", "args": {"a": 1}, "id": "1", "type": "tool_call"}
    assert json.loads(said(AIMessage("", tool_calls=[call]))) == {"tool": "add", "arguments": {"a": 1}}
    assert said(ToolMessage("{7}", tool_call_id="1", name="add")) == "add returned: {7}"
    assert '"tool": "add", "description": "Adds."' in tools_instruction([TOOL])
