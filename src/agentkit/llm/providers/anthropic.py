"""Models of Anthropic, through the Messages API.

Options: `api_key`, `base_url`, and the fields of the request (`thinking`, `top_k`,
`metadata`, …). Where Anthropic has no JSON mode, a `response_format` of `json_object` is
asked for in words; a `json_schema` is enforced by the API.
See https://docs.anthropic.com/en/api/messages.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import SecretStr

from agentkit.errors import ProviderError
from agentkit.llm.base import Health, ToolSpec
from agentkit.llm.providers._sdk import SDKProvider
from agentkit.llm.translate.wording import instructed, json_instruction

DEFAULT_MODEL = "claude-haiku-4-5"


class AnthropicProvider(SDKProvider):
    """A model of Anthropic. See the module for its options."""

    name = "anthropic"
    sdk_name = "anthropic"
    langchain_name = "langchain_anthropic"
    extra = "anthropic"
    title = "Anthropic"
    key_variable = "ANTHROPIC_API_KEY"
    root_error = "AnthropicError"

    @property
    def model(self) -> str:
        """The configured name, whatever it is."""
        return self.config.model or DEFAULT_MODEL

    def _configured_key(self) -> SecretStr | None:
        return self.context.anthropic_api_key

    def _base_url(self) -> str:
        return self.context.anthropic_base_url or "https://api.anthropic.com"

    def _build(self, http: Any, timeout: Any) -> tuple[Any, Any]:
        key = self._key.get_secret_value()
        model = self._langchain.ChatAnthropic(
            model=self.model, api_key=key, base_url=self._url, max_retries=0
        )
        client = self._sdk.AsyncAnthropic(
            api_key=key, base_url=self._url, max_retries=0, timeout=timeout, http_client=http
        )
        # LangChain would share one HTTP client among all event loops; it has no argument for ours.
        model._async_client = client  # noqa: SLF001
        return model, client

    def _request(
        self, model: Any, tools: Sequence[ToolSpec] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        request = {**self._options, **self._chosen(options)}
        # Newer models refuse it, and LangChain's table says which older ones still take it.
        if not cast("dict[str, Any]", model.profile or {}).get("temperature", False):
            request.pop("temperature", None)
        if (response_format := options.get("response_format")) and not _in_words(response_format):
            request["response_format"] = response_format
        if tools:
            choice = options.get("tool_choice")
            bound = model.bind_tools(tools, tool_choice=None if choice == "none" else choice).kwargs
            request |= bound | ({"tool_choice": {"type": "none"}} if choice == "none" else {})
        return request

    def _worded(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> list[BaseMessage]:
        if _in_words(options.get("response_format") or {}):
            return instructed(messages, json_instruction(None))
        return list(messages)

    def _astream(
        self, model: Any, messages: list[BaseMessage], request: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        return model._astream(messages, **request)  # noqa: SLF001

    async def health_check(self) -> Health:
        """Whether the API answers, takes the key and has the model; aliases are in no list."""
        try:
            await self._described(self._retrieve())
        except ProviderError as error:
            return Health(ok=False, detail=str(error))
        return Health(ok=True, detail=f"{self.model} at {self._url}")

    async def _retrieve(self) -> None:
        await (await self._connections.get()).client.models.retrieve(self.model)


def _in_words(response_format: dict[str, Any]) -> bool:
    return response_format.get("type") == "json_object"
