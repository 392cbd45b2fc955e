import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from agentkit.llm.translate.reader import CallReader, JSONReader, Reader

FENCE = "```"

# Pieces of which models make what they should not: text, fences, half objects, odd escapes.
SCRAPS = st.sampled_from(
    [
        *(
            "{",
            "}",
            "[",
            "]",
            '"',
            "\\",
            "\\u",
            "\\ud83d",
            "\\ude00",
            "d8",
            "\ud83d",
            "`",
            "\n",
            " ",
            ":",
            ",",
        ),
        *(FENCE, "```json", "json", '{"answer": "', '"answer"', '"tool"', '"arguments"', "NaN", "text"),
        *('{"tool": "add", "arguments": {"a": 1}}', '{"name": "add", "parameters": {}}', "9" * 5000),
        '{"answer": {"b": [1]}}',
    ]
)
WILD = st.lists(SCRAPS | st.text(max_size=3), max_size=25).map("".join)


def read(pieces: list[str], reader: Reader | None = None) -> tuple[str, list[tuple[str, str]]]:
    reader = reader or CallReader(["add"])
    said = [part for piece in pieces for part in reader.feed(piece)] + list(reader.end())
    text = "".join(part for part in said if isinstance(part, str))
    return text, [(part["name"], part["args"]) for part in said if not isinstance(part, str)]


def cut(text: str, places: list[int]) -> list[str]:
    ends = sorted({place % (len(text) + 1) for place in places} | {0, len(text)})
    return [text[a:b] for a, b in pairwise(ends)]


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 7), st.booleans())
def test_an_answer_survives_any_cut(text: str, size: int, ascii_only: bool):
    raw = json.dumps({"answer": text}, ensure_ascii=ascii_only)
    assert read([raw[i : i + size] for i in range(0, len(raw), size)]) == (text, [])


@given(st.dictionaries(st.text(), st.integers() | st.text()), st.integers(1, 7))
def test_a_call_survives_any_cut(arguments: dict, size: int):
    raw = json.dumps({"tool": "add", "arguments": arguments})
    text, [(name, args)] = read([raw[i : i + size] for i in range(0, len(raw), size)])
    assert (text, name, json.loads(args)) == ("", "add", arguments)


@given(WILD, st.lists(st.integers(0, 10_000), max_size=8))
def test_whatever_is_written_any_cut_reads_the_same_and_nothing_is_an_error(raw: str, places: list[int]):
    assert read(cut(raw, places)) == read([raw]) == read(list(raw))
    for opener in "{[":
        assert read(cut(raw, places), JSONReader(opener)) == read([raw], JSONReader(opener))


@given(st.text())
def test_text_without_json_is_left_as_it_is(raw: str):
    raw = raw.replace("{", "(")
    assert read(list(raw)) == (raw, [])


def test_text_and_answers_stream_before_they_are_complete():
    reader = CallReader([])
    pieces = ['{ "ans', 'wer" : "He', "llo\\", 'n wor"} ', " trailing"]
    assert ["".join(reader.feed(piece)) for piece in pieces] == ["", "He", "llo", "\n wor", "  trailing"]
    plain = CallReader([])
    assert ["".join(plain.feed(piece)) for piece in ("Some", " te", "xt: {", "x}")] == [
        "Some",
        " te",
        "xt:",
        " {x}",
    ]


CALL = ("add", '{"a": 1}')


@pytest.mark.parametrize(
    ("raw", "text", "calls"),
    [
        (f'{FENCE}json\n{{"tool": "add", "arguments": {{"a": 1}}}}\n{FENCE}', "", [CALL]),
        (f'{FENCE}\n{{"answer": "yes"}}\n{FENCE}\n', "yes", []),
        (f'I will add.\n{FENCE}json\n{{"tool": "add", "arguments": {{"a": 1}}}}{FENCE} Done.',
         "I will add. Done.", [CALL]),
        ('{"arguments": {"a": 1}, "tool": "add"}', "", [CALL]),
        ('{"tool": "add", "arguments": "{\\"a\\": 1}"}', "", [CALL]),
        ('{"name": "add", "parameters": {"a": 1}}', "", [CALL]),
        ('{"tool": "add"}', "", [("add", "{}")]),
        ('{"tool": "add", "arguments": {"a": 1}}\n{"tool": "other", "arguments": {}}', "",
         [CALL, ("other", "{}")]),
        ('{"answer": {"b": [1]}}', '{"b": [1]}', []),
        ('{"answer": "it\'s \\q", "confidence": {"x": 1}}', "it's \\q", []),
        ('{"answer": "two\nlines"}', "two\nlines", []),
        # What is no call of ours is text, to the letter.
        ('{"name": "John", "age": 3}', '{"name": "John", "age": 3}', []),
        ('{"tool": "add", "arguments": {"a": 1,}}', '{"tool": "add", "arguments": {"a": 1,}}', []),
        (f"{FENCE}json\n{{}}\n{FENCE}", f"{FENCE}json\n{{}}\n{FENCE}", []),
        ("int main() { return 1; }", "int main() { return 1; }", []),
    ],
)  # fmt: skip
def test_models_that_nothing_holds_to_the_form_are_understood(raw: str, text: str, calls: list):
    assert read([raw]) == (text, calls)


@pytest.mark.parametrize(
    "raw", ["", '{"tool": "ad', '{"tool": "add", "arguments": {"a": 1', "{", "plain text"]
)
def test_what_was_cut_off_is_given_as_it_is(raw: str):
    assert read([raw]) == (raw, [])


@pytest.mark.parametrize(
    "endless", [" ", "\n", "`", "{", "a\n", '{"tool": ', '{"answer": "\\n', '{"name": {']
)
def test_a_model_that_has_lost_the_thread_is_read_to_its_end(endless: str):
    raw = endless * 10_000  # a reader of cubic cost would not return
    text, calls = read([raw[i : i + 3] for i in range(0, len(raw), 3)])
    assert calls == []
    assert text.startswith(raw[:1]) or endless.startswith('{"answer"')


def test_an_answer_cut_off_keeps_its_text():
    assert read(['{"answer": "half of']) == ("half of", [])
    assert read(['{"answer": "half of \\ud83d']) == ("half of ", [])


def test_arguments_that_are_no_object_make_an_invalid_call():
    reader = CallReader(["add"])
    [call] = [*reader.feed('{"tool": "add", "arguments": [1]}'), *reader.end()]
    message = AIMessageChunk(content="", tool_call_chunks=[call])
    assert message.tool_calls == []
    assert [(bad["name"], bad["args"]) for bad in message.invalid_tool_calls] == [("add", "[1]")]


@pytest.mark.parametrize(
    ("raw", "opener", "text"),
    [
        ('Here you are:\n```json\n{"a": {"b": 1}}\n```\n{"c": 2}', "{", '{"a": {"b": 1}}'),
        ('Use {placeholders}: {"a": "x\ny"}', "{", '{"a": "x\\ny"}'),
        ("See [1]: [2, 3]", "[", "[1]"),
        ('{"lead": {"a": 1}, "x": ', "{", '{"lead": {"a": 1}, "x": '),  # what is inside is not the whole
        ("no JSON", "{", "no JSON"),
        ("[" * 100_000 + "]" * 100_000, "[", "[" * 100_000 + "]" * 100_000),
    ],
)
def test_the_first_json_is_taken_out_of_the_text(raw: str, opener: str, text: str):
    assert read([raw], JSONReader(opener)) == (text, [])
