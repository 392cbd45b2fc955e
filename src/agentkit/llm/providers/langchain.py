"""Any LangChain chat model, named as `module:attribute`.

The attribute is a `BaseChatModel` class, a function that returns a model, or a model. Class
and function are called with `model`, `temperature` and `max_tokens` where they take them, and
with the options, which come first; an option that is null leaves the argument out. A model is
taken as it is. Its retries are off where it has `max_retries`: the gateway retries.

The model's own seams are called (`_astream`, `_agenerate`), not `astream`: that would open a
second LangChain run inside the gateway's and report every token twice.
"""

import inspect
import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, cast

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable, RunnableSequence
from langchain_core.runnables.base import RunnableBinding

from agentkit.errors import AgentKitError, ConfigurationError, ProviderError
from agentkit.llm._loops import PerLoop
from agentkit.llm.base import Health, LLMConfig, LLMProvider, ModelInfo, ProviderContext, ToolSpec
from agentkit.llm.providers._foreign_errors import is_passing, retry_after, status, text
from agentkit.llm.providers._http import retryable
from agentkit.llm.providers._stream_end import StreamEnd
from agentkit.references import load
from agentkit.secrets import reveal, secrets_in

# What LangChain's packages call the longest answer.
_LIMITS = ("max_tokens", "max_output_tokens", "num_predict")
_SECRET = re.compile("key|token|secret|password", re.IGNORECASE)
_SECRET_LENGTH = 8  # shorter ones are words
_TRACED = ("ls_structured_output_format", "structured_output_format")  # for traces, not for the model
_ANY_OBJECT: dict[str, Any] = {
    "title": "answer",
    "description": "Any object.",
    "type": "object",
    "properties": {},
}


class LangChainProvider(LLMProvider):
    """A LangChain chat model of anybody's. See the module for its options."""

    name = "langchain"

    def __init__(self, config: LLMConfig, context: ProviderContext) -> None:
        super().__init__(config, context)
        if not config.use:
            raise ConfigurationError(
                "The provider 'langchain' needs 'use'.", hint="Set it to module:factory of a chat model."
            )
        self._use = config.use
        self._target: Any = load(self._use, allowed=config.allowed_modules, kind="model")
        first = self._build()  # at once, so that a mistake shows before the first question
        self._ready = [first]
        self._models = PerLoop(self._next)
        self._name = config.model or str(
            getattr(first, "model_name", None) or getattr(first, "model", None) or type(first).__name__
        )
        self._info = ModelInfo(
            self.name,
            self._name,
            (first.profile or {}).get("max_input_tokens"),
            native_tools=_takes_tools(first),
            structured_output="native" if _format(first, _response_format(_ANY_OBJECT)) else "none",
        )

    @property
    def model(self) -> str:
        """The configured name, else the model's own."""
        return self._name

    def _next(self) -> BaseChatModel:
        """A model for another event loop: most hold HTTP clients, which belong to one."""
        try:
            return self._ready.pop()
        except IndexError:
            return self._build()

    def _build(self) -> BaseChatModel:
        if isinstance(self._target, BaseChatModel):
            if self.config.options or self.config.model:
                raise ConfigurationError(
                    f"{self._use!r} is a model already: it takes neither 'model' nor 'options'.",
                    hint="Name its class, or a function that makes it.",
                )
            return self._target
        if not callable(self._target):
            raise ConfigurationError(f"{self._use!r} is neither a chat model nor a function that makes one.")
        try:
            made = self._target(**self._arguments())
        except AgentKitError:
            raise
        except Exception as error:
            raise ConfigurationError(
                f"{self._use!r} could not make a model: {self._said(error)}",
                hint="Check the model's options: they are its arguments.",
            ) from error
        if not isinstance(made, BaseChatModel):
            raise ConfigurationError(
                f"{self._use!r} made a {type(made).__name__}, which is no LangChain chat model.",
                hint="It must return a langchain_core.language_models.BaseChatModel.",
            )
        return made

    def _arguments(self) -> dict[str, Any]:
        names, open_ended = _parameters(self._target)
        limit = next((name for name in _LIMITS if name in names), _LIMITS[0])
        offered = {
            "model": self.config.model,
            "temperature": self.config.temperature,
            limit: self.config.max_tokens,
        }
        if self.config.model and not (open_ended or "model" in names):
            raise ConfigurationError(f"{self._use!r} takes no argument 'model'.")
        given = {name: value for name, value in offered.items() if open_ended or name in names}
        if "max_retries" in names:
            given["max_retries"] = 0
        given |= reveal(self.config.options)
        return {name: value for name, value in given.items() if value is not None}

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Answer `messages`; see `LLMProvider.chat`."""
        end = StreamEnd(additive=True)
        try:
            model, arguments = self._bound(self._models.get(), tools or (), options)
            if model.rate_limiter is not None:
                await model.rate_limiter.aacquire(blocking=True)
            parts = _parts(model, list(messages), options.get("stop"), arguments, stream=stream)
            async with aclosing(parts) as source:
                async for part in source:
                    chunk = end.note(part)
                    yield chunk if stream else self._sealed(chunk, end)
        except AgentKitError:
            raise
        except Exception as error:
            if any(base.__name__ == "GraphBubbleUp" for base in type(error).__mro__):
                raise  # LangGraph's way to pause a run, and no error
            raise self._mapped(error) from error
        if stream:
            yield self._sealed(AIMessageChunk(content=""), end)

    def _sealed(self, chunk: AIMessageChunk, end: StreamEnd) -> AIMessageChunk:
        end.reason = end.reason or "stop"  # not every model says so
        return end.seal(chunk, self.model, self.name)

    def _bound(
        self, model: BaseChatModel, tools: Sequence[ToolSpec], options: dict[str, Any]
    ) -> tuple[BaseChatModel, dict[str, Any]]:
        """The model and the arguments with which its seam is called."""
        arguments: dict[str, Any] = {}
        choice = options.get("tool_choice")
        if tools and choice != "none":
            if not self._info.native_tools:
                raise self.error(
                    f"{self.model} cannot call tools.", hint="Set the model's tool_calls to json."
                )
            chosen = {} if choice in (None, "auto") else {"tool_choice": choice}
            arguments, bound = _binding(model.bind_tools(tools, **chosen))
            model = bound or model
        if response_format := options.get("response_format"):
            arguments |= _format(model, response_format) or {}
        return _changed(model, options), arguments

    def _mapped(self, error: Exception) -> ProviderError:
        known = status(error)
        said = f"{self.model} ({self._use}): {self._said(error)}"
        if known is not None:
            passing = retryable(known)
            return self.error(said, status=known, retry_after=retry_after(error), is_retryable=passing)
        return self.error(said, is_retryable=is_passing(error))

    def _said(self, error: Exception) -> str:
        return text(error, secrets=_secrets(self.config.options))

    async def health_check(self) -> Health:
        """Whether the model could be made; whom it asks is its own affair."""
        return Health(ok=True, detail=f"{self.model} was made by {self._use}; it shows at the first call")

    async def get_model_info(self) -> ModelInfo:
        """Describe the model from its class and the profile it carries."""
        return self._info

    async def list_models(self) -> list[str]:
        """The one it is: LangChain has no way to ask for others."""
        return [self.model]


def _parameters(target: Any) -> tuple[set[str], bool]:
    """Names that `target` takes as keyword arguments, and whether it takes any other."""
    if inspect.isclass(target) and issubclass(target, BaseChatModel):
        aliases = {field.alias for field in target.model_fields.values() if field.alias}
        return {*target.model_fields, *aliases}, False
    try:
        found = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # builtins may have none
        return set(), True
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {one.name for one in found if one.kind in named}, any(
        one.kind is inspect.Parameter.VAR_KEYWORD for one in found
    )


def _secrets(options: Mapping[str, Any]) -> list[str]:
    """Options that must not be repeated: secrets by their type or by their name."""
    named = [value for name, value in options.items() if isinstance(value, str) and _SECRET.search(name)]
    return [*secrets_in(options), *(value for value in named if len(value) >= _SECRET_LENGTH)]


def _overrides(model: BaseChatModel, method: str) -> bool:
    return getattr(type(model), method) is not getattr(BaseChatModel, method)


def _takes_tools(model: BaseChatModel) -> bool:
    profile = cast("dict[str, Any]", model.profile or {})
    return _overrides(model, "bind_tools") and bool(profile.get("tool_calling", True))


def _binding(bound: Runnable[Any, Any]) -> tuple[dict[str, Any], BaseChatModel | None]:
    """What a model bound to itself, and the model below, if it is one."""
    arguments: dict[str, Any] = {}
    current: Any = bound
    while isinstance(current, RunnableBinding):
        binding = cast("RunnableBinding[Any, Any]", current)
        arguments = {**binding.kwargs, **arguments}
        current = binding.bound
    return arguments, current if isinstance(current, BaseChatModel) else None


def _response_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": schema["title"], "schema": schema}}


def _format(model: BaseChatModel, response_format: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments by which a model's own `with_structured_output` holds answers to a schema.

    None when it has none, or does it with a tool call: the answer would not be text then.
    """
    if not _overrides(model, "with_structured_output"):
        return None
    wanted = response_format.get("json_schema")
    schema: dict[str, Any] = (
        {"title": wanted["name"], "description": "The answer.", **wanted["schema"]} if wanted else _ANY_OBJECT
    )
    try:
        structured = model.with_structured_output(schema, method="json_schema" if wanted else "json_mode")
    except Exception:  # noqa: BLE001 - it does not know the method: that is the answer
        return None
    first = structured.first if isinstance(structured, RunnableSequence) else structured
    arguments, bound = _binding(cast("Runnable[Any, Any]", first))
    if bound is None or "tools" in arguments:
        return None
    return {name: value for name, value in arguments.items() if name not in _TRACED} or None


def _changed(model: BaseChatModel, options: dict[str, Any]) -> BaseChatModel:
    """The model with what one call wants otherwise, in its own fields."""
    fields = type(model).model_fields
    changes: dict[str, Any] = {}
    if options.get("temperature") is not None and "temperature" in fields:
        changes["temperature"] = options["temperature"]
    limit = next((name for name in _LIMITS if name in fields), None)
    if options.get("max_tokens") is not None and limit:
        changes[limit] = options["max_tokens"]
    return model.model_copy(update=changes) if changes else model


async def _parts(
    model: BaseChatModel,
    messages: list[BaseMessage],
    stop: list[str] | None,
    arguments: dict[str, Any],
    *,
    stream: bool,
) -> AsyncGenerator[ChatGeneration, None]:
    """Run the model's own seam; what it has only synchronously, the base class runs in a thread."""
    seam = cast("Any", model)  # protected, which is what it takes to stay within one run
    streams = _overrides(model, "_astream") or _overrides(model, "_stream")
    if stream and streams and model.disable_streaming is not True:
        source = seam._astream(messages, stop=stop, **arguments)  # noqa: SLF001
        try:
            async for part in source:
                yield part
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()  # hangs up now, not when the garbage collector gets to it
        return
    result: ChatResult = await seam._agenerate(messages, stop=stop, **arguments)  # noqa: SLF001
    generation = result.generations[0]
    said = {**(result.llm_output or {}), **generation.message.response_metadata}
    message = generation.message.model_copy(update={"response_metadata": said})  # it may be given again
    yield ChatGeneration(message=message, generation_info=generation.generation_info)
