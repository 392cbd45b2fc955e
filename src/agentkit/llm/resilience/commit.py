"""The point of no return of a stream: the first content the user sees."""

from collections.abc import AsyncIterator

from langchain_core.messages import AIMessageChunk

from agentkit.errors import ProviderError, StreamInterruptedError
from agentkit.llm.base import closing, has_content


async def committing(chunks: AsyncIterator[AIMessageChunk]) -> AsyncIterator[AIMessageChunk]:
    """Pass a stream on from its first content; errors after that are final.

    Chunks without content (a role, usage) are held back until content comes, so that a
    failure before it is invisible and the request may be made again, by us or elsewhere.

    Raises:
        ProviderError: Before the first content, as it came.
        StreamInterruptedError: After it, with the text so far; not retryable.
    """
    held: list[AIMessageChunk] = []
    seen: list[str] | None = None
    try:
        async with closing(chunks) as source:
            async for chunk in source:
                if seen is None and not has_content(chunk):
                    held.append(chunk)
                    continue
                if seen is None:
                    seen = []
                    for early in held:
                        yield early
                seen.append(str(chunk.text))
                yield chunk
    except StreamInterruptedError:
        raise
    except ProviderError as error:
        if seen is None:
            raise
        raise StreamInterruptedError(
            f"The answer broke off: {error.message}",
            provider=error.provider,
            partial="".join(seen),
            status=error.status,
            hint=error.hint,
        ) from error
    if seen is None:  # an answer without content is an answer too
        for late in held:
            yield late
