"""Models of OpenAI, and of whatever speaks its Chat Completions API.

Any model name is passed on. Options: `api_key`, `base_url`, and the fields of the request
(`top_p`, `seed`, `reasoning_effort`, …), which are sent as they are.
See https://platform.openai.com/docs/api-reference/chat.
"""

from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from pydantic import SecretStr

from agentkit.llm.base import ToolSpec
from agentkit.llm.providers._http import trust
from agentkit.llm.providers._sdk import SDKProvider

DEFAULT_MODEL = "gpt-4.1-mini"


class OpenAIProvider(SDKProvider):
    """A model of OpenAI. See the module for its options."""

    name = "openai"
    sdk_name = "openai"
    langchain_name = "langchain_openai"
    extra = "openai"
    title = "OpenAI"
    key_variable = "OPENAI_API_KEY"
    root_error = "OpenAIError"

    @property
    def model(self) -> str:
        """The configured name, whatever it is."""
        return self.config.model or DEFAULT_MODEL

    def _configured_key(self) -> SecretStr | None:
        return self.context.openai_api_key

    def _base_url(self) -> str:
        return self.context.openai_base_url or "https://api.openai.com/v1"

    def _build(self, http: Any, timeout: Any) -> tuple[Any, Any]:
        model = self._chat_class()(
            model=self.model,
            api_key=self._key,
            base_url=self._url,
            http_async_client=http,
            http_client=self._sdk.DefaultHttpxClient(verify=trust(), trust_env=False),  # unused, but made
            openai_proxy=None,  # else LangChain asks the environment, and refuses it beside a client
            timeout=timeout,
            max_retries=0,  # retrying is the gateway's; the SDK would make two hidden attempts
            use_responses_api=False,  # Chat Completions is what all compatible servers have
            stream_usage=True,  # off by default for any address but OpenAI's own
            stream_chunk_timeout=None,  # timeouts are the gateway's too
        )
        return model, model.root_async_client

    def _chat_class(self) -> Any:
        return self._langchain.ChatOpenAI

    def _request(
        self, model: Any, tools: Sequence[ToolSpec] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        request = self._chosen(options)
        if not self._takes_temperature(model):
            request.pop("temperature", None)
        # Not as arguments: the SDK knows only OpenAI's own fields, and LangChain would have a
        # `response_format` parsed by the SDK, which then fails on an answer that was cut short.
        body = dict(self._options)
        if response_format := options.get("response_format"):
            body["response_format"] = response_format
        if body:
            request["extra_body"] = body
        if tools:
            request |= model.bind_tools(tools, tool_choice=options.get("tool_choice")).kwargs
        return request

    def _takes_temperature(self, model: Any) -> bool:
        """Reasoning models refuse it; LangChain's table says which."""
        return bool(cast("dict[str, Any]", model.profile or {}).get("temperature", True))

    def _astream(
        self, model: Any, messages: list[BaseMessage], request: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        # ChatOpenAI's own generator only picks between two APIs and wraps this one, and a wrapped
        # generator is closed late. Chat Completions is what all compatible servers have.
        return self._langchain.chat_models.base.BaseChatOpenAI._astream(model, messages, **request)  # noqa: SLF001
