"""The concurrency limit: how many requests are at a provider's address at once.

`asyncio.Semaphore` belongs to one event loop; a gateway is called from several (graphs,
the portal of synchronous callers). This gate belongs to none: whoever leaves hands the
place to the first in the queue, on whichever loop that one waits.
"""

import asyncio
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from agentkit.llm.base import LLMConfig, LLMProvider, ProviderContext

Address = tuple[str, str]
"""Provider name and base URL, or an empty string for the provider's own address."""


def address(provider: str, config: LLMConfig, context: ProviderContext) -> Address:
    """Where the requests of a model go.

    Args:
        provider: Who answers; for `auto`, the one it has chosen.
        config: The model.
        context: Holds the addresses of providers whose models name none.
    """
    url = config.options.get("base_url") or getattr(context, f"{provider}_base_url", None) or config.use or ""
    try:
        parts = urlsplit(str(url))
    except ValueError:  # no address at all: the provider's to complain about
        return provider, str(url)
    # Scheme and host are case-insensitive (RFC 3986, 6.2.2.1), the path is not.
    plain = parts._replace(scheme=parts.scheme.lower(), netloc=parts.netloc.lower())
    return provider, plain.geturl().rstrip("/")


@dataclass(eq=False, slots=True)
class _Waiter:
    """One call in the queue; `granted` is set under the gate's lock, `turn` on the call's own loop."""

    loop: asyncio.AbstractEventLoop
    turn: asyncio.Future[None]
    granted: bool = False

    def wake(self) -> bool:
        """Tell the call that it is its turn; False if its loop is gone."""
        try:
            self.loop.call_soon_threadsafe(self._resolve)
        except RuntimeError:
            return False
        return True

    def _resolve(self) -> None:
        if not self.turn.done():
            self.turn.set_result(None)


class Gate:
    """Lets at most `limit` calls in, first come, first served; usable from any loop and thread.

    Each `try_enter` that succeeded and each `enter` that returned needs exactly one `leave`.

    Args:
        limit: Most calls inside; at least 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside = 0
        self._queue: OrderedDict[_Waiter, None] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def limit(self) -> int:
        """Most calls inside."""
        return self._limit

    @property
    def inside(self) -> int:
        """Calls inside now, those included whose turn has come and who do not know it yet."""
        return self._inside

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._queue)

    def narrow(self, limit: int) -> None:
        """Lower the limit; whoever is inside beyond it may finish."""
        with self._lock:
            self._limit = min(self._limit, limit)

    def set_limit(self, limit: int) -> None:
        """Change the limit; those in the queue for whom there is a place now go in."""
        with self._lock:
            self._limit = limit
            self._admit()

    def try_enter(self) -> bool:
        """Go in if there is a place and nobody queues for it."""
        with self._lock:
            if self._queue or self._inside >= self._limit:
                return False
            self._inside += 1
            return True

    async def enter(self, seconds: float | None = None) -> None:
        """Go in, waiting for a place if need be.

        Args:
            seconds: Longest wait, or None.

        Raises:
            TimeoutError: No place became free in time.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if not self._queue and self._inside < self._limit:
                self._inside += 1
                return
            waiter = _Waiter(loop, loop.create_future())
            self._queue[waiter] = None
        try:
            async with asyncio.timeout(seconds):
                await waiter.turn
        except BaseException:
            self._give_up(waiter)
            raise

    def leave(self) -> None:
        """Give the place back; the first in the queue has it then."""
        with self._lock:
            self._inside -= 1
            self._admit()

    def _admit(self) -> None:
        while self._queue and self._inside < self._limit:
            waiter, _ = self._queue.popitem(last=False)
            if waiter.wake():  # else its loop ended without cancelling it: it will not come
                waiter.granted = True
                self._inside += 1

    def _give_up(self, waiter: _Waiter) -> None:
        with self._lock:
            if not waiter.granted:
                self._queue.pop(waiter, None)
                return
        self.leave()  # cancelled in the moment its turn had come: on to the next


class Gates:
    """The gates of one gateway, by address: models there share one, with their smallest limit.

    Args:
        context: Holds the addresses of providers whose models name none.
    """

    def __init__(self, context: ProviderContext) -> None:
        self._context = context
        self._gates: dict[Address, Gate] = {}
        self._limited = False

    def __bool__(self) -> bool:
        """Whether anything is limited."""
        return self._limited

    def add(self, config: LLMConfig) -> None:
        """Take a model's limit into account; for `auto`, once it has chosen (see `of`)."""
        if config.concurrency is None:
            return
        self._limited = True
        if config.provider != "auto":
            self._narrow(address(config.provider, config, self._context), config.concurrency)

    def only(self, configs: Iterable[LLMConfig]) -> None:
        """Forget the limits of all other models: they are gone. One for `auto` is back at its next call."""
        limits: dict[Address, int] = {}
        for config in configs:
            if config.concurrency is not None and config.provider != "auto":
                place = address(config.provider, config, self._context)
                limits[place] = min(limits.get(place, sys.maxsize), config.concurrency)
        for place, gate in self._gates.items():
            gate.set_limit(limits.get(place, sys.maxsize))

    def of(self, provider: LLMProvider) -> Gate | None:
        """The gate before a provider, which has been started; None where nothing is limited."""
        config = provider.config
        place = address(provider.name, config, self._context)
        if config.provider == "auto" and config.concurrency is not None:
            self._narrow(place, config.concurrency)
        return self._gates.get(place)

    def _narrow(self, place: Address, limit: int) -> None:
        self._gates.setdefault(place, Gate(limit)).narrow(limit)
