"""Middleware by name: each has its effect in a compiled blueprint, and faults have their place."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from langchain_core.messages import BaseMessage
from langgraph.checkpoint.memory import InMemorySaver

from agentkit.blueprints import json_schema, load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.blueprints.middleware import MIDDLEWARE
from agentkit.context import RunContext
from agentkit.errors import BlueprintError, ConfigurationError, ContentRefusedError, ProviderError
from agentkit.events import EventBus
from agentkit.graphs.bridge import Graph
from agentkit.llm.gateway import LLMGateway
from agentkit.llm.providers.scripted import Script, Step, ToolUse
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.chat import ChatService
from agentkit.weights import WeightsStore

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: solo
models: {main: {provider: scripted}, small: {provider: scripted}}
security: {allowed_modules: [midtools]}
routing: {strategy: [rules], rules: [{when: 1 == 1, to: a}]}
EVERYONE
agents:
  - name: a
    description: Everything.
    prompt: {ref: agents/python}
    limits: {history_tokens: 100000}
    tools: [{use: "midtools:look"}, {use: "midtools:shaky"}, {use: "midtools:spare"}]
    MIDDLEWARE
"""
TOOLS = '''
from agentkit import tool
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import HumanMessage

failures = []

@tool(name="look")
def look(at: str = "") -> str:
    """Look at something."""
    return f"{at} is at ana@example.org"

@tool(name="shaky")
def shaky() -> str:
    """Fail first."""
    if failures:
        raise failures.pop()
    return "steady"

@tool(name="spare")
def spare() -> str:
    """Not needed."""
    return ""

class Shout(AgentMiddleware):
    """Shows the model its messages in capitals."""

    def __init__(self, end: str = "") -> None:
        super().__init__()
        self.end = end

    async def awrap_model_call(self, request, handler):
        shown = [HumanMessage(message.text.upper() + self.end) for message in request.messages]
        return await handler(request.override(messages=shown))

made = Shout(end="?")

def broken(**options):
    raise RuntimeError("no such luck")

def nothing():
    return 3
'''


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """A blueprint with this middleware, and the module its tools come from."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "midtools", raising=False)
    (tmp_path / "midtools.py").write_text(TOOLS)

    def written(middleware: str = "", everyone: str = "") -> Path:
        file = tmp_path / "solo.yaml"
        own = f"middleware: {middleware}" if middleware else ""
        text = BLUEPRINT.replace("MIDDLEWARE", own)
        file.write_text(text.replace("EVERYONE", f"middleware: {everyone}" if everyone else ""))
        return file

    return written


def prompts() -> PromptManager:
    return PromptManager(search_path("prompts"))


def compiled(file: Path, scripts: Mapping[str, Script], manager: PromptManager | None = None) -> Graph:
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(file.parent))
    parts = Parts(gateway, None, None, InMemorySaver(), EventBus(), None, scripts)
    return compile_blueprint(load(file, prompts=manager or prompts()), parts)


def faults(file: Path) -> list[str]:
    with pytest.raises(BlueprintError) as caught:
        load(file, prompts=prompts())
    return [str(problem).splitlines()[0].partition("solo.yaml:")[2] for problem in caught.value.problems]


def seen(script: Script, call: int = -1) -> str:
    """All the model was shown in one call."""
    return "\n".join(f"{message.type}: {message.text}" for message in script.calls[call])


async def ask(graph: Graph, text: str) -> list[BaseMessage]:
    thread: Any = {"configurable": {"thread_id": "t"}}
    result = await graph.ainvoke({"messages": [("user", text)]}, thread, context=RunContext())
    return result["messages"]


def look(at: str) -> ToolUse:
    return ToolUse("look", {"at": at})


class TestSummarize:
    async def test_the_model_sees_a_summary_in_place_of_old_messages(
        self, write: Callable[..., Path]
    ) -> None:
        file = write("[{summarize: {at_tokens: 200, keep_messages: 1, model: small}}]")
        says, small = Script("First. " * 100, "Second."), Script("They spoke of the first thing.")
        graph = compiled(file, {"a": says, "small": small})
        await ask(graph, "Tell me about the first thing")
        messages = await ask(graph, "And the second?")
        assert "First. First." in seen(small)
        shown = seen(says)
        assert "They spoke of the first thing." in shown
        assert "human: And the second?" in shown
        assert "And the second?" in says.calls[-1][-1].text
        assert [message.text[:6] for message in messages] == ["Tell m", "First.", "And th", "Second"]

    async def test_the_question_is_never_summarised_away(self, write: Callable[..., Path]) -> None:
        file = write("[{summarize: {at_tokens: 100, keep_messages: 1, model: small}}]")
        says = Script(look("a" * 500), look("b" * 500), "Done.")
        small = Script("S1.", "S2.")
        await ask(compiled(file, {"a": says, "small": small}), "Where is it?")
        for call in says.calls[1:]:
            assert [message.text for message in call].count("Where is it?") == 1
            assert call[-1].type == "tool"
            assert [tool["name"] for message in call for tool in getattr(message, "tool_calls", [])] == [
                "look"
            ]

    async def test_it_is_not_streamed_and_old_calls_are_not_told_again(
        self, write: Callable[..., Path]
    ) -> None:
        file = write("[{summarize: {at_tokens: 100, keep_messages: 2, model: small}}]")
        says = Script(look("a" * 300), look("b" * 300), "Done.")
        service = ChatService(compiled(file, {"a": says, "small": Script("SUMMARY", "SUMMARY")}))
        events = [event async for event in service.stream("Where is it?")]
        assert "".join(event.data for event in events if event.type == "token") == "Done."
        assert [e.type for e in events if e.type.startswith("tool")] == ["tool_call", "tool_result"] * 2
        assert all(call.result for call in events[-1].data.tool_calls)

    async def test_a_summary_that_cannot_be_had_costs_no_answer_and_is_not_retried(
        self, write: Callable[..., Path]
    ) -> None:
        file = write("[{summarize: {at_tokens: 100, keep_messages: 1, model: small}}]")
        says, small = Script("Fine."), Script(ProviderError("down", provider="x"))
        messages = await ask(compiled(file, {"a": says, "small": small}), "long " * 100)
        assert messages[-1].text == "Fine."
        says, small = Script("One.", "Two."), Script(ProviderError("down", provider="x"))
        graph = compiled(file, {"a": says, "small": small})
        await ask(graph, "short")
        assert (await ask(graph, "long " * 300))[-1].text == "Two."
        assert len(small.calls) == 1

    async def test_a_prompt_of_ones_own(self, write: Callable[..., Path], tmp_path: Path) -> None:
        text = "name: s\nversions: {1: {template: 'Sum {up}: {{messages}}', variables: {messages: M.}}}\n"
        (tmp_path / "prompts").mkdir()
        (tmp_path / "prompts" / "brief.yaml").write_text(text)
        file = write("[{summarize: {at_tokens: 100, keep_messages: 1, prompt: {ref: brief}}}]")
        manager = PromptManager([tmp_path / "prompts", *search_path("prompts")])
        says = Script("One.", "A summary.", "Two.")
        graph = compiled(file, {"a": says}, manager)
        await ask(graph, "x" * 800)
        await ask(graph, "next")
        assert says.calls[1][0].text.startswith("Sum {up}: <message")
        assert "A summary." in seen(says)


class TestPii:
    async def test_it_does_not_reach_the_model_in_this_turn_or_a_later_one(
        self, write: Callable[..., Path]
    ) -> None:
        says = Script("You said ana@example.org.", "Again.")
        graph = compiled(write("[{pii: {type: email}}]"), {"a": says})
        await ask(graph, "I am ana@example.org")
        messages = await ask(graph, "Who am I?")
        for number in (0, 1):
            assert "ana@example.org" not in seen(says, number)
            assert "I am [REDACTED_EMAIL]" in seen(says, number)
        assert "ai: You said [REDACTED_EMAIL]." in seen(says)
        assert messages[0].text == "I am ana@example.org"  # the conversation is the user's

    async def test_results_of_tools_too_where_wanted(self, write: Callable[..., Path]) -> None:
        says = Script(look("Ana"), "Done.")
        await ask(compiled(write("[{pii: {type: email}}]"), {"a": says}), "Where?")
        assert "Ana is at ana@example.org" in seen(says)
        says = Script(look("Ana"), "Done.")
        entry = "[{pii: {type: email, tool_results: true, strategy: hash}}]"
        await ask(compiled(write(entry), {"a": says}), "Where?")
        assert "Ana is at <email_hash:" in seen(says)

    async def test_several_types_one_with_a_pattern(self, write: Callable[..., Path]) -> None:
        entries = r"[{pii: {type: email, strategy: mask}}, {pii: {type: key, pattern: 'sk-\w+'}}]"
        says = Script("Noted.")
        await ask(compiled(write(entries), {"a": says}), "sk-abc123 of ana@example.org")
        assert "[REDACTED_KEY]" in seen(says)
        assert "ana@example.org" not in seen(says)
        assert "@" in seen(says)

    async def test_block_refuses_the_message_and_the_conversation_goes_on(
        self, write: Callable[..., Path]
    ) -> None:
        says = Script("Hello.")
        graph = compiled(write("[{pii: {type: email, strategy: block}}]"), {"a": says})
        with pytest.raises(ContentRefusedError, match=r"The message holds personal data \(email\)") as caught:
            await ask(graph, "I am ana@example.org")
        assert (caught.value.kind, says.calls) == ("email", [])
        assert (await ask(graph, "Hi"))[-1].text == "Hello."
        assert "ana@example.org" not in seen(says)

    async def test_for_everyone_and_what_an_agent_says_otherwise(self, write: Callable[..., Path]) -> None:
        says = Script("Noted.")
        everyone = "[{pii: {type: email}}, {pii: {type: url}}]"
        file = write("[{pii: {type: email, strategy: hash}}]", everyone)
        await ask(compiled(file, {"a": says}), "ana@example.org and https://example.org/x")
        assert "<email_hash:" in seen(says)
        assert "[REDACTED_URL]" in seen(says)


class TestOthers:
    async def test_old_results_are_left_out_of_what_the_model_sees(self, write: Callable[..., Path]) -> None:
        says = Script(look("a" * 900), look("b" * 900), "Done.")
        entry = "[{context_editing: {at_tokens: 50, keep_results: 1, clear_arguments: true}}]"
        await ask(compiled(write(entry), {"a": says}), "Where?")
        results = [message.text for message in says.calls[-1] if message.type == "tool"]
        assert results[0] == "[cleared]"
        assert results[1].startswith("bbb")

    async def test_all_tool_calls_together_are_limited(self, write: Callable[..., Path]) -> None:
        says = Script(look("a"), ToolUse("shaky", {}), "Done.")
        await ask(compiled(write("[{tool_call_limit: {limit: 1}}]"), {"a": says}), "Where?")
        assert says.calls[-1][-1].text == "Tool call limit exceeded. Do not make additional tool calls."

    async def test_one_tool_is_limited_in_both_ways(self, write: Callable[..., Path]) -> None:
        says = Script([look("a"), look("b")], "Done.")
        file = write("[{tool_call_limit: {tool: look, limit: 1}}]")
        await ask(compiled(file, {"a": says}), "Where?")
        assert seen(says).count("Do not call 'look' again") == 1
        text = BLUEPRINT.replace("EVERYONE", "").replace("MIDDLEWARE", "")
        file.write_text(text.replace('{use: "midtools:look"}', '{use: "midtools:look", limit: 1}'))
        says = Script([look("a"), look("b")], "Done.")
        await ask(compiled(file, {"a": says}), "Where?")
        assert seen(says).count("Do not call 'look' again") == 1

    async def test_a_tool_is_tried_again(self, write: Callable[..., Path]) -> None:
        says = Script(ToolUse("shaky", {}), "Done.")
        graph = compiled(write("[{tool_retry: {base: 1ms, tools: [shaky]}}]"), {"a": says})
        failures = __import__("midtools").failures
        failures += [RuntimeError("one"), RuntimeError("two")]
        await ask(graph, "Go")
        assert says.calls[-1][-1].text == "steady"

    async def test_what_cannot_get_better_is_not_tried_again(self, write: Callable[..., Path]) -> None:
        graph = compiled(write("[{tool_retry: {base: 1ms}}]"), {"a": Script(ToolUse("shaky", {}))})
        failures = __import__("midtools").failures
        failures += [RuntimeError("never reached"), ConfigurationError("wrong file")]
        with pytest.raises(ConfigurationError, match="wrong file"):
            await ask(graph, "Go")
        assert len(failures) == 1

    async def test_a_plan_is_kept(self, write: Callable[..., Path]) -> None:
        todos = {"todos": [{"content": "Look", "status": "in_progress"}]}
        says = Script(ToolUse("write_todos", todos), "Planned.")
        await ask(compiled(write("[{todo_list: {}}]"), {"a": says}), "Plan it")
        assert "Look" in says.calls[-1][-1].text
        assert "write_todos" in says.calls[0][0].text

    async def test_a_model_picks_the_tools_unseen(self, write: Callable[..., Path]) -> None:
        says = Script(Step(text="Done."))
        small = Script({"tools": ["look"]})
        file = write("[{tool_selection: {most: 1, always: [shaky], model: small}}]")
        service = ChatService(compiled(file, {"a": says, "small": small}))
        events = [event async for event in service.stream("Where?")]
        assert "".join(event.data for event in events if event.type == "token") == "Done."
        assert len(small.calls) == 1

    @pytest.mark.parametrize(
        ("entry", "shown"),
        [
            ("{use: 'midtools:Shout', options: {end: '!'}}", "HELLO!"),
            ("{use: 'midtools:Shout'}", "HELLO"),
            ("{use: 'midtools:made'}", "HELLO?"),
        ],
    )
    async def test_ones_own_by_import_path(self, write: Callable[..., Path], entry: str, shown: str) -> None:
        says = Script("Hi.")
        await ask(compiled(write(f"[{entry}]"), {"a": says}), "hello")
        assert says.calls[0][-1].text == shown

    async def test_the_first_is_outermost(self, write: Callable[..., Path]) -> None:
        says = Script("Hi.")
        file = write("[{use: 'midtools:Shout', options: {end: '!'}}, {pii: {type: email}}]")
        await ask(compiled(file, {"a": says}), "ana@example.org")
        assert says.calls[0][-1].text == "[REDACTED_EMAIL]!"


ENTRY_POINT = """
from langchain.agents.middleware import AgentMiddleware
from agentkit.blueprints.fields import Section
from agentkit.blueprints.middleware import MiddlewareType
from midtools import Shout

class Options(Section):
    end: str = "."

SHOUT = MiddlewareType(Options, lambda options, parts: Shout(options.end + parts.agent))
"""


class TestInstalled:
    @pytest.fixture
    def installed(self, tmp_path: Path, write: Callable[..., Path]) -> Callable[..., Path]:
        """A distribution beside the blueprint that registers two middlewares."""
        (tmp_path / "loud.py").write_text(ENTRY_POINT)
        info = tmp_path / "loud-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(
            "[agentkit.middleware]\nloud = loud:SHOUT\nlouder = midtools:Shout\ngone = nowhere:X\n"
        )
        return write

    @pytest.fixture(autouse=True)
    def _forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(MIDDLEWARE, "_found", {})
        monkeypatch.delitem(__import__("sys").modules, "loud", raising=False)

    async def test_it_is_found_by_its_name(self, installed: Callable[..., Path]) -> None:
        says = Script("Hi.")
        await ask(compiled(installed("[{loud: {end: ' says '}}]"), {"a": says}), "hello")
        assert says.calls[0][-1].text == "HELLO says a"
        says = Script("Hi.")
        await ask(compiled(installed("[{louder: {end: '!'}}]"), {"a": says}), "hello")
        assert says.calls[0][-1].text == "HELLO!"

    async def test_a_check_and_the_schema_run_none_of_its_code(self, installed: Callable[..., Path]) -> None:
        load(installed("[{loud: {ends: 3}}]"), prompts=prompts())
        entry = json_schema()["$defs"]["MiddlewareEntry"]["properties"]["loud"]
        assert entry["type"] == "object"
        assert "loud" not in __import__("sys").modules

    async def test_its_options_are_checked_when_it_is_made(self, installed: Callable[..., Path]) -> None:
        wrong = "options of the middleware 'loud' of 'a' are wrong: ends: Extra inputs"
        with pytest.raises(ConfigurationError, match=wrong):
            compiled(installed("[{loud: {ends: 3}}]"), {})
        with pytest.raises(ConfigurationError, match=r"'louder' of 'a' cannot be made: TypeError: .*'ends'"):
            compiled(installed("[{louder: {ends: 3}}]"), {})
        with pytest.raises(ConfigurationError, match="'gone' .* cannot be made: ModuleNotFoundError"):
            compiled(installed("[{gone: {}}]"), {})

    async def test_it_is_among_the_valid_names(self, installed: Callable[..., Path]) -> None:
        (fault,) = faults(installed("[{lound: {}}]"))
        assert "Unknown middleware 'lound'. Did you mean 'loud'?" in fault


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ("[{sumarize: {}}]", "15:19: Unknown middleware 'sumarize'. Did you mean 'summarize'? Valid: "),
        ("[{summarize: {at_token: 9}}]", "15:31: Unknown key 'at_token'. Did you mean 'at_tokens'? Valid: "),
        (
            "[{summarize: {at_tokens: many}}]",
            "15:42: agents.0.middleware.0.summarize.at_tokens: must be a whole number",
        ),
        (
            "[{summarize: {model: mian}}]",
            "15:38: Unknown model 'mian'. Did you mean 'main'? Valid: main, small.",
        ),
        ("[{summarize: {prompt: {ref: nowhere}}}]", "Unknown prompt 'nowhere'"),
        (
            "[{summarize: {prompt: {ref: combine}}}]",
            "needs answers, but as summary prompt it gets: messages.",
        ),
        ("[{pii: {type: emial}}]", "the type 'emial' needs a pattern. Did you mean 'email'?"),
        ("[{pii: {type: x, pattern: '('}}]", "is no regular expression"),
        ("[{pii: {type: ip, input: false}}]", "looks into nothing"),
        ("[{pii: {type: ip}}, {pii: {type: ip}}]", "15:37: The middleware 'pii' is listed twice."),
        ("[{summarize: {}, todo_list: {}}]", "15:18: A middleware is one name with its options"),
        ("[{}]", "15:18: A middleware is one name with its options"),
        ("[todo_list]", "15:18: agents.0.middleware.0: must be a mapping of keys to values, not text."),
        ("[{todo_list: }]", "15:19: todo_list: its options must be a mapping, at least {}."),
        ("[{tool_call_limit: {}}]", "the key 'limit' is missing."),
        ("[{use: 'os:system'}]", "'os:system' is not under security.allowed_modules."),
        ("[{use: system}]", "use: must be module:attribute."),
        ("[{use: 'midtools:Shout', option: {}}]", "Unknown key 'option'. Did you mean 'options'?"),
        ("[{options: {}}]", "use: must be module:attribute."),
    ],
)
def test_faults_have_their_place(write: Callable[..., Path], entries: str, fault: str) -> None:
    (said,) = faults(write(entries))
    assert fault in said


def test_the_blueprints_own_list_is_checked_too(write: Callable[..., Path]) -> None:
    (said,) = faults(write(everyone="[{pi: {}}]"))
    assert said.startswith("8:15: Unknown middleware 'pi'. Did you mean 'pii'?")


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ("[{tool_retry: {tools: [lok]}}]", "Unknown tool 'lok'. Did you mean 'look'?"),
        ("[{use: 'midtools:broken', options: {x: 1}}]", "cannot be made: RuntimeError: no such luck"),
        ("[{use: 'midtools:nothing'}]", "is no LangChain AgentMiddleware"),
        ("[{use: 'midtools:made', options: {end: x}}]", "is made already and takes no options"),
        ("[{use: 'midtools:nobody'}]", "The middleware 'midtools:nobody' cannot be imported"),
        ("[{use: 'midtools:made'}, {use: 'midtools:Shout'}]", "has two middlewares called 'Shout'"),
    ],
)
def test_what_cannot_be_made_says_why(write: Callable[..., Path], entries: str, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=wrong):
        compiled(write(entries), {})


@pytest.mark.parametrize(
    ("entry", "fits"),
    [
        ({"summarize": {"at_tokens": "${param:n}", "prompt": {"ref": "x"}}}, True),
        ({"pii": {"type": "email", "strategy": "mask"}}, True),
        ({"use": "a:b", "options": {"x": 1}}, True),
        ({"summarize": {"at_token": 3}}, False),
        ({"sumarize": {}}, False),
        ({"tool_call_limit": {}}, False),
        ({}, False),
    ],
)
def test_the_editor_knows_the_options(entry: dict[str, Any], fits: bool) -> None:
    blueprint = {"apiVersion": "agentkit/v1", "kind": "Blueprint", "name": "x", "middleware": [entry]}
    validator = jsonschema.Draft202012Validator(json.loads(json.dumps(json_schema())))
    assert validator.is_valid(blueprint) is fits


def test_the_document_lists_every_option() -> None:
    text = (Path(__file__).parents[2] / "docs" / "middleware.md").read_text()
    for name in MIDDLEWARE:
        kind = MIDDLEWARE.get(name)
        assert f"`{name}" in text
        for option in kind.options.model_fields:
            assert f"`{name}.{option}`" in text, f"{name}.{option}"
