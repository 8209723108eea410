"""`BudgetCallback`: stops a run, its sub-runs included, that wants more tokens, money, calls or depth than allowed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from rlm_otel.ambient import current_bracket
from rlm_otel.callbacks.arguments import check_amount, check_whole
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.errors import BudgetExceeded
from rlm_otel.fence import logger
from rlm_otel.outcome import Cost, Unpriced, Usage
from rlm_otel.prices import Price, PriceList, default_prices


@dataclass(slots=True)
class _Used:
    """What one root run has used; it is forgotten when the last operation of it that was seen to start has ended."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0
    uncounted_calls: int = 0
    unpriced: Unpriced | None = None
    open_runs: set[object] = field(default_factory=set)
    open_calls: set[object] = field(default_factory=set)


class BudgetCallback(BaseCallback):
    """Raises `BudgetExceeded` before a model call that would go over: a call that is running is not cut short.

    Everything is counted for each root run with its sub-runs; a call in no run counts for itself. `max_cost` is in USD;
    `max_depth` is the deepest run allowed, root = 0. `prices` (model name -> price) come before the public price list;
    a cost budget stops the first call of a model that has none. ValueError for a limit that makes no sense.
    """

    def __init__(
        self,
        *,
        max_tokens: int | None = None,
        max_cost: float | None = None,
        max_calls: int | None = None,
        max_depth: int | None = None,
        prices: PriceList | Mapping[str, str | Price | Mapping[str, float | None]] | None = None,
    ) -> None:
        for name, limit in (("max_tokens", max_tokens), ("max_calls", max_calls), ("max_depth", max_depth)):
            if limit is not None:
                check_whole(name, limit)
        if max_cost is not None:
            check_amount("max_cost", max_cost, "USD")
        self.max_tokens = max_tokens
        self.max_cost = max_cost
        self.max_calls = max_calls
        self.max_depth = max_depth
        self.prices = prices if prices is None or isinstance(prices, PriceList) else PriceList(prices)
        self._used: dict[object, _Used] = {}
        self._lock = ForkLock()

    # Hooks ------------------------------------------------------------

    def on_run_start(self, prompt: str, **kwargs: object) -> None:
        """Refuses a run that is too deep."""
        with self._lock:
            self._of(kwargs).open_runs.add(kwargs.get("operation_id"))
        depth = kwargs.get("depth")
        if self.max_depth is not None and isinstance(depth, int) and depth > self.max_depth:
            raise BudgetExceeded(f"Budget exceeded: a run at depth {depth}, allowed is max_depth={self.max_depth}.")

    def on_llm_start(self, prompt: str, **kwargs: object) -> None:
        """Refuses a call for which nothing is left; else counts it, before others can."""
        if kwargs.get("run_id") is None:
            _hint()
        self._check_price(kwargs)
        with self._lock:
            used = self._of(kwargs)
            refusal = self._refusal(used)
            if refusal is None:
                used.calls += 1
                used.open_calls.add(kwargs.get("operation_id"))
            else:
                self._forget_if_idle(kwargs, used)
        if refusal is not None:
            raise BudgetExceeded(refusal)

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        """Counts what the call used."""
        self._settle(kwargs)

    def on_error(self, error: BaseException, **kwargs: object) -> None:
        """Counts what a failed call used."""
        self._settle(kwargs)

    def on_run_end(self, result: object, **kwargs: object) -> None:
        """Forgets what a root run used."""
        with self._lock:
            used = self._used.get(kwargs.get("root_id"))
            if used is not None:
                used.open_runs.discard(kwargs.get("operation_id"))
                self._forget_if_idle(kwargs, used)

    # Inside ------------------------------------------------------------

    def _of(self, kwargs: Mapping[str, object]) -> _Used:
        return self._used.setdefault(kwargs.get("root_id"), _Used())

    def _forget_if_idle(self, kwargs: Mapping[str, object], used: _Used) -> None:
        if not used.open_runs and not used.open_calls:
            self._used.pop(kwargs.get("root_id"), None)

    def _settle(self, kwargs: Mapping[str, object]) -> None:
        with self._lock:
            used = self._used.get(kwargs.get("root_id"))
            if used is None or kwargs.get("operation_id") not in used.open_calls:
                return  # a run's error, or a call that was refused here
            used.open_calls.discard(kwargs.get("operation_id"))
            usage, cost = kwargs.get("usage"), kwargs.get("cost")
            is_complete = kwargs.get("outcome") == "completed"
            tokens = usage.total_tokens if isinstance(usage, Usage) else None
            used.tokens += tokens or 0
            used.uncounted_calls += tokens is None and is_complete
            if isinstance(cost, Cost):
                used.usd += cost.usd
            elif isinstance(cost, Unpriced) and is_complete:
                used.unpriced = cost
            self._forget_if_idle(kwargs, used)

    def _check_price(self, kwargs: Mapping[str, object]) -> None:
        if self.max_cost is None:
            return
        run = current_bracket.get()
        # What prices the calls is the list of the run's first callback that has one.
        prices = run.emitter.prices if run is not None else self.prices or default_prices()
        provider, model = str(kwargs.get("provider")), str(kwargs.get("model"))
        if not prices.knows(provider, model):
            raise BudgetExceeded(
                f"max_cost={self.max_cost:g} cannot be kept: no price is known for model {model!r} of {provider!r}. "
                f"Give one: BudgetCallback(max_cost={self.max_cost:g}, "
                f"prices={{{model!r}: {{'input': ..., 'output': ...}}}}), in USD per million tokens."
            )

    def _refusal(self, used: _Used) -> str | None:
        if self.max_calls is not None and used.calls >= self.max_calls:
            return f"Budget exceeded: {used.calls} model calls were made, allowed is max_calls={self.max_calls}."
        if self.max_tokens is not None:
            if used.tokens >= self.max_tokens:
                return f"Budget exceeded: {used.tokens} tokens were used, allowed is max_tokens={self.max_tokens}."
            if used.uncounted_calls:
                return (
                    f"max_tokens={self.max_tokens} cannot be kept: the server did not say how many tokens a call used. "
                    "Use max_calls= with this server."
                )
        if self.max_cost is not None:
            if used.usd >= self.max_cost:
                return f"Budget exceeded: {used.usd:.6f} USD were spent, allowed is max_cost={self.max_cost:g}."
            if used.unpriced is not None:
                return (
                    f"max_cost={self.max_cost:g} cannot be kept: what a call cost is unknown ({used.unpriced.reason}). "
                    "Give prices= for the models that answer, or use max_calls=."
                )
        return None


@cache
def _hint() -> None:
    """Says once that a limit which nobody can reach is none."""
    logger.warning(
        "BudgetCallback is told of a model call in no run: its limits hold for this call alone; for a limit over "
        "several put `with rlm_otel.run(..., callbacks=[..., budget])` around them; further ones are not told"
    )
