"""What the stores have in common: entries as JSON, one home loop, and callers from anywhere."""

import asyncio
import hashlib
import json
from abc import abstractmethod
from typing import Any, Final, cast

from langchain_core.caches import RETURN_VAL_TYPE, BaseCache
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, Generation

from agentkit import portal

_FIELDS: Final = ("content", "tool_calls", "additional_kwargs", "response_metadata", "usage_metadata")


class StoredCache(BaseCache):
    """A LangChain cache whose connections belong to the event loop it was made on.

    Calls from other loops and from threads are carried over to that loop, which must run.
    Entries are kept as plain JSON, and whatever is found, only messages are made of it.

    Args:
        ttl: Seconds an entry is kept that does not say so itself (`generation_info["ttl"]`).
    """

    def __init__(self, *, ttl: float = 3600.0) -> None:
        self._home = asyncio.get_running_loop()
        self._ttl = ttl

    @abstractmethod
    async def _get(self, key: str) -> str | None:
        """Return what is kept under `key` and has not expired."""

    @abstractmethod
    async def _put(self, key: str, entry: str, seconds: float) -> None:
        """Keep `entry` for so long, in place of what was there."""

    @abstractmethod
    async def _clear(self) -> None:
        """Remove every entry."""

    async def alookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """See `BaseCache.alookup`.

        Raises:
            ValueError: What is stored there is not an entry.
        """
        entry = await portal.arun(self._get, _key(prompt, llm_string), on=self._home)
        return None if entry is None else loads(entry)

    async def aupdate(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See `BaseCache.aupdate`.

        Raises:
            TypeError: The answer holds something JSON cannot say.
        """
        entry = dumps(return_val)
        info = (return_val[0].generation_info if return_val else None) or {}
        seconds = float(info.get("ttl", self._ttl))
        await portal.arun(self._put, _key(prompt, llm_string), entry, seconds, on=self._home)

    async def aclear(self, **kwargs: Any) -> None:
        """Remove every entry of agentkit."""
        del kwargs
        await portal.arun(self._clear, on=self._home)

    def lookup(self, prompt: str, llm_string: str) -> RETURN_VAL_TYPE | None:
        """See `alookup`; not from the home loop itself."""
        return portal.run(self.alookup, prompt, llm_string, on=self._home)

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See `aupdate`; not from the home loop itself."""
        portal.run(self.aupdate, prompt, llm_string, return_val, on=self._home)

    def clear(self, **kwargs: Any) -> None:
        """See `aclear`; not from the home loop itself."""
        del kwargs
        portal.run(self.aclear, on=self._home)


def dumps(generations: RETURN_VAL_TYPE) -> str:
    """Write generations as JSON: ASCII, so that every text can be stored anywhere."""
    return json.dumps([_written(generation) for generation in generations], separators=(",", ":"))


def loads(entry: str | bytes) -> list[Generation]:
    """Read what `dumps` wrote. Makes messages and nothing else, whatever is written there.

    Raises:
        ValueError: It was written by somebody else.
    """
    try:
        items = json.loads(entry)
        if not isinstance(items, list):
            raise TypeError("no list")  # noqa: TRY301 - one word for all that can be wrong
        return [_read(item) for item in cast("list[dict[str, Any]]", items)]
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"an entry cannot be read: {error!r}") from error


def _written(generation: Generation) -> dict[str, Any]:
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if not isinstance(message, AIMessage):
        return {"text": generation.text, "info": generation.generation_info}
    fields = {field: getattr(message, field) for field in _FIELDS}
    return {"message": fields, "info": generation.generation_info}


def _read(item: dict[str, Any]) -> Generation:
    info = item["info"]
    if "message" not in item:
        return Generation(text=item["text"], generation_info=info)
    fields = item["message"]
    message = AIMessage(**{field: fields[field] for field in _FIELDS})
    return ChatGeneration(message=message, generation_info=info)


def _key(prompt: str, llm_string: str) -> str:
    """One key for LangChain's two; the separator keeps ("ab", "c") from being ("a", "bc")."""
    return hashlib.sha256(json.dumps([prompt, llm_string]).encode()).hexdigest()
