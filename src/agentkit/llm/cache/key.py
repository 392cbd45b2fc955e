"""Which requests are the same: those of which everything is equal that could change the answer.

Written as canonical JSON and hashed, so that the cache's reader learns neither the prompt
nor what a secret option holds.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage
from langchain_core.utils.utils import LC_AUTO_PREFIX
from pydantic import BaseModel, SecretStr

from agentkit.llm.base import LLMConfig, LLMProvider, ToolSpec

FORMAT: Final = 1
"""Version of keys and entries: raised when either changes, so that old entries are not found."""

_MESSAGE: Final = ("content", "name", "role", "tool_call_id", "status", "additional_kwargs")
_ELSEWHERE: Final = ("api_key", "base_url")
_CALL: Final = ("name", "args", "id", "error")


class NoKeyError(ValueError):
    """A request holds something of which nobody can say whether it is equal to another."""


def request_key(
    provider: LLMProvider,
    messages: Sequence[BaseMessage],
    tools: Sequence[ToolSpec] | None,
    options: Mapping[str, Any],
) -> str:
    """Return the SHA-256 of a request, hexadecimal.

    In it: provider, model, address, temperature, `max_tokens`, the provider's options, how
    tools are called, the fallbacks, the messages, tools and options of the call. Not in it:
    API keys (a new key must not empty the cache), ids and metadata of messages, whether the
    answer is streamed, and what only says how long to try: timeouts, retries, limits, prices.

    Raises:
        NoKeyError: An option is no plain data.
    """
    request = {
        "format": FORMAT,
        "model": _model(provider.config, provider),
        "fallbacks": [_model(fallback, provider) for fallback in provider.config.fallbacks],
        "messages": [_message(message) for message in messages],
        "tools": list(tools or ()),
        "options": {
            name: value
            for name, value in options.items()
            if value is not None and not name.startswith("ls_")  # LangSmith's, for traces only
        },
    }
    text = json.dumps(_canonical(request), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _model(config: LLMConfig, provider: LLMProvider) -> dict[str, Any]:
    primary = config is provider.config
    # `auto` and a default model are what they have become.
    name = provider.name if primary else config.provider
    return {
        "provider": name,
        "model": provider.model if primary else config.model,
        "address": config.options.get("base_url") or getattr(provider.context, f"{name}_base_url", None),
        "temperature": config.temperature,
        "max_tokens": config.max_tokens,
        "tool_calls": config.tool_calls,
        "use": config.use,
        "options": {
            key: value for key, value in config.options.items() if key not in ("api_key", "base_url")
        },
    }


def _message(message: BaseMessage) -> dict[str, Any]:
    said: dict[str, Any] = {"type": message.type.removesuffix("MessageChunk").lower()}
    for field in _MESSAGE:
        if (value := getattr(message, field, None)) not in (None, {}):
            said[field] = value
    if isinstance(message.content, list):
        said["content"] = [_block(block) for block in message.content]
    for field in ("tool_calls", "invalid_tool_calls"):
        if calls := cast("list[dict[str, Any]]", getattr(message, field, None)):
            said[field] = [{part: call.get(part) for part in _CALL} for call in calls]
    return said


def _block(block: str | dict[Any, Any]) -> Any:
    """A content block, without the random id that LangChain gives to each."""
    if isinstance(block, str) or not str(block.get("id", "")).startswith(LC_AUTO_PREFIX):
        return block
    return {key: value for key, value in block.items() if key != "id"}


def _canonical(value: Any) -> Any:
    """Plain data of equal meaning: 1.0 is 1, a tuple is a list, a set is sorted."""
    plain: Any
    match value:
        case Enum():
            plain = _canonical(value.value)
        case None | bool() | int() | str():
            plain = value
        case float():
            plain = int(value) if value.is_integer() else value
        case SecretStr():
            plain = value.get_secret_value()
        case BaseModel():
            plain = _canonical(value.model_dump())
        case Mapping():
            items = cast("Mapping[Any, Any]", value).items()
            plain = {str(key): _canonical(item) for key, item in items}
        case list() | tuple():
            plain = [_canonical(item) for item in cast("Sequence[Any]", value)]
        case set() | frozenset():
            members = [_canonical(item) for item in cast("frozenset[Any]", value)]
            plain = sorted(members, key=lambda member: json.dumps(member, sort_keys=True))
        case _:
            raise NoKeyError(f"{type(value).__name__} is no plain data")
    return plain
