"""The embedded chat model: llama.cpp in this process, no server, no key, no network.

Options: `context_tokens` (default 8192), `threads` (default: the CPUs this process may
use, at most 8). `model` is a chat model of the weights catalogue, or the path of a GGUF file.
A grammar holds answers to the schema of a `response_format`. The model makes no tool calls of
its own: the gateway has it write them as JSON, see `agentkit.llm.translate`.
"""

import asyncio
import json
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, cast

import httpx
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import InputTokenDetails, UsageMetadata

from agentkit.errors import ConfigurationError, ProviderError, UnknownNameError
from agentkit.extras import installed, require
from agentkit.llm._loops import PerLoop
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec, merged
from agentkit.llm.providers._http import connect_timeout, never_connected, retry_after, retryable, trust
from agentkit.llm.providers._llama_server import LlamaServer, ServerSpec, servers

DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct"
OPTIONS = ("context_tokens", "threads")

_CONTEXT_TOKENS = 8192
_MAX_THREADS = 8
_ERROR_STATUSES = range(400, 600)
_EXCERPT = 500


class LocalProvider(LLMProvider):
    """A GGUF model run by llama.cpp in this process. See the module for its options."""

    name = "local"

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        super().__init__(config, context)
        if unknown := set(config.options) - set(OPTIONS):
            raise UnknownNameError("option of the provider 'local'", min(unknown), OPTIONS)
        self._file = Path(self.model).expanduser() if self.model.endswith(".gguf") else None
        if self._file is None and context.weights.catalogue[self.model].kind != "chat":
            chat = [name for name, entry in context.weights.catalogue.items() if entry.kind == "chat"]
            raise ConfigurationError(f"{self.model!r} is not a chat model. Valid: {', '.join(chat)}.")
        self._context_tokens = int(config.options.get("context_tokens", _CONTEXT_TOKENS))
        self._threads = int(config.options.get("threads", min(_cpus(), _MAX_THREADS)))
        self._server: LlamaServer | None = None
        # Answers take as long as the call's own timeout allows. No idle connections: they could
        # outlive their loop, and a loopback connect costs 0.1 ms.
        timeout = httpx.Timeout(None, connect=config.timeouts.connect)
        limits = httpx.Limits(max_keepalive_connections=0)
        self._clients = PerLoop(
            lambda: httpx.AsyncClient(trust_env=False, timeout=timeout, limits=limits, verify=trust())
        )

    @property
    def model(self) -> str:
        """Catalogue name or path of the weights."""
        return self.config.model or DEFAULT_MODEL

    async def start(self) -> None:
        """Fetch the weights if they are missing and load them if they are not in memory."""
        if self._server is None:
            require("xllamacpp", extra="local", purpose="The embedded chat model")
            spec = ServerSpec(await self._weights(), self._context_tokens, self._threads)
            self._server = await asyncio.to_thread(servers.acquire, spec, id(self))

    async def _weights(self) -> Path:
        if self._file is None:
            weights = await self.context.weights.aensure(self.model, self.context.progress)
            return weights.file("model.gguf")
        if not self._file.is_file():
            raise self.error(f"There is no weights file {self._file}.", hint="Check the model's path.")
        return self._file

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `messages`; see `LLMProvider.chat`."""
        if not stream:
            if chunk := await merged(self.chat(messages, tools=tools, **options)):
                yield chunk
            return
        if tools and options.get("tool_choice") != "none":
            raise self.error("The embedded model makes no tool calls.", hint="Set tool_calls: json, or auto.")
        await self.start()
        body = self._request(messages, options)
        finish: str | None = None
        usage: UsageMetadata | None = None
        async with aclosing(self._events(body)) as events:  # closing hangs up, and that stops llama.cpp
            async for event in events:
                if counts := event.get("usage"):
                    usage = _usage(counts)
                for choice in event.get("choices") or ():
                    finish = choice.get("finish_reason") or finish
                    if piece := choice["delta"].get("content"):
                        yield AIMessageChunk(content=piece)
        yield AIMessageChunk(
            content="",
            usage_metadata=usage,
            response_metadata={
                "model_name": self.model,
                "model_provider": self.name,
                "finish_reason": finish,
            },
            chunk_position="last",
        )

    def _request(self, messages: Sequence[BaseMessage], options: Mapping[str, Any]) -> dict[str, Any]:
        body = {
            "messages": [self._message(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
            "temperature": options.get("temperature", self.config.temperature),
            "max_tokens": options.get("max_tokens", self.config.max_tokens),
            "stop": options.get("stop"),
            "response_format": options.get("response_format"),
            "cache_prompt": True,
        }
        return {key: value for key, value in body.items() if value is not None}

    def _message(self, message: BaseMessage) -> dict[str, str]:
        if isinstance(message.content, list):
            for block in message.content_blocks:
                if block["type"] in ("image", "audio", "video", "file"):
                    raise self.error(f"The local model reads text only, not {block['type']} content.")
        roles = {"human": "user", "ai": "assistant", "system": "system", "tool": "user", "chat": "user"}
        return {"role": roles.get(message.type, "user"), "content": str(message.text)}

    async def _events(self, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """POST the request and yield the server-sent events' data."""
        assert self._server is not None  # noqa: S101 - start() was awaited
        headers = {"Authorization": f"Bearer {self._server.api_key}"}
        url = f"{self._server.url}/v1/chat/completions"
        try:
            async with self._clients.get().stream("POST", url, json=body, headers=headers) as response:
                if not response.is_success:
                    raise self._refused(response.status_code, await response.aread(), response.headers)
                async for line in response.aiter_lines():
                    field, _, data = line.partition(": ")
                    if data == "[DONE]":
                        return
                    if field == "error":
                        raise self._refused(None, data.encode())
                    if field == "data":
                        yield self._event(data)
            raise self.error("The embedded model's server ended before the answer did.", is_retryable=True)
        except httpx.HTTPError as error:
            if never_connected(error):
                raise connect_timeout(self, "The embedded model's server", url) from error
            raise self.error(
                f"The embedded model's server broke off: {type(error).__name__} {error}".strip(),
                is_retryable=True,
            ) from error

    def _event(self, data: str) -> dict[str, Any]:
        try:
            event = json.loads(data)
        except json.JSONDecodeError:
            event = None
        if not isinstance(event, dict):
            told = f"The embedded model's server sent what is not valid JSON: {data[:_EXCERPT]}"
            raise self.error(told, is_retryable=True)
        if "error" in event:
            raise self._refused(None, data.encode())
        return cast("dict[str, Any]", event)

    def _refused(
        self, status: int | None, body: bytes, headers: Mapping[str, str] | None = None
    ) -> ProviderError:
        try:
            fault = json.loads(body)
            fault = fault.get("error", fault)
            message = str(fault.get("message", fault))
            # An error in the middle of a stream has its status inside.
            status = fault["code"] if status is None and fault.get("code") in _ERROR_STATUSES else status
        except (json.JSONDecodeError, AttributeError):
            fault, message = {}, body.decode(errors="replace")[:_EXCERPT]
        if isinstance(fault, dict) and fault.get("type") == "exceed_context_size_error":  # pyright: ignore[reportUnknownMemberType]
            return self.error(
                f"The prompt is too long for {self.model}: {fault.get('n_prompt_tokens')} tokens, "  # pyright: ignore[reportUnknownMemberType]
                f"the context holds {self._context_tokens}.",
                status=status,
                hint="Send less history or fewer sources, or raise the option context_tokens.",
            )
        return self.error(
            f"llama.cpp refused: {message}",
            status=status,
            retry_after=retry_after(headers or {}),
            is_retryable=status is None or retryable(status),
        )

    async def health_check(self) -> Health:
        """Whether llama.cpp and the weights are here; does not load them."""
        if not installed("xllamacpp"):
            return Health(
                ok=False, detail="xllamacpp is not installed.\npip install 'langgraph-agentkit[local]'"
            )
        if self._file is not None:
            exists = self._file.is_file()
            return Health(ok=exists, detail=f"{self._file}" if exists else f"There is no file {self._file}")
        status = await asyncio.to_thread(self.context.weights.status, self.model)
        if status.state == "installed":
            return Health(ok=True, detail=f"{self.model}: {'in memory' if self._server else 'installed'}")
        return Health(ok=False, detail=f"{self.model} is {status.state}.\nagentkit models pull {self.model}")

    async def get_model_info(self) -> ModelInfo:
        """Describe the model as it is run here."""
        return ModelInfo(
            self.name, self.model, self._context_tokens, native_tools=False, structured_output="grammar"
        )

    async def list_models(self) -> list[str]:
        """Chat models whose weights are installed."""
        return await asyncio.to_thread(self._installed)

    def _installed(self) -> list[str]:
        weights = self.context.weights
        chat = [name for name, entry in weights.catalogue.items() if entry.kind == "chat"]
        return [name for name in chat if weights.status(name).state == "installed"]

    async def aclose(self) -> None:
        """Release the server; it leaves memory when no other gateway uses it."""
        self._server = None
        await asyncio.to_thread(servers.release, id(self))


def _usage(counts: Mapping[str, Any]) -> UsageMetadata:
    details: dict[str, int] = counts.get("prompt_tokens_details") or {}
    return UsageMetadata(
        input_tokens=counts["prompt_tokens"],
        output_tokens=counts["completion_tokens"],
        total_tokens=counts["total_tokens"],
        input_token_details=InputTokenDetails(cache_read=details.get("cached_tokens", 0)),
    )


def _cpus() -> int:
    # The CPUs this process may use: fewer than the machine's in a container.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
