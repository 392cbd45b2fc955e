"""Every provider, every fault, through the whole stack as a user has it. The rules are in `faults.py`."""

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from agentkit.errors import ProviderError, ProviderTimeoutError, StreamInterruptedError
from agentkit.events import (
    AttemptFinished,
    CircuitChanged,
    Event,
    FellBack,
    ModelCallFinished,
    RetryScheduled,
)
from agentkit.llm.policies import DEFAULT_ON, BreakerPolicy, RetryPolicy, Timeouts

from .faults import FAULTS, KEY, OWN, SHORT, Fault, expected
from .stack import PROVIDERS, WIRES, Stack, model_config, stack
from .upstream import CUT, Upstream
from .wires.openai import OpenAIWire, answer

# What each provider's text tells to do, where the rules leave it to the provider.
HINTS = {
    ("openai", 401): "Set OPENAI_API_KEY",
    ("vllm", 401): "the model's option api_key",
    ("anthropic", 401): "Set ANTHROPIC_API_KEY",
    ("openai", 404): "Check the model's name, 'gpt-4.1-mini', and the address",
    ("vllm", 404): "Check the model's name, 'gpt-4.1-mini', and the address",
    ("anthropic", 404): "Check the model's name, 'claude-haiku-4-5', and the address",
    ("ollama", 404): "Run: ollama pull qwen3:8b",
}
NOBODY = {
    "openai": "No connection to OpenAI at .*\nIs the address right",
    "vllm": "No connection to vLLM at .*\nIs the address right",
    "anthropic": "No connection to Anthropic at .*\nIs the address right",
    "ollama": "does not answer at .*\nStart it with: ollama serve",
    "local": "embedded model's server broke off",
}
# The embedded server is spoken to over plain HTTP on loopback, always: no TLS, no fault of it.
TLS = ("mute", "plain", "self-signed")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's side of TLS whose certificate nobody has signed but itself."""
    folder = tmp_path_factory.mktemp("tls")
    key, crt = folder / "key.pem", folder / "crt.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=x"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(crt, key)
    return context


@pytest.fixture(scope="session", autouse=True)
def _warm() -> None:
    """Let every provider answer once: what SDKs import at their first call is not what is timed here."""

    async def ask(provider: str) -> None:
        wire = WIRES[provider]()
        async with Upstream(wire) as upstream:
            upstream.script = [[*wire.opening, wire.said("hello"), *wire.closing]]
            one = stack(provider, upstream.url, KEY)
            assert (await one.model.ainvoke("hello")).text == "hello"
            await one.gateway.aclose()

    for provider in PROVIDERS:
        asyncio.run(ask(provider))


@contextmanager
def full() -> Iterator[int]:
    """A port whose queue of connections has no room: whoever connects waits."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@asynccontextmanager
async def place(
    fault: Fault, provider: str, certificate: ssl.SSLContext
) -> AsyncIterator[tuple[str, Upstream]]:
    """Where the request goes: an address, and the upstream that counts what arrives."""
    wire = WIRES[provider]()
    tls = certificate if fault.at == "self-signed" else None
    async with Upstream(wire, tls=tls) as upstream:
        upstream.script = [fault.script(wire) if fault.script else wire.failure("not reached")]
        path = upstream.url.removeprefix(upstream.origin)
        if fault.at == "plain":
            yield upstream.url.replace("http:", "https:"), upstream
        elif fault.at == "full":
            with full() as port:
                yield f"http://127.0.0.1:{port}{path}", upstream
        elif fault.at == "mute":
            with socket.socket() as mute:
                mute.bind(("127.0.0.1", 0))
                mute.listen()  # the kernel takes the connection; nobody ever reads from it
                yield f"https://127.0.0.1:{mute.getsockname()[1]}{path}", upstream
        elif fault.at == "refused":
            with socket.socket() as closed:
                closed.bind(("127.0.0.1", 0))  # bound, so nobody else takes it; not listening
                yield f"http://127.0.0.1:{closed.getsockname()[1]}{path}", upstream
        else:
            yield upstream.url, upstream


def config(fault: Fault, *, streamed: bool) -> dict[str, Any]:
    """Two attempts, no pause to speak of, a breaker that opens after both, and the one limit at stake."""
    limit = fault.limit if streamed or fault.limit in ("", "connect") else "total"
    # A total must leave time for the first words; the other limits run only where nothing comes.
    seconds = 3 * SHORT if streamed and limit == "total" else SHORT
    total = 4.0 if limit == "connect" else 30.0  # below the default of connect: it must be ours that strikes
    return {
        "retry": RetryPolicy(attempts=2, base=0.001, cap=1.0),
        "breaker": BreakerPolicy(failures=2, open_for=60.0),
        "timeout": replace(Timeouts(total=total, connect=30.0), **({limit: seconds} if limit else {})),
    }


async def called(one: Stack, *, streamed: bool) -> tuple[str, dict[str, Any], ProviderError | None]:
    """What the caller got: text, the answer's metadata, and the error."""
    text, metadata = "", {}
    try:
        if not streamed:
            answer = await one.model.ainvoke("hello")
            return answer.text, answer.response_metadata, None
        async for chunk in one.model.astream("hello"):
            text += chunk.text
            metadata = chunk.response_metadata or metadata
    except ProviderError as error:
        return text, metadata, error
    return text, metadata, None


def told(events: list[Event]) -> list[tuple[str, ...]]:
    """The events as a story: what happened, and how."""
    story: list[tuple[str, ...]] = []
    for event in events:
        match event:
            case AttemptFinished():
                story.append(("attempt", event.status, event.timeout_kind))
            case RetryScheduled():
                story.append(("retry", str(event.attempt)))
            case CircuitChanged():
                story.append(("circuit", event.to))
            case FellBack():
                story.append(("fell back", event.reason))
            case ModelCallFinished():
                story.append(("call", event.status))
            case _:
                raise AssertionError(event)
    return story


def foretold(fault: Fault, *, streamed: bool, helped: bool) -> list[tuple[str, ...]]:
    """The story the rules tell."""
    limit = fault.limit if streamed or fault.limit in ("", "connect") else "total"
    failed = ("attempt", "error", limit)
    if streamed and fault.seen:
        return [failed, ("call", "error")]
    story: list[tuple[str, ...]] = [failed]
    if fault.requests == 2:
        story += [("retry", "1"), failed, ("circuit", "open")]
    if helped and fault.reason in DEFAULT_ON:
        return [*story, ("fell back", fault.reason), ("attempt", "ok", ""), ("call", "ok")]
    return [*story, ("call", "error")]


def check_error(error: ProviderError | None, fault: Fault, provider: str, *, streamed: bool) -> None:
    assert type(error) is expected(fault, streamed=streamed), error
    interrupted = isinstance(error, StreamInterruptedError)
    assert error.provider == provider
    assert error.status == (WIRES[provider].error_status if fault.status == OWN else fault.status)
    assert error.is_retryable == (fault.reason in DEFAULT_ON and not interrupted)
    if fault.retry_after is None or interrupted:
        assert error.retry_after is None
    else:
        assert error.retry_after == pytest.approx(fault.retry_after, rel=0.05)
    if isinstance(error, ProviderTimeoutError):
        assert error.kind == (fault.limit if streamed or fault.limit == "connect" else "total")
    says = fault.says if streamed or fault.limit in ("", "connect") else "not complete after"
    hint = re.escape(HINTS.get((provider, error.status), "because of"))
    assert re.search(says.format(hint=hint, nobody=NOBODY[provider]), str(error)), str(error)
    if provider not in ("ollama", "local"):  # which have none
        assert KEY not in f"{error} {error!r} {getattr(error, '__notes__', '')}"


def cases() -> Iterator[Any]:
    for provider in PROVIDERS:
        for fault in FAULTS:
            if provider != "local" or fault.at not in TLS:
                yield pytest.param(provider, fault, id=f"{provider}-{fault.name}")


streamed_and_whole = pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
every_provider = pytest.mark.parametrize("provider", PROVIDERS)


@streamed_and_whole
@pytest.mark.parametrize(("provider", "fault"), list(cases()))
async def test_the_rules(provider: str, fault: Fault, certificate: ssl.SSLContext, streamed: bool) -> None:
    await asyncio.gather(
        alone(provider, fault, certificate, streamed=streamed),
        with_a_fallback(provider, fault, certificate, streamed=streamed),
    )


async def alone(provider: str, fault: Fault, certificate: ssl.SSLContext, *, streamed: bool) -> None:
    async with place(fault, provider, certificate) as (url, upstream):
        one = stack(provider, url, KEY, **config(fault, streamed=streamed))
        text, _, error = await called(one, streamed=streamed)
        check_error(error, fault, provider, streamed=streamed)
        assert told(one.events) == foretold(fault, streamed=streamed, helped=False)
        check_text(text, error, fault, streamed=streamed)
        check_arrivals(upstream, one, fault)
        await one.gateway.aclose()


async def with_a_fallback(
    provider: str, fault: Fault, certificate: ssl.SSLContext, *, streamed: bool
) -> None:
    async with place(fault, provider, certificate) as (url, upstream), Upstream(OpenAIWire()) as healthy:
        healthy.script = [answer("hello ", "there")]
        fallback = model_config("openai", healthy.url, KEY)
        one = stack(provider, url, KEY, [fallback], **config(fault, streamed=streamed))
        text, metadata, error = await called(one, streamed=streamed)
        assert told(one.events) == foretold(fault, streamed=streamed, helped=True)
        if fault.reason in DEFAULT_ON and not (streamed and fault.seen):
            # What the failed attempts said, if anything, nobody has seen.
            assert (text, error) == ("hello there", None)
            assert metadata["model_provider"] == "openai"
            assert metadata["fallback"]["reason"] == fault.reason
            assert KEY not in str(metadata) or provider in ("ollama", "local")
            assert len(healthy.requests) == 1
        else:
            check_error(error, fault, provider, streamed=streamed)
            check_text(text, error, fault, streamed=streamed)
            assert not healthy.requests
        check_arrivals(upstream, one, fault)
        await one.gateway.aclose()


@streamed_and_whole
@every_provider
async def test_the_second_attempt_answers(provider: str, streamed: bool) -> None:
    """A fault before the first content that passes is nobody's business."""
    wire = WIRES[provider]()
    async with Upstream(wire) as upstream:
        upstream.script = [
            (503, wire.failure("busy")),
            [*wire.opening, wire.error],
            [*wire.opening, CUT],
            [*wire.opening, wire.said("hello "), wire.said("there"), *wire.closing],
        ]
        one = stack(provider, upstream.url, KEY, retry=RetryPolicy(attempts=4, base=0.001))
        text, metadata, error = await called(one, streamed=streamed)
        assert (text, error) == ("hello there", None)
        assert "fallback" not in metadata
        attempts = [event[1] for event in told(one.events) if event[0] == "attempt"]
        assert attempts == ["error", "error", "error", "ok"]
        assert told(one.events)[-1] == ("call", "ok")
        assert len(upstream.requests) == 4
        await one.gateway.aclose()


@streamed_and_whole
@every_provider
async def test_a_slow_drip_is_no_fault(provider: str, streamed: bool) -> None:
    """As long as no gap reaches the idle limit, and the whole not the total."""
    wire = WIRES[provider]()
    drops = [piece for number in range(8) for piece in (0.1, wire.said(str(number)))]
    async with Upstream(wire) as upstream:
        upstream.script = [[*wire.opening, *drops, *wire.closing]]
        limits = Timeouts(first_token=10.0, idle=0.6, total=20.0)  # the whole takes longer than idle
        one = stack(provider, upstream.url, KEY, timeout=limits, retry=RetryPolicy(attempts=1))
        text, _, error = await called(one, streamed=streamed)
        assert (text, error) == ("01234567", None)
        assert told(one.events) == [("attempt", "ok", ""), ("call", "ok")]
        await one.gateway.aclose()


@every_provider
async def test_no_limit_on_connecting_is_no_limit(provider: str) -> None:
    """`connect: null` waits as long as the other limits let it."""
    with full() as port:
        path = "" if provider in ("ollama", "anthropic") else "/v1"
        limits = Timeouts(connect=None, total=SHORT)
        retry = RetryPolicy(attempts=1)
        one = stack(provider, f"http://127.0.0.1:{port}{path}", KEY, timeout=limits, retry=retry)
        _, _, error = await called(one, streamed=False)
        assert isinstance(error, ProviderTimeoutError)
        assert error.kind == "total"
        await one.gateway.aclose()


def check_text(text: str, error: ProviderError | None, fault: Fault, *, streamed: bool) -> None:
    if streamed and fault.seen:
        assert text.startswith(fault.seen)
        assert isinstance(error, StreamInterruptedError)
        assert error.partial == text
    else:
        assert text == ""


def check_arrivals(upstream: Upstream, one: Stack, fault: Fault) -> None:
    """No hidden requests: the upstream saw as many as there were attempts, and none is left open."""
    attempts = [
        event for event in one.events if isinstance(event, AttemptFinished) and event.status == "error"
    ]
    # On a busy machine our own short limit may strike before a request has arrived.
    given_up = sum(bool(event.timeout_kind) for event in attempts)
    made = len(attempts) if fault.script else 0
    assert made - given_up <= len(upstream.requests) <= made
    waits = [event.delay for event in one.events if isinstance(event, RetryScheduled)]
    assert all(wait >= (fault.retry_after or 0) for wait in waits)
