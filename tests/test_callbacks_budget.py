"""`BudgetCallback`: refuses before the call, under threads too, for each root run on its own."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlm_otel.callbacks import BudgetCallback, MetricsCollector, budget
from rlm_otel.errors import BudgetExceeded
from rlm_otel.events import ModelCall
from rlm_otel.outcome import Usage
from tests.callback_rig import Refused, Rig

M = ModelCall(provider="local", model="m")
PRICES = {"m": {"input": 1_000_000.0, "output": 0.0}}


def refusal(rig: Rig, calls: int, **more: object) -> str:
    """What a run of so many calls is refused with."""

    def work() -> None:
        with rig.run() as run:
            for _ in range(calls):
                rig.call(run, operation=M, **more)

    with pytest.raises(BudgetExceeded) as caught:
        work()
    return str(caught.value)


def test_calls() -> None:
    """The third of two is refused before it begins."""
    metrics = MetricsCollector()
    rig = Rig(BudgetCallback(max_calls=2), metrics)
    assert refusal(rig, 3) == "Budget exceeded: 2 model calls were made, allowed is max_calls=2."
    assert metrics.calls == 2


def test_tokens() -> None:
    """A call that is running is not cut short: the next one is refused."""
    rig = Rig(BudgetCallback(max_tokens=80))
    assert refusal(rig, 3) == "Budget exceeded: 90 tokens were used, allowed is max_tokens=80."


def test_cost() -> None:
    """In USD, by the given prices."""
    rig = Rig(BudgetCallback(max_cost=1.5, prices=PRICES))
    usage = Usage(input_tokens=1, output_tokens=1)
    assert refusal(rig, 3, usage=usage) == "Budget exceeded: 2.000000 USD were spent, allowed is max_cost=1.5."


def test_depth() -> None:
    """The root is at depth 0."""
    rig = Rig(BudgetCallback(max_depth=1))
    with pytest.raises(BudgetExceeded) as caught, rig.run() as run, rig.run(run) as sub, rig.run(sub):
        pass
    assert str(caught.value) == "Budget exceeded: a run at depth 2, allowed is max_depth=1."


def test_cost_of_a_model_without_a_price_is_refused_at_once() -> None:
    """Before anything is paid; the message has the line to write."""
    metrics = MetricsCollector()
    rig = Rig(BudgetCallback(max_cost=1), metrics)
    assert refusal(rig, 1) == (
        "max_cost=1 cannot be kept: no price is known for model 'm' of 'local'. "
        "Give one: BudgetCallback(max_cost=1, prices={'m': {'input': ..., 'output': ...}}), in USD per million tokens."
    )
    assert metrics.calls == 0


def test_prices_of_another_callback_count() -> None:
    """All callbacks of a run price alike: by the first list that was given."""
    rig = Rig(MetricsCollector(prices=PRICES), BudgetCallback(max_cost=0.5))
    message = refusal(rig, 2, usage=Usage(input_tokens=1, output_tokens=1))
    assert message == "Budget exceeded: 1.000000 USD were spent, allowed is max_cost=0.5."


def test_call_without_reported_tokens_ends_a_budget_that_counts_them() -> None:
    """A limit that silently does not hold would be worse."""
    assert refusal(Rig(BudgetCallback(max_tokens=80)), 2, usage=None) == (
        "max_tokens=80 cannot be kept: the server did not say how many tokens a call used. "
        "Use max_calls= with this server."
    )
    assert refusal(Rig(BudgetCallback(max_cost=1, prices=PRICES)), 2, usage=None) == (
        "max_cost=1 cannot be kept: what a call cost is unknown (no_usage). "
        "Give prices= for the models that answer, or use max_calls=."
    )


def test_failed_calls_are_counted() -> None:
    """With what they used, where that is known; where it is not, the budget goes on."""
    rig = Rig(BudgetCallback(max_calls=3, max_tokens=80))
    with rig.run() as run:
        for usage in (None, Usage(input_tokens=40, output_tokens=40)):
            with pytest.raises(Refused):
                rig.call(run, operation=M, usage=usage, error=Refused("нет"))
        with pytest.raises(BudgetExceeded):
            rig.call(run, operation=M)


def test_sub_runs_share_the_budget_of_their_root_and_the_next_run_has_its_own() -> None:
    """What a root run used is forgotten when it ends."""
    budget = BudgetCallback(max_calls=2)
    rig = Rig(budget)
    for _ in range(2):
        with rig.run() as run:
            rig.call(run, operation=M)
            with rig.run(run) as sub:
                rig.call(sub, operation=M)
                with pytest.raises(BudgetExceeded):
                    rig.call(sub, operation=M)
    assert budget._used == {}


def test_calls_that_end_after_their_run_leave_nothing_behind() -> None:
    """Tools start threads that nobody waits for."""
    budget = BudgetCallback(max_calls=2)
    rig = Rig(budget)
    run = rig.begin(M)
    late = rig.begin(M, run)
    run.finish()
    late.finish()
    rig.call(None, operation=M)
    assert budget._used == {}


def test_concurrent_calls_cannot_overshoot() -> None:
    """Twenty threads ask at once, ten may."""
    rig = Rig(BudgetCallback(max_calls=10))
    together = threading.Barrier(20)
    outcomes: list[str] = []
    with rig.run() as run:

        def ask(_: int) -> None:
            together.wait(10)
            try:
                rig.call(run, operation=M)
            except BudgetExceeded:
                outcomes.append("refused")
            else:
                outcomes.append("made")

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(ask, range(20)))
    assert sorted(outcomes) == ["made"] * 10 + ["refused"] * 10


def test_a_call_in_no_run_is_its_own_budget_and_one_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """A service that limits an observed client makes a run around what shall be limited."""
    budget._hint.cache_clear()
    rig = Rig(BudgetCallback(max_calls=1))
    for _ in range(3):
        rig.call(None)
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("BudgetCallback is told of a model call in no run: its limits hold for this call alone; ")


@pytest.mark.parametrize("arguments", [{"max_calls": -1}, {"max_tokens": 1.5}, {"max_cost": float("nan")}])
def test_limits_that_make_no_sense_are_errors(arguments: dict[str, float]) -> None:
    """They name themselves."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        BudgetCallback(**arguments)  # type: ignore[arg-type]  # the point of the test
