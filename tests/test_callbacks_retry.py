"""`RetryHandler`: growing waits, honest counts."""

import asyncio

import pytest

from rlm_otel.callbacks import RetryHandler
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.emitter import Emitter
from tests.callback_rig import CHAT, Refused, Rig


def test_waits_grow_and_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """The tutorial's lines; the final error counts the retries of its own call."""
    slept: list[float] = []
    handler = RetryHandler(language="ru", sleep=slept.append)
    rig = Rig(handler)
    lucky, unlucky = rig.begin(CHAT), rig.begin(CHAT)
    rig.emitter.retry(lucky.retrying(1, 3, Refused("занято"), 0.5), None)
    rig.emitter.retry(lucky.retrying(2, 3, Refused("занято"), 1.0), None)
    rig.emitter.retry(unlucky.retrying(1, 3, Refused("занято"), 0.5), None)
    lucky.finish()
    unlucky.finish(Refused("нет"))
    assert slept == [2.0, 4.0, 2.0]
    assert handler.retry_count == 3
    assert capsys.readouterr().out.splitlines() == [
        "⚠️ Ретрай 1/3 через 2.0s: занято",
        "⚠️ Ретрай 2/3 через 4.0s: занято",
        "⚠️ Ретрай 1/3 через 2.0s: занято",
        "❌ Финальная ошибка после 1 ретраев: нет",
    ]


async def test_wait_of_an_async_run_can_be_cancelled() -> None:
    """No thread goes on sleeping for an hour and keeps the process from ending."""
    slept: list[float] = []
    handler = RetryHandler(backoff=3600.0, sleep=slept.append)
    rig = Rig()
    rig.emitter = Emitter([handler], async_hooks=AsyncHooks())
    with rig.run() as run:
        call = rig.begin(CHAT, run)
        waiting = asyncio.ensure_future(rig.emitter.aretry(call.retrying(1, 3, Refused("занято"), 0.5), run))
        while handler.retry_count == 0:
            await asyncio.sleep(0)
        await asyncio.get_running_loop().shutdown_default_executor()  # the hook's thread has ended: the wait is here
        await asyncio.sleep(0)
        assert not waiting.done()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        call.finish()
    assert slept == []


@pytest.mark.parametrize("arguments", [{"max_retries": -1}, {"max_retries": True}, {"backoff": -1.0}])
def test_arguments_that_make_no_sense_are_errors(arguments: dict[str, float]) -> None:
    """They name themselves."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        RetryHandler(**arguments)  # type: ignore[arg-type]  # the point of the test
