import json
import re

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agentkit.llm.translate.history import portable, told, uses_tools

IMAGE = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}


def call(name: str, call_id: str = "call_1", **args: object) -> dict:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def test_calls_and_results_are_told_in_the_words_the_model_is_to_use():
    asked = AIMessage("Let me see.", tool_calls=[call("add", a=1), call("noop", "call_2")])
    results = [
        ToolMessage("{7}", tool_call_id="call_1", name="add"),
        ToolMessage("ok", tool_call_id="call_2"),
    ]
    question, said, result = told([HumanMessage("1+6?"), asked, *results])
    assert question == HumanMessage("1+6?")
    text, *calls = str(said.content).splitlines()
    assert text == "Let me see."
    assert [json.loads(line) for line in calls] == [
        {"tool": "add", "arguments": {"a": 1}},
        {"tool": "noop", "arguments": {}},
    ]
    assert not said.tool_calls
    assert result == HumanMessage("add returned: {7}\n\ncall_2 returned: ok")  # one message: roles alternate


def test_the_reminder_follows_the_last_result_and_no_other():
    result = ToolMessage("7", tool_call_id="call_1", name="add")
    asked = AIMessage("", tool_calls=[call("add")])
    once = told([asked, result], remind=True)
    assert "answer" in once[-1].text
    again = told([asked, result, AIMessage("7"), HumanMessage("Thanks")], remind=True)
    assert [message.text for message in again[1:]] == ["add returned: 7", "7", "Thanks"]


def test_pictures_in_results_are_kept():
    [told_result] = told(
        [ToolMessage([{"type": "text", "text": "see"}, IMAGE], tool_call_id="1", name="shot")]
    )
    assert told_result.content == [{"type": "text", "text": "shot returned: see"}, IMAGE]


def test_ids_that_some_provider_refuses_become_the_same_everywhere():
    for strange in ("functions.add:0", "chatcmpl-tool-" + "0" * 32, "", "é"):
        asked = AIMessage("", tool_calls=[call("add", strange)])
        said, result = portable([asked, ToolMessage("7", tool_call_id=strange)], "anthropic")
        assert said.tool_calls[0]["id"] == result.tool_call_id
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,40}", result.tool_call_id)
        assert portable([asked], "openai")[0].tool_calls == said.tool_calls
        assert asked.tool_calls[0]["id"] == strange  # the conversation itself is not touched


def test_what_a_provider_said_itself_goes_back_as_it_was():
    blocks = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "text", "text": "Yes."}]
    own = AIMessage(blocks, response_metadata={"model_provider": "anthropic"})
    unknown = AIMessage(blocks)
    assert portable([own, unknown], "anthropic") == [own, unknown]
    [foreign] = portable([own], "openai")
    assert foreign.content == "Yes."


def test_what_only_another_provider_understands_is_left_out():
    invalid = {"name": "add", "args": "{", "id": "call_2", "error": None, "type": "invalid_tool_call"}
    said = AIMessage(
        "Yes.",
        tool_calls=[call("add")],
        invalid_tool_calls=[invalid],
        additional_kwargs={"reasoning_content": "Hm."},
        response_metadata={"model_provider": "ollama"},
        name="adder",
    )
    [foreign] = portable([said], "openai")
    assert (foreign.text, foreign.tool_calls, foreign.name) == ("Yes.", [call("add")], "adder")
    assert (foreign.invalid_tool_calls, foreign.additional_kwargs) == ([], {})


def test_whether_tools_were_used():
    assert not uses_tools([HumanMessage("x"), AIMessage("y")])
    assert uses_tools([AIMessage("", tool_calls=[call("add")])])
    assert uses_tools([ToolMessage("7", tool_call_id="1")])
