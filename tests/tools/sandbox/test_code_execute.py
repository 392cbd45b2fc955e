"""`code_execute` from the model's side: in a blueprint, through the chat service, on scripted models."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from agentkit.blueprints import load
from agentkit.blueprints.compiler import Parts, compile_blueprint
from agentkit.errors import SandboxError, SandboxUnavailableError
from agentkit.events import EventBus
from agentkit.graphs.bridge import Graph
from agentkit.llm.gateway import LLMGateway
from agentkit.prompts import PromptManager
from agentkit.resources import search_path
from agentkit.services.chat import ChatService
from agentkit.tools import TOOLS
from agentkit.tools.implementations.code import CodeExecute, code_execute, describe
from agentkit.tools.sandbox import Limits, Sandbox, SandboxResult
from agentkit.tools.sandbox.auto import AutoSandbox
from agentkit.weights import WeightsStore

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sandboxes are made of Linux")

BLUEPRINT = """
apiVersion: agentkit/v1
kind: Blueprint
name: counting
models:
  main: {{provider: scripted, options: {{replies: {replies}}}}}
routing: {{strategy: [llm]}}
agents:
  - name: counter
    description: Calculates.
    prompt: {{ref: agents/python}}
    tools:
      - {{name: code_execute}}
"""


def compiled(folder: Path, *replies: Any) -> Graph:
    file = folder / "counting.yaml"
    file.write_text(BLUEPRINT.format(replies=json.dumps([{"agent": "counter"}, *replies])))
    blueprint = load(file, prompts=PromptManager(search_path("prompts")), tools=TOOLS.names())
    gateway = LLMGateway({}, events=EventBus(), weights=WeightsStore(folder))
    return compile_blueprint(blueprint, Parts(gateway, None, None, None, EventBus(), None))


def call(code: str) -> dict[str, Any]:
    return {"tool": "code_execute", "arguments": {"code": code}}


async def test_an_agent_runs_code_and_answers_with_what_came_of_it(tmp_path: Path) -> None:
    graph = compiled(tmp_path, call("print(sum(n * n for n in range(1000)))"), "It is 332833500.")
    answer = await ChatService(graph).ask("What is the sum of the squares below 1000?")
    assert answer.answer == "It is 332833500."
    assert [(used.name, used.result) for used in answer.tool_calls] == [("code_execute", "332833500")]


async def test_what_the_code_does_wrong_is_something_the_model_can_mend(tmp_path: Path) -> None:
    replies = (
        call("print(undefined)"),
        call("open('/etc/passwd')"),
        call("while 1: print('x' * 9999)"),
        "No.",
    )
    answer = await ChatService(compiled(tmp_path, *replies)).ask("Try.")
    assert answer.answer == "No."
    first, second, third = (used.result or "" for used in answer.tool_calls)
    assert first.endswith("NameError: name 'undefined' is not defined")
    assert "/etc/passwd" in second
    assert "Error" in second
    assert "characters left out]" in third
    assert third.endswith("[stopped: it printed more than it may]")


async def test_several_calls_of_one_turn_are_several_runs(tmp_path: Path) -> None:
    calls = [call("x = 1\nprint(x)"), call("print('x' in globals())")]
    answer = await ChatService(compiled(tmp_path, calls, "Done.")).ask("Both.")
    assert sorted(used.result or "" for used in answer.tool_calls) == ["1", "False"]


async def test_without_a_sandbox_the_blueprint_does_not_compile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(_: object) -> None:
        raise SandboxUnavailableError({"bubblewrap": "the program bwrap is not installed", "landlock": "no"})

    monkeypatch.setattr(AutoSandbox, "ensure_available", none)
    with pytest.raises(SandboxUnavailableError, match="No sandbox works here, so code is not run") as caught:
        compiled(tmp_path, "Never.")
    assert caught.value.code == "sandbox_unavailable"
    assert "\n  bubblewrap: the program bwrap is not installed\n  landlock: no" in str(caught.value)


class Failing(Sandbox):
    """Fails in a way of its own."""

    name = "failing"

    def __init__(self, error: Exception) -> None:
        self.error = error

    def ensure_available(self) -> None:
        raise self.error

    async def run(self, code: str, *, files: Any = None) -> SandboxResult:
        raise self.error


async def test_a_sandbox_that_fails_is_a_result() -> None:
    tool = CodeExecute(sandbox=Failing(SandboxError("The sandbox did not start.")))
    assert await tool.ainvoke({"code": "1"}) == "[not run: The sandbox did not start.]"
    tool = CodeExecute(sandbox=AutoSandbox(limits=Limits(code=10)))
    assert await tool.ainvoke({"code": "#" * 11}) == "[not run: The code has 11 bytes; at most 10 are run.]"


def test_the_artifact_has_the_files() -> None:
    message = code_execute.invoke(
        {
            "type": "tool_call",
            "name": "code_execute",
            "id": "1",
            "args": {"code": "open('a', 'w').write('b')"},
        }
    )
    assert message.content == "1\n[files: a (1 bytes)]"
    assert message.artifact["files"] == {"a": b"b"}
    assert (message.artifact["exit"], message.artifact["stdout"]) == ("ok", "1\n")


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (SandboxResult(exit="ok", stdout="a\n", stderr="b\n"), "a\nb"),
        (SandboxResult(exit="ok"), "[it ended without printing anything; print what you want to know]"),
        (SandboxResult(exit="error"), "[it ended with an error status]"),
        (SandboxResult(exit="timeout", stdout="a"), "a\n[stopped: it ran longer than it may]"),
        (SandboxResult(exit="killed"), "[it crashed, or did something that is not allowed]"),
        (
            SandboxResult(exit="ok", stdout="a", left_out=("x", "y")),
            "a\n[files left out, too many, too large or links: x, y]",
        ),
        (
            SandboxResult(exit="ok", stdout="a" * 5000 + "b" * 5000),
            "a" * 4000 + "\n[2000 characters left out]\n" + "b" * 4000,
        ),
    ],
)
def test_what_the_model_reads(result: SandboxResult, text: str) -> None:
    assert describe(result) == text


def test_the_schema_asks_for_code_only() -> None:
    assert code_execute.args.keys() == {"code"}
    assert TOOLS.get("code_execute") is code_execute
