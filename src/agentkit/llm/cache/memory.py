"""Answers in this process: for one worker, and for trying out."""

import threading
from typing import Any

from langchain_core.caches import RETURN_VAL_TYPE, InMemoryCache

MOST_ANSWERS = 1000


class MemoryCache(InMemoryCache):
    """LangChain's cache in memory, of bounded size and safe for threads; the oldest answer goes first.

    How old an answer may be is checked by `AnswerCache` when it is found.

    Args:
        maxsize: Most answers.
    """

    def __init__(self, *, maxsize: int = MOST_ANSWERS) -> None:
        super().__init__(maxsize=maxsize)
        self._lock = threading.Lock()

    def update(self, prompt: str, llm_string: str, return_val: RETURN_VAL_TYPE) -> None:
        """See `InMemoryCache.update`; an answer that is replaced makes no other one go."""
        with self._lock:
            self._cache.pop((prompt, llm_string), None)
            super().update(prompt, llm_string, return_val)

    def clear(self, **kwargs: Any) -> None:
        """Remove every answer."""
        with self._lock:
            super().clear(**kwargs)
