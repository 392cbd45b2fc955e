"""What the gateway costs on top of a bare LangChain model, and what LiteLLM's Router costs.

All sides ask the same OpenAI-compatible server on loopback (another process) in random
order, call by call: `ChatOpenAI` as it is, agentkit's gateway with retry, breaker, timeouts and
price around the provider `openai`, and LiteLLM's Router with its retries. Prints medians
(noise on a busy machine), differences to the bare model, and ratios (the point). Then the
time from a call to the fallback's own `chat` while the first model's breaker is open.

    pip install -e '.[bench]'
    python benchmarks/gateway.py [--calls 300] [--delay 20]
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

TOKENS = 20
WARM_UP = 20
PAUSE = 0.01  # lets what one side still does in the background end before the next one is timed
MESSAGES = [("system", "Answer in one sentence."), ("user", "What is a circuit breaker?")]

Call = Callable[[], Awaitable[float]]
"""Makes one call and returns the seconds to its first content."""


# The server: one process, no framework, so that it costs the same for everyone.


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            size = int(re.findall(rb"content-length: *(\d+)", head, re.IGNORECASE)[0])
            body = json.loads(await reader.readexactly(size))
            await asyncio.sleep(delay)
            writer.write(_streamed() if body.get("stream") else _whole())
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _respond(kind: str, body: bytes) -> bytes:
    return f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


USAGE = {"prompt_tokens": 20, "completion_tokens": TOKENS, "total_tokens": 20 + TOKENS}
BASE = {"id": "c1", "created": 1, "model": "gpt-4.1-mini"}


def _whole() -> bytes:
    message = {"role": "assistant", "content": " ".join(["word"] * TOKENS)}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    answer = {**BASE, "object": "chat.completion", "choices": [choice], "usage": USAGE}
    return _respond("application/json", json.dumps(answer).encode())


def _streamed() -> bytes:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}, *[{"content": "word "}] * TOKENS]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    events += [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    lines = [
        f"data: {json.dumps({**BASE, 'object': 'chat.completion.chunk', **event})}\n\n" for event in events
    ]
    return _respond("text/event-stream", ("".join(lines) + "data: [DONE]\n\n").encode())


async def serve(delay: float) -> None:
    server = await asyncio.start_server(lambda r, w: _answer(r, w, delay), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


# The sides.


async def _first(chunks: AsyncIterator[Any], text: Callable[[Any], str | None]) -> float:
    started, first = time.perf_counter(), 0.0
    async for chunk in chunks:
        if not first and text(chunk):
            first = time.perf_counter() - started
    return first


def bare(url: str) -> tuple[Call, Call]:
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="gpt-4.1-mini", base_url=url, api_key="key", stream_usage=True, temperature=0)
    return _langchain(model)


def gateway(url: str) -> tuple[Call, Call]:
    from agentkit.events import EventBus
    from agentkit.llm import LLMConfig, LLMGateway
    from agentkit.llm.policies import Timeouts
    from agentkit.weights import WeightsStore

    config = LLMConfig(
        "openai",
        "gpt-4.1-mini",
        timeout=Timeouts(first_token=20, idle=15, total=60),
        options={"base_url": url, "api_key": "key"},
    )
    made = LLMGateway({"main": config}, events=EventBus(), weights=WeightsStore(Path("unused")))
    return _langchain(made.chat_model("main"))


def _langchain(model: Any) -> tuple[Call, Call]:
    async def whole() -> float:
        await model.ainvoke(MESSAGES)
        return 0.0

    return whole, lambda: _first(model.astream(MESSAGES), lambda chunk: chunk.content)


def litellm(url: str) -> tuple[Call, Call]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # nothing is fetched
    from litellm import Router

    parameters = {"model": "openai/gpt-4.1-mini", "api_base": url, "api_key": "key"}
    router = Router([{"model_name": "main", "litellm_params": parameters}], num_retries=2, timeout=60)
    messages: Any = [{"role": role, "content": content} for role, content in MESSAGES]

    async def whole() -> float:
        await router.acompletion("main", messages, temperature=0)
        return 0.0

    async def streamed() -> float:
        options = {"stream_options": {"include_usage": True}}
        chunks: Any = router.acompletion("main", messages, stream=True, temperature=0, **options)
        started = time.perf_counter()
        source = await chunks
        spent = time.perf_counter() - started
        first = await _first(source, lambda chunk: chunk.choices and chunk.choices[0].delta.content)
        return spent + first

    return whole, streamed


SIDES: dict[str, Callable[[str], tuple[Call, Call]]] = {"bare": bare, "agentkit": gateway, "litellm": litellm}


async def measure(url: str, sides: list[str], calls: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of each call: whole, streamed, and to the first content of the streamed one."""
    made = {name: SIDES[name](url) for name in sides}
    figures: dict[str, dict[str, list[float]]] = {
        name: {"whole": [], "streamed": [], "first": []} for name in sides
    }
    for number in range(WARM_UP + calls):
        for name in random.sample(sides, len(sides)):
            whole, streamed = made[name]
            await asyncio.sleep(PAUSE)
            began = time.perf_counter()
            await whole()
            middle = time.perf_counter()
            first = await streamed()
            ended = time.perf_counter()
            if number >= WARM_UP:
                figures[name]["whole"].append((middle - began) * 1000)
                figures[name]["streamed"].append((ended - middle) * 1000)
                figures[name]["first"].append(first * 1000)
    return figures


async def fallback(calls: int) -> float:
    """Median milliseconds from a call to the fallback's `chat`, while the first model's breaker is open."""
    from langchain_core.messages import AIMessageChunk

    from agentkit.errors import ProviderError
    from agentkit.events import EventBus
    from agentkit.llm import LLMConfig, LLMGateway, LLMProvider
    from agentkit.llm.policies import BreakerPolicy, RetryPolicy
    from agentkit.registry import Registry
    from agentkit.weights import WeightsStore

    reached: list[float] = []

    class Down(LLMProvider):
        name = "down"
        model = "down"
        health_check = get_model_info = list_models = None  # type: ignore[assignment]

        async def chat(self, messages: Any, **options: Any) -> AsyncIterator[AIMessageChunk]:
            raise ProviderError("down", provider="down", status=503, is_retryable=True)
            yield

    class Up(Down):
        name = "up"
        model = "up"

        async def chat(self, messages: Any, **options: Any) -> AsyncIterator[AIMessageChunk]:
            reached.append(time.perf_counter())
            metadata = {"model_name": "up", "model_provider": "up", "finish_reason": "stop"}
            yield AIMessageChunk(content="up", response_metadata=metadata, chunk_position="last")

    providers = Registry[type[LLMProvider]]("provider")
    providers.register("down", Down)
    providers.register("up", Up)
    breaker, retry = BreakerPolicy(failures=1, open_for=3600), RetryPolicy(attempts=1)
    config = LLMConfig("down", breaker=breaker, retry=retry, fallbacks=(LLMConfig("up"),))
    weights = WeightsStore(Path("unused"))
    model = LLMGateway({"main": config}, events=EventBus(), weights=weights, providers=providers).chat_model()
    taken: list[float] = []
    for _ in range(WARM_UP + calls):
        began = time.perf_counter()
        await model.ainvoke(MESSAGES)
        taken.append((reached[-1] - began) * 1000)
    return statistics.median(taken[WARM_UP:])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--delay", type=float, default=20.0, help="milliseconds the server takes to answer")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=list(SIDES))
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.delay / 1000))
        return
    command = [sys.executable, __file__, "--serve", "--delay", str(given.delay)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/v1"
        try:
            report(asyncio.run(measure(url, given.sides, given.calls)))
        finally:
            server.kill()
    print(f"to the fallback with an open breaker: {asyncio.run(fallback(given.calls)):.3f} ms (goal < 1)")


def report(figures: dict[str, dict[str, list[float]]]) -> None:
    medians = {
        name: {kind: statistics.median(times) for kind, times in kinds.items()}
        for name, kinds in figures.items()
    }
    over = {
        name: {kind: value - medians["bare"][kind] for kind, value in kinds.items()}
        for name, kinds in medians.items()
    }
    print(f"{'':10} {'whole':>18} {'streamed':>18} {'to first content':>18}   (median ms, over bare)")
    for name, kinds in medians.items():
        cells = [f"{value:8.2f} {over[name][kind]:+8.3f}" for kind, value in kinds.items()]
        print(f"{name:10} " + " ".join(f"{cell:>18}" for cell in cells))
    for kind, base in medians["bare"].items():
        line = f"{kind}: agentkit {100 * over['agentkit'][kind] / base:+.1f} % over bare (goal ≤ 5)"
        if "litellm" in over:
            line += (
                f", {over['agentkit'][kind] / over['litellm'][kind]:.3f} of LiteLLM's overhead (goal ≤ 0.1)"
            )
        print(line)


if __name__ == "__main__":
    main()
