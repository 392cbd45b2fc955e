import pytest
from langchain_core.messages import AIMessageChunk

from agentkit.errors import ConfigurationError, ProviderError, StreamInterruptedError
from agentkit.events import RetryScheduled
from agentkit.llm import retry_with_backoff
from agentkit.llm.policies import RetryPolicy
from agentkit.llm.resilience import RetryProvider

from .helpers import ROLE, Flaky, recorded, text, unavailable


class Waits(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def retrying(
    *plans: list[object], draw: float = 1.0, **policy: float
) -> tuple[RetryProvider, Flaky, Waits, list]:
    bus, seen = recorded()
    inner, waits = Flaky(*plans), Waits()
    policy_ = RetryPolicy(**policy)  # type: ignore[arg-type]
    return RetryProvider(inner, policy_, events=bus, sleep=waits, draw=lambda: draw), inner, waits, seen


async def test_a_retryable_failure_is_repeated_and_nobody_notices() -> None:
    provider, inner, waits, seen = retrying([ROLE, unavailable()], ["hello"])
    chunks = [chunk async for chunk in provider.chat([])]
    assert [chunk.text for chunk in chunks] == ["hello", ""]
    assert inner.attempts == inner.closed == 2
    assert waits == [0.5]
    assert seen == [RetryScheduled("flaky", "flaky-model", 1, 0.5, "ProviderError")]


async def test_waits_double_are_jittered_and_capped() -> None:
    provider, _, waits, _ = retrying([unavailable()], attempts=6, base=1, cap=4, draw=0.5)
    with pytest.raises(ProviderError, match="down"):
        await text(provider)
    assert waits == [0.5, 1.0, 2.0, 2.0, 2.0]


async def test_retry_after_is_honoured_up_to_the_cap() -> None:
    provider, _, waits, _ = retrying([unavailable(status=429, retry_after=3.0)], ["ok"], draw=0)
    assert await text(provider) == "ok"
    assert waits == [3.0]
    provider, inner, waits, _ = retrying([unavailable(status=429, retry_after=60.0)])
    with pytest.raises(ProviderError):
        await text(provider)
    assert (inner.attempts, waits) == (1, [])


@pytest.mark.parametrize("status", [400, 401, 404])
async def test_what_is_not_retryable_is_not_repeated(status: int) -> None:
    provider, inner, _, _ = retrying([unavailable(status=status, is_retryable=False)])
    with pytest.raises(ProviderError):
        await text(provider)
    assert inner.attempts == 1


async def test_after_the_first_content_nothing_is_repeated() -> None:
    provider, inner, _, _ = retrying([ROLE, "half ", "an ", unavailable()], ["whole"])
    said = []
    with pytest.raises(StreamInterruptedError, match="The answer broke off: down") as caught:
        async for chunk in provider.chat([]):
            said.append(chunk.text)  # noqa: PERF401 - it must survive the error
    assert caught.value.partial == "".join(said) == "half an "
    assert caught.value.is_retryable is False
    assert inner.attempts == 1


async def test_a_tool_call_is_content() -> None:
    call = AIMessageChunk(
        content="",
        tool_call_chunks=[{"name": "f", "args": "", "id": "1", "index": 0, "type": "tool_call_chunk"}],
    )
    provider, inner, _, _ = retrying([call, unavailable()], ["x"])
    with pytest.raises(StreamInterruptedError):
        await text(provider)
    assert inner.attempts == 1


async def test_an_empty_answer_is_an_answer() -> None:
    provider, inner, _, _ = retrying([ROLE])
    chunks = [chunk async for chunk in provider.chat([])]
    assert chunks[-1].chunk_position == "last"
    assert inner.attempts == 1


def test_a_policy_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="attempts must be at least 1, not 0"):
        RetryPolicy(attempts=0)


async def test_any_call_can_be_repeated_by_the_same_rules() -> None:
    bus, seen = recorded()
    waits, outcomes = Waits(), [unavailable(), unavailable(status=429, retry_after=3.0), "ok"]

    async def call() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    policy = RetryPolicy(attempts=3)
    again = {"events": bus, "model": "m", "sleep": waits, "draw": lambda: 1.0}
    assert await retry_with_backoff(call, policy, **again) == "ok"
    assert waits == [0.5, 3.0]
    assert [(event.model, event.attempt, event.delay) for event in seen] == [("m", 1, 0.5), ("m", 2, 3.0)]
    outcomes[:] = [unavailable()] * 4
    with pytest.raises(ProviderError, match="down"):
        await retry_with_backoff(call, policy, **again)
    assert len(outcomes) == 1


@pytest.mark.parametrize("error", [unavailable(status=400, is_retryable=False), ValueError("no")])
async def test_a_call_that_may_not_be_repeated_is_made_once(error: Exception) -> None:
    made: list[int] = []

    async def call() -> None:
        made.append(1)
        raise error

    with pytest.raises(type(error)):
        await retry_with_backoff(call)
    assert made == [1]
