import json

from langchain_core.messages import HumanMessage, SystemMessage

from agentkit.llm.translate.wording import instructed, reply_schema, tools_instruction

PARAMETERS = {
    "type": "object",
    "properties": {"a": {"$ref": "#/$defs/N"}},
    "required": ["a"],
    "$defs": {"N": {"type": "integer", "minimum": 3}},
}
TOOL = {"function": {"name": "add", "description": "Adds.", "parameters": PARAMETERS}}
OTHER = {"function": {"name": "noop"}}


def test_the_schema_allows_calls_and_an_answer():
    free = reply_schema([TOOL, OTHER], must_call=False, answer=None)
    assert [sorted(variant["properties"]) for variant in free["anyOf"]] == [
        ["arguments", "tool"],
        ["arguments", "tool"],
        ["answer"],
    ]
    assert "$ref" not in json.dumps(free)
    assert len(reply_schema([TOOL, OTHER], must_call=True, answer=None)["anyOf"]) == 2
    only = reply_schema([OTHER], must_call=True, answer=None)
    assert only["properties"]["tool"] == {"const": "noop"}
    shaped = reply_schema([TOOL], must_call=False, answer={"type": "object"})
    assert shaped["anyOf"][-1]["properties"]["answer"] == {"type": "object"}


def test_a_model_held_to_a_schema_is_told_less_than_one_that_is_not():
    enforced = tools_instruction([TOOL], enforced=True, must_call=True, answer=None)
    assert '"tool": "add", "description": "Adds."' in enforced
    assert "minimum" not in enforced
    prompted = tools_instruction([TOOL], enforced=False, must_call=True, answer=None)
    assert '"minimum": 3' in prompted
    assert "do not answer in text" in prompted
    shaped = tools_instruction([TOOL], enforced=True, must_call=False, answer={"type": "number"})
    assert '{"type": "number"}' in shaped


def test_the_instruction_joins_the_system_message():
    question = HumanMessage("hi")
    assert instructed([question], "Do.") == [SystemMessage("Do."), question]
    assert instructed([SystemMessage("Be."), question], "Do.") == [SystemMessage("Be.\n\nDo."), question]
    cached = {"type": "text", "text": "Be.", "cache_control": {"type": "ephemeral"}}
    [joined] = instructed([SystemMessage([cached])], "Do.")
    assert joined.content == [cached, {"type": "text", "text": "\n\nDo."}]
