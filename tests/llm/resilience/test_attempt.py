import asyncio

import pytest
from langchain_core.messages import AIMessageChunk

from agentkit.errors import ProviderTimeoutError
from agentkit.events import AttemptFinished
from agentkit.llm.base import closing
from agentkit.llm.policies import Timeouts
from agentkit.llm.resilience import AttemptProvider

from .helpers import HANG, ROLE, Flaky, recorded, text, unavailable


def attempt(*plan: object, **limits: float | None) -> tuple[AttemptProvider, Flaky, list]:
    bus, seen = recorded()
    inner = Flaky(plan)
    return AttemptProvider(inner, timeouts=Timeouts(**limits), events=bus), inner, seen


@pytest.mark.parametrize(
    ("plan", "limits", "kind", "message"),
    [
        ([HANG], {"first_token": 0.05}, "first_token", "flaky-model said nothing within 0.05 s"),
        ([ROLE, HANG], {"first_token": 0.05}, "first_token", "said nothing"),
        (["a", HANG], {"first_token": 0.05, "idle": 0.05}, "idle", "stopped for 0.05 s in mid-answer"),
        ([HANG], {"first_token": 5, "total": 0.05}, "total", "not complete after 0.05 s"),
        (["a", *[0.02, "b"] * 50], {"idle": 5, "total": 0.1}, "total", "not complete"),
        ([*[0.02, ROLE] * 50], {"first_token": 0.1, "idle": 5}, "first_token", "said nothing"),
    ],
)
async def test_each_limit_ends_the_attempt_and_closes_the_request(
    plan: list[object], limits: dict[str, float], kind: str, message: str
) -> None:
    provider, inner, seen = attempt(*plan, **limits)
    with pytest.raises(ProviderTimeoutError, match=message) as caught:
        await text(provider)
    assert (caught.value.kind, caught.value.is_retryable, caught.value.provider) == (kind, True, "flaky")
    assert inner.closed == 1
    assert [(event.status, event.timeout_kind) for event in seen] == [("error", kind)]


async def test_a_slow_consumer_is_not_a_slow_provider() -> None:
    provider, _, _ = attempt("a", "b", "c", idle=0.05)
    said = []
    async for chunk in provider.chat([]):
        await asyncio.sleep(0.1)
        said.append(chunk.text)
    assert "".join(said) == "abc"


async def test_the_providers_own_timeout_error_is_not_taken_for_ours() -> None:
    provider, _, _ = attempt(TimeoutError("socket"), total=5)
    with pytest.raises(TimeoutError, match="socket"):
        await text(provider)


async def test_every_end_is_reported_once() -> None:
    for plan, status in ((["a"], "ok"), ([unavailable()], "error")):
        provider, _, seen = attempt(*plan)
        try:
            await text(provider)
        except Exception as error:  # noqa: BLE001 - which one is not the point here
            assert status == "error", error
        (event,) = seen
        assert isinstance(event, AttemptFinished)
        assert (event.status, event.provider, event.model) == (status, "flaky", "flaky-model")


async def test_a_cancelled_attempt_closes_the_request_and_is_reported() -> None:
    provider, inner, seen = attempt("a", HANG)
    async with closing(provider.chat([])) as chunks:
        assert isinstance(await anext(chunks), AIMessageChunk)
        waiting = asyncio.ensure_future(anext(chunks))
        await asyncio.sleep(0.01)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert inner.closed == 1
    assert [event.status for event in seen] == ["cancelled"]
