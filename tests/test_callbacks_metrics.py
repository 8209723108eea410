"""`MetricsCollector`: the tutorial's numbers, right under threads, and more."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlm_otel.callbacks import MetricsCollector
from rlm_otel.errors import LimitReached
from rlm_otel.events import ModelCall
from rlm_otel.outcome import Usage
from rlm_otel.prices import PriceList
from tests.callback_rig import Refused, Rig

PRICES = {"m": {"input": 1.0, "output": 2.0}}
OTHER = ModelCall(provider="openai", model="other")
M = ModelCall(provider="openai", model="m")


def test_summary_has_the_tutorials_keys_and_more() -> None:
    """Latency of calls that ended without an error; everything again for each model."""
    metrics = MetricsCollector(prices=PRICES)
    rig = Rig(metrics)
    for seconds in (1.0, 2.0, 3.0, 4.0, 5.0):
        rig.call(None, operation=M, seconds=seconds, usage=Usage(input_tokens=10, output_tokens=5, cache_read_tokens=2))
    with pytest.raises(Refused):
        rig.call(None, operation=OTHER, seconds=60.0, usage=None, error=Refused("нет"))
    model = {
        "calls": 5,
        "errors": 0,
        "retries": 0,
        "total_tokens": 75,
        "tokens": {"input": 50, "output": 25, "cached": 10, "reasoning": 0},
        "cost_usd": pytest.approx(0.0001),
        "unpriced_calls": 0,
        "avg_latency_ms": 3000.0,
        "p50_latency_ms": 3000.0,
        "p95_latency_ms": pytest.approx(4800.0),
    }
    nothing = {
        "calls": 1,
        "errors": 1,
        "retries": 0,
        "total_tokens": 0,
        "tokens": {"input": 0, "output": 0, "cached": 0, "reasoning": 0},
        "cost_usd": 0.0,
        "unpriced_calls": 0,
        "avg_latency_ms": 0.0,
        "p50_latency_ms": 0.0,
        "p95_latency_ms": 0.0,
    }
    assert metrics.summary() == {
        "total_calls": 6,
        "total_tokens": 75,
        "errors": 1,
        "avg_latency_ms": 3000.0,
        "by_model": {"m": 5},
        "p50_latency_ms": 3000.0,
        "p95_latency_ms": pytest.approx(4800.0),
        "tokens": {"input": 50, "output": 25, "cached": 10, "reasoning": 0},
        "cost_usd": pytest.approx(0.0001),
        "unpriced_calls": 0,
        "retries": 0,
        "models": {"m": model, "other": nothing},
    }


def test_attributes_are_the_tutorials() -> None:
    """They can be read at any time."""
    metrics = MetricsCollector(prices=PRICES)
    rig = Rig(metrics)
    rig.call(None, operation=M, seconds=0.5, usage=Usage(input_tokens=1, output_tokens=2))
    assert (metrics.calls, metrics.tokens, metrics.errors, metrics.latencies, metrics.by_model) == (
        1,
        3,
        0,
        [0.5],
        {"m": 1},
    )


def test_summary_before_anything_happened() -> None:
    """Zeros, as the tutorial's."""
    summary = MetricsCollector().summary()
    assert (summary["total_calls"], summary["avg_latency_ms"], summary["p95_latency_ms"]) == (0, 0.0, 0.0)
    assert summary["models"] == {}


def test_retries_and_unpriced_calls_are_counted_by_model() -> None:
    """A model without a price is no free model."""
    metrics = MetricsCollector()
    rig = Rig(metrics)
    call = rig.begin(OTHER)
    rig.emitter.retry(call.retrying(1, 2, Refused("нет"), 0.0), None)
    call.finish()
    model = metrics.summary()["models"]["other"]
    assert (model["retries"], model["unpriced_calls"], model["cost_usd"]) == (1, 1, 0.0)


def test_a_failure_is_one_error_however_many_runs_it_leaves() -> None:
    """A failed tool is the model's business, a limit the run's own."""
    metrics = MetricsCollector()
    rig = Rig(metrics)
    with pytest.raises(Refused), rig.run() as run, rig.run(run) as sub:
        rig.call(sub, error=Refused("нет"))
    assert metrics.errors == 1
    with pytest.raises(LimitReached), rig.run():
        raise LimitReached("хватит")
    assert metrics.errors == 2
    rig.tool(None, error=ValueError("нет"))
    assert metrics.errors == 2


def test_concurrent_calls_do_not_disturb_each_other() -> None:
    """Twenty threads, all in flight at once."""
    metrics = MetricsCollector(prices=PRICES)
    together = threading.Barrier(20)

    def work(_: int) -> None:
        rig = Rig(metrics)
        call = rig.begin(M)
        together.wait(10)
        rig.clock.advance(1.0)
        call.usage = Usage(input_tokens=1, output_tokens=1)
        call.finish()
        for _ in range(50):
            rig.call(None, operation=M, seconds=1.0, usage=Usage(input_tokens=1, output_tokens=1))

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert (metrics.calls, metrics.tokens, set(metrics.latencies)) == (1020, 2040, {1.0})


def test_prices_are_checked_at_once() -> None:
    """A wrong price would otherwise be found with the bill."""
    with pytest.raises(ValueError):
        MetricsCollector(prices={"m": {"input": -1.0, "output": 2.0}})
    prices = PriceList()
    assert MetricsCollector(prices=prices).prices is prices
    assert isinstance(MetricsCollector(prices=PRICES).prices, PriceList)
