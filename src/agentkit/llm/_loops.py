"""One thing per event loop: an HTTP client must not be used on a loop it was not made on."""

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Makes `factory()` once for each running event loop and forgets it with the loop.

    What it makes must hold nothing open between uses, for a loop may be gone unannounced.
    """

    def __init__(self, factory: Callable[[], T]) -> None:
        self._factory = factory
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, T] = WeakKeyDictionary()
        self._lock = threading.RLock()  # loops of several threads come at once

    def get(self) -> T:
        """Return the running loop's own."""
        loop = asyncio.get_running_loop()
        with self._lock:
            made = self._made.get(loop)
            if made is None:
                made = self._made[loop] = self._factory()
            return made
