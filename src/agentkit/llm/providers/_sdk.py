"""Providers whose model is a LangChain chat model over a vendor's SDK (OpenAI, Anthropic).

One connection per event loop, one way of reading the stream, one mapping of errors. The
SDKs' classes are told apart by what they carry (status, body, headers), not by name, so the
mapping holds for every class of every release; the tests walk them all.
"""

import asyncio
import importlib
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar, cast

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import SecretStr

from agentkit.errors import ConfigurationError, ProviderError, nearest
from agentkit.extras import require
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec
from agentkit.llm.providers import _sdk_errors as sdk_errors
from agentkit.llm.providers._http import (
    certificate_hint,
    connect_timeout,
    never_connected,
    redirected,
    retry_after,
    retryable,
    shown,
    trust,
)
from agentkit.llm.providers._stream_end import StreamEnd
from agentkit.secrets import hide, reveal

_DESCRIBE_SECONDS = 10.0
_KEPT_ALIVE = 20
_EXCERPT = 500
_SECRET_LENGTH = 8  # shorter ones, vLLM's EMPTY for one, are words and no secrets

# Fields of the request that agentkit itself fills in; as options they would break the stream.
_RESERVED = ("messages", "model", "n", "response_format", "stop", "stream", "stream_options", "tools")


@dataclass(frozen=True, slots=True)
class Connection:
    """What one event loop calls through.

    Attributes:
        model: LangChain's chat model.
        client: The SDK's asynchronous client inside it.
        http: The HTTP client inside that.
    """

    model: Any
    client: Any
    http: Any


class _Connections:
    """One connection for each event loop, closed with the provider or with its loop, whichever ends first.

    An event loop tells nobody that it ends, but `asyncio.run` and its like close the async
    generators that were begun on it: each connection is held by one.
    """

    _holders: ClassVar[set[AsyncGenerator[None, None]]] = set()
    """Kept here, so that they end with their loop and not, too late to close anything, with the provider."""

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._open: dict[asyncio.AbstractEventLoop, tuple[Connection, AsyncGenerator[None, None]]] = {}

    async def get(self) -> Connection:
        """Return the running loop's own."""
        loop = asyncio.get_running_loop()
        if (known := self._open.get(loop)) is not None:
            return known[0]
        connection = self._connect()
        holder = self._hold(loop, connection)
        self._open[loop] = connection, holder  # before the first await: two first calls share one
        self._holders.add(holder)
        await anext(holder)
        return connection

    async def _hold(
        self, loop: asyncio.AbstractEventLoop, connection: Connection
    ) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            holder = self._open.pop(loop)[1]
            self._holders.discard(holder)
            await connection.http.aclose()

    async def aclose(self) -> None:
        """Close each connection on its own loop."""
        here = asyncio.get_running_loop()
        for loop, (_, holder) in list(self._open.items()):
            if loop is here:
                await holder.aclose()
            elif loop.is_running():
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(holder.aclose(), loop))


class SDKProvider(LLMProvider):
    """A model behind a vendor's SDK.

    Options: `api_key` and `base_url` (before the context's); all others are fields of the
    request as the vendor documents them.
    """

    sdk_name: ClassVar[str]
    langchain_name: ClassVar[str]
    extra: ClassVar[str]
    title: ClassVar[str]
    key_variable: ClassVar[str]
    root_error: ClassVar[str]

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        super().__init__(config, context)
        purpose = f"The provider {self.name!r}"
        # LangChain's package brings the SDK.
        self._langchain: ModuleType = require(self.langchain_name, extra=self.extra, purpose=purpose)
        self._sdk: ModuleType = require(self.sdk_name, extra=self.extra, purpose=purpose)
        options = reveal(config.options)
        key, url = options.pop("api_key", None), options.pop("base_url", None)
        if refused := sorted(set(options) & set(_RESERVED)):
            raise ConfigurationError(f"{self.name}: {', '.join(refused)} cannot be set as an option.")
        self._options = options
        self._key = self._api_key(None if key is None else SecretStr(str(key)))
        self._url = str(url or self._base_url()).rstrip("/")
        # The SDK's own HTTP library: httpx2 since openai 3 and anthropic 1, httpx before.
        self._http: ModuleType = importlib.import_module(
            self._sdk.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0]
        )
        # The last four are LangChain's, for messages it cannot send and answers it cannot read.
        self._broken = (self._http.HTTPError, self._http.StreamError, OSError, EOFError)
        ours = (getattr(self._sdk, self.root_error), *self._broken, self._http.InvalidURL)
        self._errors = (*ours, ValueError, LookupError, TypeError, AttributeError)
        self._connections = _Connections(self._connect)

    @abstractmethod
    def _configured_key(self) -> SecretStr | None:
        """The key the context lends."""

    @abstractmethod
    def _base_url(self) -> str:
        """The address when no option names one."""

    @abstractmethod
    def _build(self, http: Any, timeout: Any) -> tuple[Any, Any]:
        """Make LangChain's model and the SDK client it uses, over `http`."""

    @abstractmethod
    def _request(
        self, model: Any, tools: Sequence[ToolSpec] | None, options: dict[str, Any]
    ) -> dict[str, Any]:
        """Keyword arguments of LangChain's `_astream`."""

    def _worded(self, messages: Sequence[BaseMessage], options: dict[str, Any]) -> list[BaseMessage]:  # noqa: ARG002
        """The messages, with what this vendor wants said in words rather than in the request."""
        return list(messages)

    @abstractmethod
    def _astream(
        self, model: Any, messages: list[BaseMessage], request: dict[str, Any]
    ) -> AsyncGenerator[ChatGenerationChunk, None]:
        """Run LangChain's own seam: `astream()` would open a second run inside ours."""

    async def _whole(
        self, model: Any, messages: list[BaseMessage], request: dict[str, Any]
    ) -> ChatGeneration:
        """Ask for the answer in one piece: reading it as a stream would cost a parse for each token."""
        result: ChatResult = await model._agenerate(messages, **request)  # noqa: SLF001
        (generation,) = result.generations
        generation.message.response_metadata |= result.llm_output or {}
        return generation

    def _api_key(self, option: SecretStr | None) -> SecretStr:
        key = option or self._configured_key()
        if key is None or not key.get_secret_value().strip():
            raise ConfigurationError(
                f"The provider {self.name!r} needs an API key.",
                hint=f"Set {self.key_variable}, or the model's option api_key.",
            )
        return key

    def _connect(self) -> Connection:
        # Answers take as long as the call's own timeout allows: a read timeout would be reset by
        # every keep-alive comment.
        timeout = self._http.Timeout(None, connect=self.config.timeouts.connect)
        http = self._sdk.DefaultAsyncHttpxClient(
            timeout=timeout,
            limits=self._http.Limits(max_keepalive_connections=_KEPT_ALIVE),
            verify=trust(),
            follow_redirects=False,  # nothing goes anywhere but to the address configured
            trust_env=False,
        )
        model, client = self._build(http, timeout)
        return Connection(model, client, http)

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `messages`; see `LLMProvider.chat`."""
        end = StreamEnd()
        try:
            model = (await self._connections.get()).model
            request, asked = self._request(model, tools, options), self._worded(messages, options)
            if stream:
                last = AIMessageChunk(content="")
                # Closed here and not when the garbage collector gets to it: closing hangs up.
                async with aclosing(self._astream(model, asked, request)) as parts:
                    async for part in parts:
                        yield end.note(part)
            else:
                last = end.note(await self._whole(model, asked, request))
        except self._errors as error:
            raise self._mapped(error, begun=end.begun) from error
        if end.reason is None:
            raise self.error(
                f"{self.title} at {shown(self._url)} ended before the answer was complete.",
                is_retryable=True,
                hint=None if end.begun else f"Nothing was said at all. Is {self._url} the address of an API?",
            )
        yield end.seal(last, self.model, self.name)

    def _chosen(self, options: dict[str, Any]) -> dict[str, Any]:
        """What the call, else the configuration, says about the answer; unset is left out."""
        chosen = {
            "max_tokens": options.get("max_tokens", self.config.max_tokens),
            "stop": options.get("stop"),
            "temperature": options.get("temperature", self.config.temperature),
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def _mapped(self, error: Exception, *, begun: bool = False) -> ProviderError:
        """Say once what any exception from below means; `begun`: part of the answer was read before."""
        status, words = sdk_errors.status(error), sdk_errors.words(error)
        text = hide(sdk_errors.text(error) or type(error).__name__, self.config.options)
        key = self._key.get_secret_value()
        text = (text.replace(key, "***") if len(key) >= _SECRET_LENGTH else text)[:_EXCERPT]
        if status is not None:
            return self.error(
                f"{self.title} answered {status}: {text}",
                status=status,
                retry_after=retry_after(getattr(getattr(error, "response", None), "headers", {})),
                is_retryable=retryable(status) and not words & sdk_errors.SPENT,
                hint=self._hint(status, text),
            )
        if never_connected(error):
            return connect_timeout(self, self.title, self._url)
        names = {base.__name__ for base in type(error).__mro__}
        if "APIConnectionError" in names or isinstance(error, self._broken):
            cause = (error.__cause__ and error.__cause__.__cause__) or error.__cause__ or error
            return self.error(
                f"No connection to {self.title} at {shown(self._url)}, or it broke off: "
                f"{type(cause).__name__} {cause}".strip(),
                is_retryable=True,
                hint=certificate_hint(error) or "Is the address right, and does it answer?",
            )
        if (redirect := sdk_errors.redirect(error)) is not None:
            return redirected(self, self.title, self._url, redirect)
        unreadable = begun and not isinstance(error, getattr(self._sdk, self.root_error))
        if (
            unreadable
            or isinstance(error, UnicodeError)
            or names & {"JSONDecodeError", "APIResponseValidationError"}
        ):
            return self.error(
                f"{self.title} at {shown(self._url)} sent what is not valid JSON, or no answer: {text}",
                is_retryable=True,
            )
        # An error object in the stream of a kind not known, or a request for another attempt.
        passing = type(error).__name__ == "RetryableError" or (
            "APIError" in names and bool(getattr(error, "body", None))
        )
        # What LangChain says of an answer that is no JSON object, a web page for one.
        no_answer = text.startswith("Unexpected response type")
        hint = f"Is {shown(self._url)} the address of an API?" if no_answer else None
        return self.error(
            f"{self.title}: {text}", is_retryable=passing and not words & sdk_errors.SPENT, hint=hint
        )

    def _hint(self, status: int, text: str) -> str | None:  # noqa: ARG002 - for those below who know more
        match status:
            case 401 | 403:
                return f"Set {self.key_variable} to a key that may use {self.model}."
            case 404:
                return f"Check the model's name, {self.model!r}, and the address {shown(self._url)}."
            case _:
                return None

    async def health_check(self) -> Health:
        """Whether the API answers, takes the key and has the model."""
        try:
            names = await self.list_models()
        except ProviderError as error:
            return Health(ok=False, detail=str(error))
        if self.model in names:
            return Health(ok=True, detail=f"{self.model} at {shown(self._url)}")
        guess = nearest(self.model, names)
        detail = f"{shown(self._url)} has no model {self.model}."
        return Health(ok=False, detail=f"{detail} Did you mean {guess}?" if guess else detail)

    async def get_model_info(self) -> ModelInfo:
        """Describe the model from the table LangChain ships; unknown names are taken to be able."""
        profile = cast("dict[str, Any]", (await self._connections.get()).model.profile or {})
        return ModelInfo(
            self.name,
            self.model,
            profile.get("max_input_tokens"),
            native_tools=profile.get("tool_calling", True),
            structured_output="native" if profile.get("structured_output", True) else "none",
        )

    async def list_models(self) -> list[str]:
        """Names of the models the key may use."""
        return await self._described(self._list())

    async def _list(self) -> list[str]:
        return sorted([str(entry.id) async for entry in (await self._connections.get()).client.models.list()])

    async def _described(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(_DESCRIBE_SECONDS):
                return await answer
        except TimeoutError as error:
            raise self.error(f"{shown(self._url)} did not answer in time.", is_retryable=True) from error
        except self._errors as error:
            raise self._mapped(error) from error

    async def aclose(self) -> None:
        """Close idle connections. The provider may be used again."""
        await self._connections.aclose()
