import pytest
from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel

from agentkit.errors import ConfigurationError, ProviderError, ScriptError
from agentkit.llm import LLMConfig, LLMGateway, LLMProvider, ProviderContext
from agentkit.llm.providers.scripted import ScriptedProvider
from agentkit.testing import Script, Step, ToolUse, scripted_model
from agentkit.testing.contracts import ProviderContract
from agentkit.weights import WeightsStore


def weather(city: str) -> str:
    """Weather of a city."""
    return f"sunny in {city}"


class TestScriptedContract(ProviderContract):
    def make(self, purpose: str) -> LLMProvider:
        reply = {"text": "Hello to you.", "tool": ToolUse("get_weather", {"city": "Paris"})}.get(purpose)
        replies = [reply] if reply else []
        return ScriptedProvider(
            LLMConfig("scripted", options={"replies": replies}), ProviderContext(WeightsStore("unused"))
        )


def test_says_its_script_in_order_and_in_pieces():
    with scripted_model("one two three", "four") as model:
        pieces = [chunk.content for chunk in model.stream("go")]
        assert len([piece for piece in pieces if piece]) == 3
        assert "".join(pieces) == "one two three"
        assert model.invoke("go on").text == "four"
        assert [call[-1].text for call in model.calls] == ["go", "go on"]


@pytest.mark.parametrize("text", ["", " ", "a", "  lead", "trail  ", "two\n\nlines\n", "über 東京 🎉"])
def test_no_character_is_lost_in_the_pieces(text: str):
    assert "".join(str(c.content) for c in scripted_model(text, "").stream("go")) == text


def test_a_call_too_many_fails_and_shows_what_was_asked():
    model = scripted_model("only")
    model.invoke("first")
    with pytest.raises(ScriptError, match="Call 2 is not in the script, which has 1 steps") as caught:
        model.invoke("and another")
    assert "and another" in str(caught.value)
    assert not caught.value.is_retryable


def test_steps_left_over_fail_unless_an_error_is_on_its_way():
    with (
        pytest.raises(ScriptError, match="1 of 2 steps were not used") as caught,
        scripted_model("a", "b") as model,
    ):
        model.invoke("x")
    assert "text='b'" in str(caught.value)
    with pytest.raises(KeyError), scripted_model("a"):
        raise KeyError


def test_expectations_are_checked_against_the_messages():
    model = scripted_model(Step("ok", expect="pods"), Step("ok", expect=lambda m: m[0].type == "system"))
    with pytest.raises(ScriptError, match="expected 'pods' in the last message, got 'hello'"):
        model.invoke("hello")
    with pytest.raises(ScriptError, match="The expectation of call 2 does not hold"):
        model.invoke("hello")
    assert (
        scripted_model(Step("ok", expect=lambda m: m[0].type == "system")).invoke([SystemMessage("s")]).text
        == "ok"
    )


def test_errors_come_after_their_text():
    failure = ProviderError("gone", provider="scripted", is_retryable=True)
    stream = scripted_model(Step("half", error=failure)).stream("go")
    assert next(stream).content == "half"
    with pytest.raises(ProviderError) as caught:
        next(stream)
    assert caught.value is failure


def test_tool_calls_must_be_of_bound_tools():
    model = scripted_model(
        [ToolUse("weather", {"city": "Rome"}), ToolUse("weather", {"city": "Oslo"})], ToolUse("x", {})
    )
    calls = model.bind_tools([weather]).invoke("go").tool_calls
    assert [(call["name"], call["args"]) for call in calls] == [
        ("weather", {"city": "Rome"}),
        ("weather", {"city": "Oslo"}),
    ]
    assert calls[0]["id"] != calls[1]["id"]
    with pytest.raises(ScriptError, match="calls 'x', but the bound tools are: weather"):
        model.bind_tools([weather]).invoke("go")


def test_mappings_are_tools_texts_or_data():
    class Point(BaseModel):
        x: int

    model = scripted_model(
        {"tool": "weather", "arguments": {"city": "Rome"}},
        {"text": "hi", "expect": "go"},
        {"x": 1},
        Point(x=2),
    )
    assert model.bind_tools([weather]).invoke("go").tool_calls[0]["args"] == {"city": "Rome"}
    assert model.invoke("go").text == "hi"
    assert model.with_structured_output(Point).invoke("go") == Point(x=1)
    assert model.with_structured_output(Point).invoke("go") == Point(x=2)


@pytest.mark.parametrize("wrong", [7, None, [], ["text"], [ToolUse("a", {}), "b"]])
def test_anything_else_is_refused(wrong: object):
    with pytest.raises(ConfigurationError, match="A scripted reply cannot be"):
        Script(wrong)


def test_usage_is_counted_and_labelled_estimated():
    answer = scripted_model("four words of text").invoke([HumanMessage("12345678")])
    assert answer.usage_metadata["input_tokens"] == 2
    assert answer.usage_metadata["output_tokens"] == 5
    assert answer.response_metadata["usage_estimated"] is True


def test_stop_strings_end_the_text():
    assert scripted_model("one STOP two").invoke("go", stop=["STOP"]).text == "one "


def test_yaml_options_make_a_script(bus, weights_store):
    config = LLMConfig("scripted", options={"replies": ["hi", {"tool": "weather", "arguments": {}}]})
    model = LLMGateway({"main": config}, events=bus, weights=weights_store).chat_model()
    assert model.invoke("go").text == "hi"
    assert model.bind_tools([weather]).invoke("go").tool_calls[0]["name"] == "weather"


async def test_a_step_may_ask_for_what_the_model_is_to_remember() -> None:
    messages = [HumanMessage("I am Ada."), HumanMessage("Who am I?")]
    assert Script({"text": "Ada.", "seen": "I am Ada"}, name="memory").take(messages).text == "Ada."
    with pytest.raises(
        ScriptError, match=r"Call 1 of 'memory' was to see 'I am Bob'; none of its 2 messages"
    ):
        Script({"text": "Bob.", "seen": "I am Bob"}, name="memory").take(messages)
