"""What a run may spend, asked before each model call and charged after it.

A budget travels with LangChain's configuration of a run, so that every call made on the
run's behalf finds it, whichever task or thread it is made in. Budgets nest: an agent's own
stands within its run's, and a call must fit into both.
"""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Literal, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config

from agentkit.errors import BudgetExceededError, ConfigurationError

_KEY = "__agentkit_budget"  # LangChain keeps keys that begin so out of traces and metadata
_UNITS = {"tokens": "{:,.0f} tokens", "cost_usd": "${:,.4f}", "model_calls": "{:,.0f} model calls"}

Owner = Literal["agent", "team"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a run may spend; None is no limit.

    Attributes:
        tokens: Tokens read and written by all its model calls.
        cost_usd: US dollars.
        model_calls: Calls, whatever their size; retries and fallbacks of one call are that call.
    """

    tokens: int | None = None
    cost_usd: float | None = None
    model_calls: int | None = None

    def __post_init__(self) -> None:
        for name in ("tokens", "cost_usd", "model_calls"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ConfigurationError(f"limits.{name} must be positive, not {value}.")

    def __bool__(self) -> bool:
        return (self.tokens, self.cost_usd, self.model_calls) != (None, None, None)


class Budget:
    """What is left of some limits. Any thread may use it.

    Calls that run at the same time are let in together while anything is left: what they
    spend is known when they end. `model_calls` is exact.

    Args:
        limits: What may be spent.
        of: Whose it is, for the error: "the agent python".
        parent: Budget this one stands within.
        owner: What has this limit; `BudgetExceededError.of`.
    """

    def __init__(
        self, limits: Limits, *, of: str, parent: "Budget | None" = None, owner: Owner | None = None
    ) -> None:
        self.limits = limits
        self.of = of
        self.owner: Owner | None = owner
        self.parent = parent
        self._lock = threading.Lock()
        self._calls = 0
        self._tokens = 0
        self._cost = 0.0
        self._unpriced: str | None = None

    @property
    def tokens(self) -> int:
        """Tokens charged so far."""
        return self._tokens

    @property
    def cost_usd(self) -> float | None:
        """US dollars charged so far, or None when any call's cost was unknown."""
        return None if self._unpriced else self._cost

    def admit(self) -> None:
        """Count a model call that is about to be made.

        Raises:
            BudgetExceededError: A limit, of this budget or of one it stands within, is reached.
        """
        self._check()
        if self.parent is not None:
            self.parent.admit()
        with self._lock:
            self._calls += 1

    def charge(self, model: str, tokens: int, cost_usd: float | None) -> None:
        """Add what a call has spent.

        Args:
            model: Who was asked.
            tokens: Read and written.
            cost_usd: US dollars, or None when the price is unknown.
        """
        with self._lock:
            self._tokens += tokens
            if cost_usd is None:
                self._unpriced = self._unpriced or model
            else:
                self._cost += cost_usd
        if self.parent is not None:
            self.parent.charge(model, tokens, cost_usd)

    def _check(self) -> None:
        limits = self.limits
        if limits.cost_usd is not None and self._unpriced:
            raise BudgetExceededError(
                f"What {self.of} has spent is unknown: {self._unpriced} has no known price, "
                f"so its limit of {_said('cost_usd', limits.cost_usd)} cannot be kept.",
                limit="cost_usd",
                spent=None,
                allowed=limits.cost_usd,
                of=self.owner,
                hint="Give the model a price: {input: 0, output: 0} if it costs nothing.",
            )
        self._check_one("model_calls", self._calls, limits.model_calls)
        self._check_one("tokens", self._tokens, limits.tokens)
        self._check_one("cost_usd", self._cost, limits.cost_usd)

    def _check_one(
        self, limit: Literal["tokens", "cost_usd", "model_calls"], spent: float, allowed: float | None
    ) -> None:
        if allowed is not None and spent >= allowed:
            raise BudgetExceededError(
                f"{self.of[0].upper()}{self.of[1:]} may spend {_said(limit, allowed)} and has spent "
                f"{_said(limit, spent)}: no further model call is made.",
                limit=limit,
                spent=spent,
                allowed=allowed,
                of=self.owner,
                hint=f"Raise limits.{limit}, or ask for less.",
            )


def _said(limit: str, amount: float) -> str:
    return _UNITS[limit].format(amount)


_scope: ContextVar[Budget | None] = ContextVar("agentkit_budget", default=None)


def current() -> Budget | None:
    """The budget of the run we are in, or None."""
    configurable = ensure_config().get("configurable") or {}
    return configurable.get(_KEY) or _scope.get()


def limited(config: RunnableConfig | None, limits: Limits, *, run: str, owner: Owner) -> RunnableConfig:
    """Return `config` with a new budget for a run of the graph called `run`.

    It stands within the one that `config` or the run we are in has.
    """
    given = (config or {}).get("configurable") or {}
    parent = given.get(_KEY) or current()
    budget = Budget(limits, of=f"a run of {run}", parent=parent, owner=owner)
    return cast("RunnableConfig", {**(config or {}), "configurable": {**given, _KEY: budget}})


@contextmanager
def budget(
    *, tokens: int | None = None, cost_usd: float | None = None, model_calls: int | None = None
) -> Generator[Budget]:
    """Bound what the model calls within a `with` block spend together.

    Args:
        tokens: Most tokens, read and written.
        cost_usd: Most US dollars.
        model_calls: Most calls.

    Raises:
        BudgetExceededError: From the call that no longer fits; it is not made.

    Example:
        >>> with budget(tokens=1000) as spent:
        ...     spent.charge("qwen", tokens=20, cost_usd=None)
        >>> spent.tokens
        20
    """
    made = Budget(Limits(tokens, cost_usd, model_calls), of="this block", parent=current())
    token = _scope.set(made)
    try:
        yield made
    finally:
        _scope.reset(token)
