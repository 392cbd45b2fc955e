"""The total timeout of one call, around any provider's stream."""

import asyncio
from collections.abc import AsyncIterator

from langchain_core.messages import AIMessageChunk

from agentkit.errors import ProviderError
from agentkit.llm.base import closing


async def total_timeout(
    chunks: AsyncIterator[AIMessageChunk], seconds: float | None, *, provider: str
) -> AsyncIterator[AIMessageChunk]:
    """Pass `chunks` on, and fail once `seconds` have gone by since the first was asked for.

    The clock is checked while waiting for a chunk, never around a `yield`: a timeout
    there would cancel the consumer.

    Raises:
        ProviderError: The time is up.
    """
    async with closing(chunks) as source:
        if seconds is None:
            async for chunk in source:
                yield chunk
            return
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            # The provider may have been interrupted by its own TimeoutError: only ours is mapped.
            limit = asyncio.timeout_at(deadline)
            try:
                async with limit:
                    chunk = await anext(source, None)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                raise ProviderError(
                    f"The answer was not complete after {seconds:g} s.",
                    provider=provider,
                    is_retryable=True,
                    hint="Raise the model's timeout, or lower max_tokens.",
                ) from error
            if chunk is None:
                return
            yield chunk
