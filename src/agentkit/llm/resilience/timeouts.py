"""Time limits of a stream: until its first content, between chunks, and altogether.

Each wait for a chunk is bounded, never the `yield` between them: a timeout there would
cancel the consumer. HTTP read timeouts cannot do this: keep-alive comments reset them.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Literal

from langchain_core.messages import AIMessageChunk

from agentkit.errors import ProviderTimeoutError
from agentkit.llm.base import LLMProvider, closing, has_content
from agentkit.llm.policies import Timeouts

TimeoutKind = Literal["first_token", "idle", "total"]

_HINTS: dict[TimeoutKind, str] = {
    "first_token": "Raise timeout.first_token, or name a fallback.",
    "idle": "Raise timeout.idle, or name a fallback.",
    "total": "Raise the model's timeout, or lower max_tokens.",
}


async def bounded(
    chunks: AsyncIterator[AIMessageChunk], limits: Timeouts, provider: LLMProvider
) -> AsyncIterator[AIMessageChunk]:
    """Pass a stream on while it keeps to `limits`; what the consumer takes does not count.

    Args:
        chunks: The stream; closed at the end, also when that is a timeout.
        limits: Seconds for `first_token`, `idle` and `total`.
        provider: Whom the error names.

    Raises:
        ProviderTimeoutError: A limit was reached.
    """
    now = asyncio.get_running_loop().time
    started = now()
    ends = started + limits.total if limits.total is not None else None
    waiting_until = started + limits.first_token if limits.first_token is not None else None
    content = False
    async with closing(chunks) as source:
        while True:
            kind, deadline = _nearest(("idle" if content else "first_token", waiting_until), ("total", ends))
            timer = asyncio.timeout_at(deadline)
            try:
                async with timer:
                    chunk = await anext(source, None)
            except TimeoutError as error:
                if not timer.expired():
                    raise  # the provider's own
                raise _late(kind, limits, provider) from error
            if chunk is None:
                return
            content = content or has_content(chunk)
            yield chunk
            if content:
                waiting_until = now() + limits.idle if limits.idle is not None else None


def _late(kind: TimeoutKind, limits: Timeouts, provider: LLMProvider) -> ProviderTimeoutError:
    seconds: float = getattr(limits, kind)
    said = {
        "first_token": f"{provider.model} said nothing within {seconds:g} s.",
        "idle": f"{provider.model} stopped for {seconds:g} s in mid-answer.",
        "total": f"The answer was not complete after {seconds:g} s.",
    }
    return ProviderTimeoutError(said[kind], provider=provider.name, kind=kind, hint=_HINTS[kind])


def _nearest(
    first: tuple[TimeoutKind, float | None], second: tuple[TimeoutKind, float | None]
) -> tuple[TimeoutKind, float | None]:
    """The deadline that comes first; None never comes."""
    if first[1] is None or (second[1] is not None and second[1] < first[1]):
        return second
    return first
