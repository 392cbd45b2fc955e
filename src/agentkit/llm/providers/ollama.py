"""Models served by Ollama.

Options: `context_tokens` (Ollama's `num_ctx`), `keep_alive`, and Ollama's own model options
(`top_p`, `seed`, `num_gpu`, …), which are passed on.
See https://github.com/ollama/ollama/blob/main/docs/api.md.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any, cast

import httpx
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_ollama import ChatOllama
from ollama import RequestError, ResponseError
from pydantic import ValidationError

from agentkit.errors import ProviderError
from agentkit.llm._loops import PerLoop
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec, merged
from agentkit.llm.providers._http import (
    REDIRECTS,
    causes,
    certificate_hint,
    connect_timeout,
    never_connected,
    redirected,
    retry_after,
    retryable,
    shown,
    trust,
)
from agentkit.secrets import reveal

DEFAULT_MODEL = "qwen3:8b"

_NOT_FOUND = 404
_DESCRIBE_SECONDS = 10.0
_EXCERPT = 500

# What the ollama package and LangChain raise for answers they cannot read and messages they cannot
# send is Python's own: the package parses without checking.
_ERRORS = (
    RequestError,
    ResponseError,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


class _Chat(ChatOllama):
    """LangChain's model in two steps, so that whoever opens the SDK's stream can also close it."""

    async def open(self, messages: list[BaseMessage], request: dict[str, Any]) -> AsyncGenerator[Any, None]:
        """Return the SDK's stream; the request is made when it is first read."""
        client: Any = self._async_client
        return await client.chat(**self._chat_params(messages, **request))

    def read(
        self, messages: list[BaseMessage], source: AsyncIterator[Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        """Make LangChain's chunks of the SDK's."""
        chunks = self._aiterate_over_stream(messages, source=source)
        return cast("AsyncGenerator[ChatGenerationChunk, None]", chunks)

    def _acreate_chat_stream(
        self,
        messages: list[BaseMessage],  # noqa: ARG002 - LangChain's signature
        stop: list[str] | None = None,  # noqa: ARG002 - as above
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Where LangChain would open the stream: it is open already."""
        return kwargs["source"]


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
        self._url = shown(context.ollama_base_url)
        self._models = PerLoop(
            lambda: _Chat(model=self.model, base_url=context.ollama_base_url, client_kwargs=self._http())
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
        called = done = False
        try:
            model, said = self._models.get(), list(messages)
            # LangChain's own seams; astream() would open a second run inside ours. Both streams are
            # closed here: closing hangs up, and left to Python they fail at the end of their loop.
            source = await model.open(said, request)
            async with aclosing(source), aclosing(model.read(said, source)) as parts:
                async for part in parts:
                    chunk = cast("AIMessageChunk", part.message)
                    called = called or bool(chunk.tool_calls)
                    done = done or bool(part.generation_info and part.generation_info.get("done"))
                    yield self._chunk(chunk, part.generation_info, called=called)
        except _ERRORS as error:
            raise self._mapped(error) from error
        if not done:
            raise self.error(
                f"Ollama at {self._url} ended the stream before the answer was complete.",
                is_retryable=True,
            )

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
        """Say once what any exception from below means."""
        text = str(getattr(error, "error", error))[:_EXCERPT]
        if isinstance(error, ResponseError):
            return self._refused(error, text)
        if never_connected(error):
            return connect_timeout(self, "Ollama", self._url)
        if isinstance(error, httpx.ConnectError | ConnectionError):
            return self.error(
                f"Ollama does not answer at {self._url}.",
                is_retryable=True,
                hint=certificate_hint(error) or "Start it with: ollama serve",
            )
        if isinstance(error, httpx.HTTPError | httpx.StreamError | OSError | EOFError):
            broken = f"{type(error).__name__} {text}".strip()
            return self.error(
                f"The connection to Ollama at {self._url} broke off: {broken}", is_retryable=True
            )
        if _unreadable(error):
            return self.error(
                f"Ollama at {self._url} sent what is no answer of Ollama's: {text}",
                is_retryable=True,
                hint="Is something else between, or at that address?",
            )
        return self.error(f"Ollama: {text}")

    def _refused(self, error: ResponseError, text: str) -> ProviderError:
        if error.status_code == _NOT_FOUND:
            return self.error(
                f"Ollama at {self._url} has no model {self.model}.",
                status=_NOT_FOUND,
                hint=f"Run: ollama pull {self.model}",
            )
        if error.status_code in REDIRECTS:
            return redirected(self, "Ollama", self._url, error.status_code)
        status = error.status_code if error.status_code > 0 else None
        # The package drops the headers; the error it came from still has them.
        responses = [one.response for one in causes(error) if isinstance(one, httpx.HTTPStatusError)]
        return self.error(
            f"Ollama: {text}",
            status=status,
            retry_after=retry_after(responses[0].headers) if responses else None,
            is_retryable=status is None or retryable(status),
        )

    async def health_check(self) -> Health:
        """Whether Ollama answers and has the model."""
        try:
            models = await self.list_models()
        except ProviderError as error:
            return Health(ok=False, detail=str(error))
        if self.model in models:
            return Health(ok=True, detail=f"{self.model} at {self._url}")
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
            async with asyncio.timeout(_DESCRIBE_SECONDS), httpx.AsyncClient(**self._http()) as client:
                response = await client.request(method, url, json=body)
                if not response.is_success:
                    raise ResponseError(response.text, response.status_code)
                found = response.json()
        except TimeoutError as error:
            raise self.error(f"Ollama at {self._url} did not answer in time.", is_retryable=True) from error
        except _ERRORS as error:
            if isinstance(error, ValueError):
                found = None
            else:
                raise self._mapped(error) from error
        if not isinstance(found, dict):
            raise self.error(f"What answers at {shown(url)} is not Ollama.", hint="Check the base URL.")
        return cast("dict[str, Any]", found)

    def _http(self) -> dict[str, Any]:
        return {
            # Answers take as long as the call's own timeout allows.
            "timeout": httpx.Timeout(None, connect=self.config.timeouts.connect),
            "limits": httpx.Limits(max_keepalive_connections=0),  # idle ones could outlive their loop
            "follow_redirects": False,  # nothing goes anywhere but to the address configured
            "trust_env": False,
            "verify": trust(),
        }


def _unreadable(error: Exception) -> bool:
    """Whether an error is about the answer; what is left is about the request."""
    if isinstance(error, ValidationError):
        return error.title == "ChatResponse"
    # ValueErrors are LangChain's for messages it cannot send, unless JSON or Unicode is at fault.
    unread = json.JSONDecodeError | UnicodeError | LookupError | TypeError | AttributeError
    return isinstance(error, unread)
