"""An agent's answer held to a JSON schema."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, cast

from langchain.agents.middleware import AgentState, ModelRequest, ModelResponse
from langchain.agents.structured_output import ProviderStrategy, StructuredOutputValidationError
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from agentkit.context import RunContext
from agentkit.errors import StructuredOutputError
from agentkit.extras import require
from agentkit.graphs.around import AroundModel

ATTEMPTS = 3
"""How often a model is asked for an answer that fits."""


class _Error(Protocol):
    message: str
    json_path: str


class _Validator(Protocol):
    def iter_errors(self, instance: object) -> "list[_Error]": ...


def response_format(agent: str, schema: Mapping[str, Any]) -> ProviderStrategy[dict[str, Any]]:
    """What `create_agent` asks the gateway for; it finds the way to it that the model has."""
    named = {**schema, "title": f"{agent}_answer"}
    return ProviderStrategy(cast("Any", named), strict=True)


class OutputMiddleware(AroundModel[AgentState[Any]]):
    """Checks an agent's answers against its schema, and asks again for one that does not fit.

    Args:
        agent: Whose answers they are.
        schema: JSON Schema (2020-12) without references.
        again: Makes the request for another answer, from what is wrong.

    Raises:
        MissingExtraError: The package jsonschema is not installed.
    """

    def __init__(self, agent: str, schema: Mapping[str, Any], again: Callable[[str], str]) -> None:
        super().__init__()
        jsonschema = require("jsonschema", extra="output", purpose="The key output of an agent")
        self._validator = cast("_Validator", jsonschema.Draft202012Validator(schema))
        self._agent = agent
        self._again = again

    @property
    def name(self) -> str:
        """Name in traces."""
        return "output"

    async def around_model(
        self,
        request: ModelRequest[RunContext],
        handler: Callable[[ModelRequest[RunContext]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Ask the model until its answer fits, or it calls tools.

        Raises:
            StructuredOutputError: No answer fits.
        """
        messages: list[AnyMessage] = request.messages
        wrong = ""
        for _ in range(ATTEMPTS):
            try:
                response = await handler(request.override(messages=messages))
            except StructuredOutputValidationError as error:
                said = error.ai_message
                wrong = _not_json(said)
            else:
                last = response.result[-1]
                if not isinstance(last, AIMessage) or last.tool_calls:
                    return response
                said, wrong = last, self._wrong(response.structured_response)
                if not wrong:
                    return response
            messages = [*request.messages, AIMessage(said.text), HumanMessage(self._again(wrong))]
        raise StructuredOutputError(
            f"No answer of {self._agent!r} fits its output schema after {ATTEMPTS} attempts: {wrong}",
            hint="Make the schema simpler, describe its fields, or give the agent a larger model.",
        )

    def _wrong(self, value: object) -> str:
        """What does not fit, or an empty string."""
        error = next(iter(self._validator.iter_errors(value)), None)
        return "" if error is None else f"{error.message[:200]} (at {error.json_path})"


def _not_json(message: AIMessage) -> str:
    try:
        json.loads(message.text)
    except ValueError as error:
        return f"it is no JSON: {error}"
    return "it is no JSON object"
