"""The gateway as a LangChain chat model: what graphs, chains and users hold."""

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import ensure_config
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import BaseModel, ConfigDict, Field

from agentkit import portal
from agentkit.errors import ConfigurationError
from agentkit.events import EventBus, ModelCallFinished, Status
from agentkit.llm.base import LLMProvider, closing, has_content, merged
from agentkit.llm.budgets import Budget, current
from agentkit.llm.policies import Timeouts
from agentkit.llm.resilience.timeouts import bounded
from agentkit.llm.structured import schema_output


class GatewayChatModel(BaseChatModel):
    """A chat model behind the gateway.

    Made by `LLMGateway.chat_model`. Every call ends in exactly one `ModelCallFinished`
    event, also when it fails or is cancelled, where LangChain's callbacks stay silent.

    A call may be given a `timeout` of its own, bound or as keyword argument: seconds for the
    whole request, retries and fallbacks included, or `Timeouts`. The model's configured
    timeouts bound each attempt.

    Args:
        provider: Who answers.
        events: Where calls are reported.
        stop: Strings that end an answer when a call names none.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True)

    provider: LLMProvider = Field(exclude=True, repr=False)
    events: EventBus = Field(default_factory=EventBus, exclude=True, repr=False)
    stop: list[str] | None = None

    @property
    def _llm_type(self) -> str:
        return "agentkit-gateway"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        config = self.provider.config
        return {
            "provider": self.provider.name,
            "model": self.provider.model,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
        }

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        config = self.provider.config
        params = LangSmithParams(
            ls_provider=self.provider.name,
            ls_model_name=kwargs.get("model") or self.provider.model,
            ls_model_type="chat",
            ls_temperature=kwargs.get("temperature", config.temperature),
        )
        if limit := kwargs.get("max_tokens", config.max_tokens):
            params["ls_max_tokens"] = limit
        if stop:
            params["ls_stop"] = stop
        return params

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class reports tokens
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        async with closing(self._call(messages, stop, streaming=True, caller=_caller(), **kwargs)) as chunks:
            async for chunk in chunks:
                yield ChatGenerationChunk(message=chunk)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,  # noqa: ARG002 - nothing to report
        **kwargs: Any,
    ) -> ChatResult:
        return await self._whole(messages, stop, _caller(), kwargs)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - the base class reports tokens
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        caller = _caller()
        for chunk in portal.iterate(
            lambda: self._call(messages, stop, streaming=True, caller=caller, **kwargs)
        ):
            yield ChatGenerationChunk(message=chunk)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,  # noqa: ARG002 - nothing to report
        **kwargs: Any,
    ) -> ChatResult:
        return portal.run(self._whole, messages, stop, _caller(), kwargs)

    async def _whole(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        caller: "_Caller",
        kwargs: Mapping[str, Any],
    ) -> ChatResult:
        chunk = await merged(self._call(messages, stop, streaming=False, caller=caller, **kwargs))
        if chunk is None:
            raise self.provider.error("The provider returned no answer.", is_retryable=True)
        message = AIMessage(
            content=chunk.content,
            tool_calls=chunk.tool_calls,
            invalid_tool_calls=chunk.invalid_tool_calls,
            additional_kwargs=chunk.additional_kwargs,
            response_metadata=chunk.response_metadata,
            usage_metadata=chunk.usage_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None,
        *,
        streaming: bool,
        caller: "_Caller",
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """One call of the provider, timed, and reported and charged however it ends."""
        kwargs.pop("stream", None)
        tools, limits = kwargs.pop("tools", None), _limits(kwargs.pop("timeout", None))
        provider = self.provider
        record = _CallRecord(provider, caller, streaming=streaming)
        try:
            if caller.budget is not None:
                caller.budget.admit()
            await provider.start()
            record.begin()
            source = provider.chat(messages, tools=tools, stream=streaming, stop=stop or self.stop, **kwargs)
            async with closing(source if limits is None else bounded(source, limits, provider)) as chunks:
                async for chunk in chunks:
                    record.note(chunk)
                    yield chunk
            record.status = "ok"
        except Exception as error:
            record.status = "error"
            record.error_type = type(error).__name__
            raise
        finally:
            # Still "cancelled" when neither line above ran: CancelledError or GeneratorExit.
            self.events.emit(record.finished())
            record.charge(messages)

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Let the model call `tools`.

        Args:
            tools: Anything LangChain can turn into a tool definition.
            tool_choice: `auto`, `any` (or `required`), `none`, or the name of one tool.
            **kwargs: Further options of every call.

        Raises:
            ConfigurationError: `tool_choice` names a tool that is not among `tools`.
        """
        # The Runnable annotation matters: with_fallbacks() inspects it and skips methods without.
        specs = [convert_to_openai_tool(tool) for tool in tools]
        if tool_choice is not None:
            kwargs["tool_choice"] = _tool_choice(tool_choice, [spec["function"]["name"] for spec in specs])
        return self.bind(tools=specs, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        include_raw: bool = False,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Hold answers to a schema.

        Args:
            schema: Pydantic model, TypedDict, JSON schema or OpenAI function.
            include_raw: Return `{"raw", "parsed", "parsing_error"}` instead of raising.
            method: `json_schema` constrains the answer itself, `function_calling` asks for
                a tool call, `json_mode` for any JSON object.
            **kwargs: `strict` is accepted and always on.

        Raises:
            StructuredOutputError: From the call, when the answer does not fit.
        """
        kwargs.pop("strict", None)
        if kwargs:
            raise ConfigurationError(f"with_structured_output does not know {', '.join(sorted(kwargs))}.")
        if method == "function_calling":
            return super().with_structured_output(schema, include_raw=include_raw)
        return schema_output(self, schema, method=method, include_raw=include_raw)


@dataclass(frozen=True, slots=True)
class _Caller:
    """On whose behalf a call is made; read where it is made, before it goes to another thread.

    Attributes:
        agent: Agent whose run we are in; LangChain's agents put their name into the metadata.
        budget: What the run may spend, or None.
    """

    agent: str
    budget: Budget | None


def _caller() -> _Caller:
    agent = str((ensure_config().get("metadata") or {}).get("lc_agent_name", ""))
    return _Caller(agent, current())


class _CallRecord:
    """What is known about one call while it runs."""

    __slots__ = (
        "_agent",
        "_began",
        "_budget",
        "_cached",
        "_cost",
        "_estimated",
        "_first",
        "_model",
        "_of",
        "_provider",
        "_streaming",
        "_text",
        "_usage",
        "error_type",
        "status",
    )

    def __init__(self, provider: LLMProvider, caller: _Caller, *, streaming: bool) -> None:
        self._of = provider
        self._agent = caller.agent
        self._budget = caller.budget
        self._streaming = streaming
        self._usage: Mapping[str, Any] = {}
        self._estimated = False
        self._cached = False
        self._cost: float | None = None
        self._first: float | None = None
        self._text: list[str] = []
        self.status: Status = "cancelled"
        self.error_type = ""
        self.begin()

    def begin(self) -> None:
        """Start the clock again: getting ready, a download for instance, is not the call."""
        self._provider, self._model = self._of.name, self._of.model
        self._began = time.perf_counter()

    def note(self, chunk: AIMessageChunk) -> None:
        if self._first is None and has_content(chunk):
            self._first = time.perf_counter()
        if self._budget is not None and chunk.content:
            self._text.append(str(chunk.text))
        if chunk.usage_metadata:
            self._usage = cast("Mapping[str, Any]", chunk.usage_metadata)
        if chunk.response_metadata:
            self._provider = chunk.response_metadata.get("model_provider", self._provider)
            self._model = chunk.response_metadata.get("model_name", self._model)
            self._estimated = bool(chunk.response_metadata.get("usage_estimated"))
            self._cost = chunk.response_metadata.get("cost_usd")
            self._cached = bool(chunk.response_metadata.get("cached"))

    def charge(self, messages: Sequence[BaseMessage]) -> None:
        """Charge the budget, if there is one, with what was spent.

        That is what the provider says, else an estimate of what was read and written. A call
        that failed before its first word costs nothing.
        """
        if self._budget is None:
            return
        if self._usage:
            tokens = int(self._usage["input_tokens"]) + int(self._usage["output_tokens"])
            self._budget.charge(self._model, tokens, self._cost)
        elif self._first is not None:
            written = AIMessage("".join(self._text))
            self._budget.charge(self._model, count_tokens_approximately([*messages, written]), None)

    def finished(self) -> ModelCallFinished:
        return ModelCallFinished(
            provider=self._provider,
            model=self._model,
            agent=self._agent,
            streaming=self._streaming,
            status=self.status,
            duration=time.perf_counter() - self._began,
            time_to_first_token=self._first - self._began if self._first is not None else None,
            input_tokens=self._usage.get("input_tokens"),
            output_tokens=self._usage.get("output_tokens"),
            error_type=self.error_type,
            usage_estimated=self._estimated,
            cost_usd=self._cost,
            cached=self._cached,
        )


def _limits(timeout: Timeouts | float | None) -> Timeouts | None:
    """Limits of one whole request, retries and fallbacks included; a number is its total in seconds."""
    return Timeouts(total=timeout) if isinstance(timeout, int | float) else timeout


def _tool_choice(choice: str, names: Sequence[str]) -> str:
    if choice in ("auto", "none"):
        return choice
    if choice in ("any", "required"):
        return "any"
    if choice not in names:
        raise ConfigurationError(
            f"tool_choice {choice!r} is not auto, any, none or a bound tool ({', '.join(names)})."
        )
    return choice
