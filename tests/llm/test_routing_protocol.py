"""Routing by a model whose server answers a `response_format` with 400, over HTTP."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage

from agentkit.graphs.routing import AgentCard, LLMRouting, Routing
from agentkit.llm import GatewayChatModel, LLMConfig, ProviderContext
from agentkit.llm.providers.openai import OpenAIProvider
from agentkit.weights import WeightsStore

from .upstream import Exchange, Upstream
from .wires.openai import MODEL, OpenAIWire

AGENTS = (AgentCard("kubernetes", "pods"), AgentCard("python", "code"))
REFUSAL = {
    "error": {
        "message": "This model's server does not support response_format of type json_schema.",
        "type": "invalid_request_error",
        "param": "response_format",
        "code": None,
    }
}


def _message(request: dict[str, Any], agent: str) -> dict[str, Any]:
    """A tool call as Chat Completions answers it, of the tool that was offered."""
    name = request["tools"][0]["function"]["name"]
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": name, "arguments": f'{{"agent": "{agent}"}}'},
    }
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    usage = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": MODEL,
        "choices": choices,
        "usage": usage,
    }


def _routing(url: str) -> Routing:
    context = ProviderContext(WeightsStore("unused"))
    config = LLMConfig("openai", model=MODEL, options={"api_key": "k", "base_url": url})
    model = GatewayChatModel(provider=OpenAIProvider(config, context))
    return Routing((LLMRouting(model, "Choose:\n{}".format),))


async def test_a_server_without_response_format_is_given_a_tool() -> None:
    async def serve(request: dict[str, Any], exchange: Exchange) -> None:
        if "response_format" in request:
            await exchange.reply(400, {}, REFUSAL)
        else:
            await exchange.reply(200, {}, _message(request, "python"))

    async with Upstream(OpenAIWire(), serve=serve) as server:
        routing = _routing(server.url)
        for _ in range(2):
            route = await routing.decide([HumanMessage("generators")], AGENTS)
            assert (route["agents"], route["method"]) == (["python"], "llm")
            assert route["reason"] == (
                "the routing model chose python by the tool delegate: its provider refuses a response format"
            )
        requests = server.requests
    assert ["response_format" in request for request in requests] == [True, False, False]
    schema = requests[1]["tools"][0]["function"]["parameters"]
    assert schema["properties"]["agent"]["enum"] == ["kubernetes", "python", "none"]
    assert requests[1]["tool_choice"] == "required"


async def test_an_agent_there_is_not_is_asked_for_again_and_then_answered_directly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def serve(request: dict[str, Any], exchange: Exchange) -> None:
        if "response_format" in request:
            await exchange.reply(400, {}, REFUSAL)
        else:
            await exchange.reply(200, {}, _message(request, "banker"))

    async with Upstream(OpenAIWire(), serve=serve) as server:
        route = await _routing(server.url).decide([HumanMessage("generators")], AGENTS)
        requests = server.requests
    assert (route["agents"], route["method"]) == ([], "direct")
    assert len(requests) == 3
    assert requests[1]["messages"] != requests[2]["messages"]
    assert "names no agent" in caplog.text
