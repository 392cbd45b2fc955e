"""Models served by Ollama.

Options: `context_tokens` (Ollama's `num_ctx`), `keep_alive`, and Ollama's own model options
(`top_p`, `seed`, `num_gpu`, …), which are passed on.
See https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import httpx
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_ollama import ChatOllama
from ollama import ResponseError

from agentkit.errors import ProviderError
from agentkit.llm._loops import PerLoop
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec, merged
from agentkit.llm.secrets import reveal

DEFAULT_MODEL = "qwen3:8b"

_RETRYABLE = frozenset({408, 429, 500, 502, 503, 504})
_NOT_FOUND = 404
_CONNECT_SECONDS = 5.0
_DESCRIBE_SECONDS = 10.0


class OllamaProvider(LLMProvider):
    """A model of an Ollama server. See the module for its options."""

    name = "ollama"

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        super().__init__(config, context)
        options = reveal(config.options)
        self._keep_alive = options.pop("keep_alive", None)
        if (size := options.pop("context_tokens", None)) is not None:
            options["num_ctx"] = size
        self._options = options
        self._models = PerLoop(
            lambda: ChatOllama(model=self.model, base_url=context.ollama_base_url, client_kwargs=_http())
        )

    @property
    def model(self) -> str:
        """Name with tag; `latest` is Ollama's default tag."""
        name = self.config.model or DEFAULT_MODEL
        return name if ":" in name.rpartition("/")[2] else f"{name}:latest"

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `messages`; see `LLMProvider.chat`. Ollama has no `tool_choice` but `none`."""
        if not stream:
            if chunk := await merged(self.chat(messages, tools=tools, **options)):
                yield chunk
            return
        request: dict[str, Any] = {"options": self._model_options(options), "keep_alive": self._keep_alive}
        if tools and options.get("tool_choice") != "none":
            request["tools"] = list(tools)
        if response_format := options.get("response_format"):
            request["response_format"] = response_format
        called = False
        try:
            # _astream is LangChain's own seam; astream() would open a second run inside ours.
            async for part in self._models.get()._astream(list(messages), **request):  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                chunk = cast("AIMessageChunk", part.message)
                called = called or bool(chunk.tool_calls)
                yield self._chunk(chunk, part.generation_info, called=called)
        except (ResponseError, httpx.HTTPError, ConnectionError, json.JSONDecodeError) as error:
            raise self._mapped(error) from error

    def _model_options(self, options: dict[str, Any]) -> dict[str, Any]:
        chosen = {
            "temperature": options.get("temperature", self.config.temperature),
            "num_predict": options.get("max_tokens", self.config.max_tokens),
            "stop": options.get("stop"),
        }
        return {**self._options, **{key: value for key, value in chosen.items() if value is not None}}

    def _chunk(self, chunk: AIMessageChunk, info: dict[str, Any] | None, *, called: bool) -> AIMessageChunk:
        if not info or not info.get("done"):
            return chunk
        reason = "tool_calls" if called else info.get("done_reason")
        chunk.response_metadata = {
            "model_name": self.model,
            "model_provider": self.name,
            "finish_reason": reason,
        }
        chunk.chunk_position = "last"
        return chunk

    def _mapped(self, error: Exception) -> ProviderError:
        url = self.context.ollama_base_url
        match error:
            case ResponseError(status_code=404):
                return self.error(
                    f"Ollama at {url} has no model {self.model}.",
                    status=_NOT_FOUND,
                    hint=f"Run: ollama pull {self.model}",
                )
            case ResponseError():
                status = error.status_code if error.status_code > 0 else None
                retryable = status is None or status in _RETRYABLE
                return self.error(f"Ollama: {error.error}", status=status, is_retryable=retryable)
            case httpx.ConnectError() | httpx.ConnectTimeout() | ConnectionError():
                return self.error(
                    f"Ollama does not answer at {url}.", is_retryable=True, hint="Start it with: ollama serve"
                )
            case _:
                return self.error(
                    f"The connection to Ollama at {url} broke off: {type(error).__name__} {error}".strip(),
                    is_retryable=True,
                )

    async def health_check(self) -> Health:
        """Whether Ollama answers and has the model."""
        try:
            models = await self.list_models()
        except ProviderError as error:
            return Health(ok=False, detail=str(error))
        if self.model in models:
            return Health(ok=True, detail=f"{self.model} at {self.context.ollama_base_url}")
        return Health(ok=False, detail=f"{self.model} is not pulled.\nollama pull {self.model}")

    async def get_model_info(self) -> ModelInfo:
        """Describe the model from `/api/show`."""
        shown = await self._get("POST", "/api/show", {"model": self.model})
        facts = cast("dict[str, Any]", shown.get("model_info") or {})
        context = next((value for key, value in facts.items() if key.endswith(".context_length")), None)
        tools = "tools" in (shown.get("capabilities") or ())
        return ModelInfo(
            self.name,
            self.model,
            self._options.get("num_ctx", context),
            native_tools=tools,
            structured_output="native",
            tool_choice=False,
        )

    async def list_models(self) -> list[str]:
        """Names of the models that are pulled."""
        tags = await self._get("GET", "/api/tags")
        return sorted(str(entry["name"]) for entry in tags.get("models", ()))

    async def _get(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        url = self.context.ollama_base_url.rstrip("/") + path
        try:
            async with asyncio.timeout(_DESCRIBE_SECONDS), httpx.AsyncClient(**_http()) as client:
                response = await client.request(method, url, json=body)
        except TimeoutError as error:
            raise self.error(f"Ollama at {url} did not answer in time.", is_retryable=True) from error
        except httpx.HTTPError as error:
            raise self._mapped(error) from error
        if not response.is_success:
            raise self._mapped(ResponseError(response.text, response.status_code))
        try:
            return response.json()
        except json.JSONDecodeError as error:
            raise self.error(f"What answers at {url} is not Ollama.", hint="Check the base URL.") from error


def _http() -> dict[str, Any]:
    return {
        "timeout": httpx.Timeout(None, connect=_CONNECT_SECONDS),
        "limits": httpx.Limits(max_keepalive_connections=0),  # idle ones could outlive their loop
        "follow_redirects": False,  # nothing goes anywhere but to the address configured
        "trust_env": False,
    }
