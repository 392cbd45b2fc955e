"""Models served by vLLM, through its OpenAI-compatible API.

`model` is the name vLLM serves (`--served-model-name`). Options: `api_key` if the server was
started with one, `base_url`, and the fields of the request, vLLM's own included (`top_k`,
`repetition_penalty`, `chat_template_kwargs`, …). A `response_format` with a JSON schema is
held to by vLLM's guided decoding. Tools need a server started with `--enable-auto-tool-choice`,
or `tool_calls: json`.
See https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html.
"""

from typing import Any

from pydantic import SecretStr

from agentkit.errors import ConfigurationError
from agentkit.llm.base import LLMConfig, ModelInfo, ProviderContext
from agentkit.llm.providers.openai import OpenAIProvider

DEFAULT_BASE_URL = "http://127.0.0.1:8000/v1"

_BAD_REQUEST = 400


class VLLMProvider(OpenAIProvider):
    """A model of a vLLM server. See the module for its options."""

    name = "vllm"
    title = "vLLM"
    key_variable = "the model's option api_key"

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        if not config.model:
            raise ConfigurationError(
                "The provider 'vllm' needs a model.", hint="Set it to the name that vLLM serves."
            )
        super().__init__(config, context)

    def _configured_key(self) -> SecretStr | None:
        return SecretStr("EMPTY")  # vLLM's own word for no key; the SDK insists on one

    def _base_url(self) -> str:
        return self.context.vllm_base_url or DEFAULT_BASE_URL

    def _chat_class(self) -> Any:
        # The class below ChatOpenAI: it sends `max_tokens`, which old servers know as well.
        return self._langchain.chat_models.base.BaseChatOpenAI

    def _takes_temperature(self, model: Any) -> bool:  # noqa: ARG002 - whatever the name
        return True

    def _hint(self, status: int, text: str) -> str | None:
        if status == _BAD_REQUEST and ("--enable-auto-tool-choice" in text or "--tool-call-parser" in text):
            return (
                "Start vLLM with --enable-auto-tool-choice and --tool-call-parser, "
                "or set the model's tool_calls: json."
            )
        return super()._hint(status, text)

    async def get_model_info(self) -> ModelInfo:
        """Describe the model; vLLM adds `max_model_len` to its list of models."""
        return await self._described(self._info())

    async def _info(self) -> ModelInfo:
        entries = {entry.id: entry async for entry in (await self._connections.get()).client.models.list()}
        context = getattr(entries.get(self.model), "max_model_len", None)
        return ModelInfo(self.name, self.model, context, native_tools=True, structured_output="native")
