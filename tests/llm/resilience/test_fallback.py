import pytest

from agentkit.errors import CircuitOpenError, ProviderError, ProviderTimeoutError, StreamInterruptedError
from agentkit.events import FellBack
from agentkit.llm.policies import DEFAULT_ON
from agentkit.llm.resilience import BreakerProvider, CircuitBreaker, FallbackProvider
from agentkit.llm.resilience.fallback import reason

from .helpers import ROLE, Flaky, recorded, text, unavailable


def chain(*links: Flaky, on: tuple = DEFAULT_ON) -> tuple[FallbackProvider, list]:
    bus, seen = recorded()
    return FallbackProvider(links, events=bus, on=on), seen


async def test_the_next_link_answers_and_says_why() -> None:
    first, second = Flaky([ROLE, unavailable()], name="a"), Flaky(["hello"], name="b")
    provider, seen = chain(first, second)
    chunks = [chunk async for chunk in provider.chat([])]
    assert "".join(str(chunk.text) for chunk in chunks) == "hello"
    assert chunks[-1].response_metadata["model_name"] == "b-model"
    assert chunks[-1].response_metadata["fallback"] == {
        "from": "a-model",
        "reason": "unavailable",
        "error": "down",
    }
    assert seen == [FellBack("a-model", "b-model", "unavailable")]


async def test_without_failure_nothing_is_said_of_fallbacks() -> None:
    second = Flaky(["x"], name="b")
    provider, seen = chain(Flaky(["hello"], name="a"), second)
    chunks = [chunk async for chunk in provider.chat([])]
    assert "fallback" not in chunks[-1].response_metadata
    assert (seen, second.attempts) == ([], 0)


async def test_when_all_fail_the_first_error_is_raised_with_the_others_noted() -> None:
    second = unavailable(status=500)
    second.message = "down too"
    provider, _ = chain(Flaky([unavailable(status=429)], name="a"), Flaky([second], name="b"))
    with pytest.raises(ProviderError) as caught:
        await text(provider)
    assert caught.value.status == 429
    assert caught.value.__notes__ == ["The fallback b-model failed too: down too"]


async def test_only_the_listed_reasons_fall_back() -> None:
    wrong_key = unavailable(status=401, is_retryable=False)
    second = Flaky(["hello"], name="b")
    provider, _ = chain(Flaky([wrong_key], name="a"), second)
    with pytest.raises(ProviderError):
        await text(provider)
    assert second.attempts == 0
    provider, _ = chain(Flaky([wrong_key], name="a"), second, on=("auth",))
    assert await text(provider) == "hello"


async def test_after_the_first_content_nobody_else_answers() -> None:
    second = Flaky(["whole"], name="b")
    provider, _ = chain(Flaky(["half ", unavailable()], name="a"), second)
    with pytest.raises(StreamInterruptedError) as caught:
        await text(provider)
    assert (caught.value.partial, caught.value.provider, second.attempts) == ("half ", "flaky", 0)


async def test_when_every_breaker_is_open_the_first_is_probed() -> None:
    links = []
    for name in ("a", "b"):
        breaker = CircuitBreaker(failures=1, open_for=3600)
        link = BreakerProvider(Flaky([unavailable()], ["back"], name=name), breaker)
        with pytest.raises(ProviderError, match="down"):
            await text(link)
        with pytest.raises(CircuitOpenError, match="left alone"):
            await text(link)
        links.append(link)
    bus, _ = recorded()
    assert await text(FallbackProvider(links, events=bus)) == "back"
    assert [link.inner.attempts for link in links] == [2, 1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (unavailable(status=429), "rate_limit"),
        (unavailable(status=408), "timeout"),
        (unavailable(status=500), "unavailable"),
        (unavailable(status=None), "unavailable"),
        (unavailable(status=None, is_retryable=False), "invalid"),
        (unavailable(status=400), "invalid"),
        (unavailable(status=403), "auth"),
        (unavailable(status=404), "not_found"),
        (ProviderTimeoutError("slow", provider="x", kind="idle"), "timeout"),
        (CircuitOpenError("open", provider="x", retry_in=1), "unavailable"),
    ],
)
def test_reasons(error: ProviderError, expected: str) -> None:
    assert reason(error) == expected
