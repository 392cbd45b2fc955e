"""What a provider of chat models is: one method that streams, a few that describe.

A provider yields LangChain message chunks and raises `ProviderError`. Whether the caller
wanted a stream or a whole answer, the shape is the same, so wrappers (timeouts, retry,
fallback) are written once and stack.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from pydantic import SecretStr

from agentkit.errors import ConfigurationError, ProviderError
from agentkit.llm.policies import DEFAULT_ON, BreakerPolicy, Price, Reason, RetryPolicy, Timeouts
from agentkit.secrets import hide
from agentkit.weights import Progress, WeightsStore

ToolSpec = dict[str, Any]
"""A tool as OpenAI writes it: `{"type": "function", "function": {name, description, parameters}}`."""


@dataclass(frozen=True)
class LLMConfig:
    """One model of a blueprint's or the settings' `models`.

    Attributes:
        provider: Registered provider name, or `auto`: Ollama if it answers on loopback,
            else the embedded local model.
        model: The provider's name for the model, or None for the provider's default.
        temperature: Randomness; 0 is as repeatable as the provider can be.
        max_tokens: Longest answer in tokens, or None for the provider's own limit.
        timeout: Limits of one attempt; a number is its total in seconds, None no limit.
        retry: How often and how soon a failed attempt is repeated.
        breaker: When the provider is left alone.
        fallbacks: Models asked in turn when this one cannot answer; their own fallbacks
            do not count.
        fallback_on: Reasons for which they are asked.
        concurrency: Most requests at once to the provider's address, or None for no limit;
            of several models there, the smallest limit counts.
        cache: Seconds an answer is kept and given again for the same request; None: never.
        tool_calls: `native` sends tools to the provider, `json` has the model write its calls
            as JSON, `auto` asks `get_model_info` which.
        use: `module:factory` of a LangChain chat model, for the provider `langchain`.
        allowed_modules: Modules that `use` may name, everything below them included.
        price: What it costs, over the price list; None asks the list.
        options: What only this provider understands; see the provider's docstring. A `SecretStr`
            in it, however deep, reaches the provider as `agentkit.secrets.reveal` gives it.
    """

    provider: str = "auto"
    model: str | None = None
    temperature: float = 0.0
    max_tokens: int | None = None
    timeout: Timeouts | float | None = Timeouts()  # noqa: RUF009 - frozen
    retry: RetryPolicy = RetryPolicy()  # noqa: RUF009 - frozen
    breaker: BreakerPolicy = BreakerPolicy()  # noqa: RUF009 - frozen
    fallbacks: "tuple[LLMConfig, ...]" = ()
    fallback_on: tuple[Reason, ...] = DEFAULT_ON
    price: Price | None = None
    concurrency: int | None = None
    cache: float | None = None
    tool_calls: Literal["auto", "native", "json"] = "auto"
    use: str | None = None
    allowed_modules: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        if isinstance(self.timeout, int | float) and self.timeout <= 0:
            raise ConfigurationError(f"timeout must be positive, not {self.timeout}.")
        if self.concurrency is not None and self.concurrency < 1:
            raise ConfigurationError(f"concurrency must be at least 1, not {self.concurrency}.")
        if self.cache is not None and self.cache <= 0:
            raise ConfigurationError(f"cache must be positive, not {self.cache}.")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigurationError(f"max_tokens must be at least 1, not {self.max_tokens}.")
        if self.temperature < 0:
            raise ConfigurationError(f"temperature must not be negative, not {self.temperature}.")

    @property
    def timeouts(self) -> Timeouts:
        """The limits, whichever way they were given."""
        return self.timeout if isinstance(self.timeout, Timeouts) else Timeouts(total=self.timeout)


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What the application lends to the providers it builds.

    Attributes:
        weights: Where local weights are kept.
        progress: Told about downloads, or None.
        ollama_base_url: Where Ollama is expected.
        openai_api_key: OpenAI's key, or None.
        openai_base_url: An OpenAI-compatible address instead of OpenAI's own, or None.
        anthropic_api_key: Anthropic's key, or None.
        anthropic_base_url: An address instead of Anthropic's own, or None.
        vllm_base_url: Where vLLM serves its OpenAI-compatible API (`…/v1`), or None.
    """

    weights: WeightsStore
    progress: Progress | None = None
    ollama_base_url: str = "http://127.0.0.1:11434"
    openai_api_key: SecretStr | None = None
    openai_base_url: str | None = None
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    vllm_base_url: str | None = None


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model can do.

    Attributes:
        provider: Provider name.
        model: Model name.
        context_tokens: Prompt and answer together, or None when unknown.
        native_tools: Whether the model itself emits tool calls.
        structured_output: How answers are held to a JSON schema: the API does it and tells the
            model, a grammar leaves it no choice but tells it nothing, or not at all.
        tool_choice: Whether a call can be forced.
    """

    provider: str
    model: str
    context_tokens: int | None
    native_tools: bool
    structured_output: Literal["native", "grammar", "none"]
    tool_choice: bool = True


@dataclass(frozen=True, slots=True)
class Health:
    """Whether a model could answer now, and if not, why and what to do."""

    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """A whole answer.

    Attributes:
        message: Text and tool calls, as LangChain carries them.
        provider: Who answered.
        model: With which model.
        finish_reason: `stop`, `length`, `tool_calls`, or the provider's own word.
        usage: Token counts, or None when the provider did not say.
    """

    message: AIMessageChunk
    provider: str
    model: str
    finish_reason: str | None
    usage: UsageMetadata | None

    @property
    def text(self) -> str:
        """The answer's text."""
        return str(self.message.text)


class LLMProvider(ABC):
    """One model of one provider.

    Subclasses are registered in `agentkit.llm.providers` or under the entry-point group
    `agentkit.providers`, and tested by `agentkit.testing.contracts.ProviderContract`.

    Args:
        config: Which model, and how.
        context: What the application lends.
    """

    name: str

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        self.config = config
        self.context = context

    @property
    @abstractmethod
    def model(self) -> str:
        """The model's name: from the configuration, or the provider's default."""

    @property
    def unwrapped(self) -> "LLMProvider":
        """The provider itself, beneath retries, breaker and timeouts."""
        return self

    @abstractmethod
    def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `messages`.

        The last chunk has `chunk_position="last"`, the usage if known, and
        `response_metadata` with `model_name`, `model_provider` and `finish_reason`. Closing the
        iterator stops the generation.

        Args:
            messages: The conversation so far.
            tools: What the model may call.
            stream: False yields exactly one chunk.
            **options: `stop` (list of strings), `temperature`, `max_tokens`,
                `tool_choice` (`auto`, `any`, `none` or a tool's name) and
                `response_format` (OpenAI's `json_schema` or `json_object`).

        Raises:
            ProviderError: Whatever went wrong, mapped once.
        """

    @abstractmethod
    async def health_check(self) -> Health:
        """Say whether a call could succeed now, without making one. Does not raise."""

    @abstractmethod
    async def get_model_info(self) -> ModelInfo:
        """Describe the model."""

    @abstractmethod
    async def list_models(self) -> list[str]:
        """Names that could be configured as `model` and answer without a download."""

    async def start(self) -> None:  # noqa: B027 - most providers need nothing
        """Get ready: fetch weights, load a model. Called before each call; not part of its timeout."""

    async def aclose(self) -> None:  # noqa: B027 - most providers hold nothing
        """Give back what is held. A closed provider may be used again."""

    async def complete(
        self, messages: Sequence[BaseMessage], *, tools: Sequence[ToolSpec] | None = None, **options: Any
    ) -> LLMResponse:
        """Answer `messages` as a whole; arguments as for `chat`."""
        return await whole(self, self.chat(messages, tools=tools, stream=False, **options))

    def error(self, message: str, **fields: Any) -> ProviderError:
        """Build a `ProviderError` that names this provider; secrets among its options are hidden."""
        return ProviderError(hide(message, self.config.options), provider=self.name, **fields)


def closing(
    chunks: AsyncIterator[AIMessageChunk],
) -> AbstractAsyncContextManager[AsyncIterator[AIMessageChunk]]:
    """Close a stream at the end of a `with`, so that an abandoned one stops generating at once."""
    return aclosing(cast("AsyncGenerator[AIMessageChunk, None]", chunks))


async def merged(chunks: AsyncIterator[AIMessageChunk]) -> AIMessageChunk | None:
    """Consume a stream into one chunk; None when it was empty."""
    async with closing(chunks) as source:
        collected = [chunk async for chunk in source]
    # One n-ary addition: adding pairwise copies the text once per token.
    return collected[0].__add__(collected[1:]) if len(collected) > 1 else (collected or [None])[0]


async def whole(provider: LLMProvider, chunks: AsyncIterator[AIMessageChunk]) -> LLMResponse:
    """Consume the stream of `provider` into a response.

    Raises:
        ProviderError: The stream failed, or held nothing.
    """
    message = await merged(chunks)
    if message is None:
        raise provider.error("The provider returned no answer.", is_retryable=True)
    metadata = cast("dict[str, Any]", message.response_metadata)
    return LLMResponse(
        message=message,
        provider=metadata.get("model_provider", provider.name),
        model=metadata.get("model_name", provider.model),
        finish_reason=metadata.get("finish_reason"),
        usage=message.usage_metadata,
    )


def has_content(chunk: AIMessageChunk) -> bool:
    """Whether a chunk carries something of the answer: text, a tool call or reasoning.

    A chunk that only names the role does not count.
    """
    return bool(chunk.content or chunk.tool_call_chunks or chunk.additional_kwargs.get("reasoning_content"))
