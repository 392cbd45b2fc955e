"""Who is let through to a provider: its circuit breaker and its concurrency limit."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.messages import AIMessageChunk, BaseMessage

from agentkit.errors import CircuitOpenError, ProviderError, ProviderTimeoutError
from agentkit.events import EventBus, QueueLeft, Status
from agentkit.llm.base import LLMProvider, ToolSpec, closing
from agentkit.llm.resilience.breaker import CircuitBreaker, Ticket, is_provider_failure
from agentkit.llm.resilience.gate import Gate, Gates
from agentkit.llm.resilience.shared import SharedCircuit
from agentkit.llm.resilience.wrapper import ProviderWrapper


class BreakerProvider(ProviderWrapper):
    """Leaves a provider alone while its breaker is open, and queues where its concurrency is limited.

    Every attempt counts for itself; a cancelled one, or one that was refused for the
    request's own fault, says nothing about the provider. Nor does waiting in the queue.

    Args:
        inner: Makes one attempt a call.
        breaker: Shared by everything that talks to the same provider and model.
        events: Receives `QueueLeft`.
        gates: The concurrency limits, or None.
        shared: The breaker's place among those of other replicas, or None.
    """

    def __init__(
        self,
        inner: LLMProvider,
        breaker: CircuitBreaker,
        *,
        events: EventBus | None = None,
        gates: Gates | None = None,
        shared: SharedCircuit | None = None,
    ) -> None:
        super().__init__(inner)
        self.breaker = breaker
        self._events = events or EventBus()
        self._gates = gates
        self._shared = shared

    async def chat(
        self,
        messages: Sequence[BaseMessage],
        *,
        tools: Sequence[ToolSpec] | None = None,
        stream: bool = True,
        force_probe: bool = False,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Ask the inner provider unless the breaker is open; see `LLMProvider.chat`.

        Args:
            messages: The conversation so far.
            tools: What the model may call.
            stream: False yields exactly one chunk.
            force_probe: Try although the open period is not over; still one at a time.
            **options: As for every provider.

        Raises:
            CircuitOpenError: It was not asked.
            ProviderTimeoutError: Of kind `queue`: it was not asked, others were before.
        """
        ticket, gate = await self._admitted(force=force_probe)
        try:
            source = self.inner.chat(messages, tools=tools, stream=stream, **options)
            async with closing(source) as chunks:
                async for chunk in chunks:
                    yield chunk
            self.breaker.succeeded(ticket)
        except ProviderError as error:
            if is_provider_failure(error):
                self.breaker.failed(ticket)
            else:
                self.breaker.released(ticket)
            raise
        except (asyncio.CancelledError, GeneratorExit, Exception):
            self.breaker.released(ticket)
            raise
        finally:
            if gate is not None:
                gate.leave()
            if ticket.probe and self._shared is not None:
                self._shared.circuits.release(self._shared.name)

    async def _admitted(self, *, force: bool) -> tuple[Ticket, Gate | None]:
        """Leave to make one call, with its place at the gate; both go back with the outcome."""
        if self._shared is not None:
            self._shared.circuits.watch(self._shared.name, self.breaker)
        ticket, gate = self._ask(force=force), None
        try:
            if self._gates:
                # Nobody holds a place while weights are fetched, and only now `auto` has chosen.
                await self.inner.start()
                gate = self._gates.of(self.inner)
            if gate is not None and not gate.try_enter():
                queue, gate = gate, None
                self.breaker.released(ticket)
                await self._queue(queue)
                gate = queue
                ticket = self._ask(force=force)  # the provider may have died meanwhile
            if ticket.probe and self._shared is not None:
                await self._claim(ticket, self._shared, force=force)
        except BaseException:
            self.breaker.released(ticket)
            if gate is not None:
                gate.leave()
            raise
        return ticket, gate

    def _ask(self, *, force: bool) -> Ticket:
        ticket = self.breaker.admit(force=force)
        if ticket is None:
            raise self._left_alone(self.breaker.retry_in)
        return ticket

    async def _queue(self, gate: Gate) -> None:
        """Wait for a place."""
        limits = self.config.timeouts
        seconds = limits.total if limits.queue is None else limits.queue
        began = time.perf_counter()
        status: Status = "cancelled"
        try:
            await gate.enter(seconds)
            status = "ok"
        except TimeoutError:
            status = "error"
            raise ProviderTimeoutError(
                f"{self.name} was asked too much: it was not this call's turn within {seconds:g} s.",
                provider=self.name,
                kind="queue",
                hint=f"Raise concurrency (now {gate.limit}) or timeout.queue, or name a fallback.",
            ) from None
        finally:
            self._events.emit(QueueLeft(self.name, self.model, status, time.perf_counter() - began))

    async def _claim(self, ticket: Ticket, shared: SharedCircuit, *, force: bool) -> None:
        """See that no other replica probes at the same time."""
        try:
            wait = await shared.circuits.claim(shared.name, force=force)
        except BaseException:
            shared.circuits.release(shared.name)  # cancelled: the claim may have been heard
            raise
        if wait:
            self.breaker.open_elsewhere(wait)
            self.breaker.released(ticket)
            raise self._left_alone(wait)

    def _left_alone(self, wait: float) -> CircuitOpenError:
        until = f"for another {wait:.0f} s" if wait else "until the probe under way is back"
        return CircuitOpenError(
            f"{self.name} failed too often and is left alone {until}.",
            provider=self.name,
            retry_in=wait,
            hint="Name a fallback for the model, or wait.",
        )
