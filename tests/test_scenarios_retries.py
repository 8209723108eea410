"""Scenarios of retries, by their numbers: one span a logical call, every attempt visible, and waits as asked."""

import threading
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import openai
import pytest

from rlm_otel import RLM, BaseCallback
from rlm_otel.testing import Answer, Broken, Failure, Repeat, Tokens
from tests.rig import Rig
from tests.ways import ANY_WAY, ASYNC, EITHER, PLAIN, STREAMED, ask

BUSY = Failure(429, message="Slow down, Пётр", retry_after=7)
OK = Answer("ok", usage=Tokens(input=10, output=3))
SAFE_TEXT = "openai.RateLimitError, HTTP 429, code rate_limit_exceeded, request req_2"


class Waits:
    """Time as the runner sees it between two attempts: it goes on only in waits, and where a test says so."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Lets hours of waiting pass at once."""
    waits = Waits()
    monkeypatch.setattr("rlm_otel.emitter.time", waits)
    monkeypatch.setattr("rlm_otel.effects.time", waits)
    monkeypatch.setattr("rlm_otel.effects.asyncio", SimpleNamespace(sleep=waits.asleep))
    return waits


class Told:
    """A callback that notes what `on_retry` is told."""

    def __init__(self) -> None:
        self.retries: list[tuple[int, int, str, float, int | None]] = []

    def on_retry(self, attempt: int, max_attempts: int, error: Exception, delay_s: float, status: int | None) -> None:
        self.retries.append((attempt, max_attempts, type(error).__name__, delay_s, status))


# One call ------------------------------------------------------------------------------------------------------------


@ANY_WAY
async def test_s43_giving_up_says_status_request_and_wait(rig: Rig, waits: Waits, way: str) -> None:
    """The last 429 is the call's failure, with what the vendor said about it; its text is content."""
    with pytest.raises(openai.RateLimitError, match="Пётр"):
        await ask(rig.rlm(Repeat(BUSY), max_retries=1), way)
    assert rig.outline() == "invoke_agent !openai.RateLimitError\n  chat gpt-4o !openai.RateLimitError"
    chat = rig.span("chat gpt-4o")
    own = {name: value for name, value in chat.attributes.items() if name.startswith(("rlm.", "error"))}
    assert own == {
        "error.type": "openai.RateLimitError",
        "rlm.outcome": "failed",
        "rlm.depth": 0,
        "rlm.turn": 1,
        "rlm.http.status_code": 429,
        "rlm.error.code": "rate_limit_exceeded",
        "rlm.request.id": "req_2",
        "rlm.retry_after": 7.0,
        "rlm.retry.count": 1,
    }
    assert (chat.status, chat.description) == ("error", SAFE_TEXT)
    assert [event.name for event in chat.events] == ["rlm.retry", "exception"]
    assert rig.value("rlm.client.attempts", error_type="openai.RateLimitError") == 2


@ANY_WAY
async def test_s53_two_429_then_success_is_one_good_span(rig: Rig, waits: Waits, way: str) -> None:
    """Each failed attempt is an event of the one span and a call of `on_retry`; the call itself is no error."""
    told = Told()
    result = await ask(rig.rlm(BUSY, BUSY, OK, callbacks=[rig.callback, told]), way)
    chat = rig.span("chat gpt-4o")
    assert (result.text, result.outcome) == ("ok", "completed")
    assert (chat.status, chat.attributes["rlm.retry.count"], chat.attributes.get("error.type")) == ("unset", 2, None)
    assert [(event.name, event.attributes) for event in chat.events] == [
        (
            "rlm.retry",
            {
                "error.type": "openai.RateLimitError",
                "rlm.http.status_code": 429,
                "rlm.error.code": "rate_limit_exceeded",
                "rlm.request.id": f"req_{attempt}",
                "rlm.retry_after": 7.0,
                "rlm.retry.attempt": attempt,
                "rlm.retry.max_attempts": 2,
                "rlm.retry.delay": 7.0,
            },
        )
        for attempt in (1, 2)
    ]
    assert told.retries == [(1, 2, "RateLimitError", 7.0, 429), (2, 2, "RateLimitError", 7.0, 429)]


@ANY_WAY
async def test_s54_retries_are_one_operation_and_three_attempts(rig: Rig, waits: Waits, way: str) -> None:
    """One operation, one duration, the tokens once; the attempts have a metric of their own."""
    await ask(rig.rlm(BUSY, BUSY, OK), way)
    assert [(p.value, p.attributes["rlm.outcome"]) for p in rig.points("rlm.client.operations")] == [(1, "completed")]
    duration = rig.points("gen_ai.client.inference.duration")
    assert [(point.count, point.attributes.get("error.type")) for point in duration] == [(1, None)]
    attempts = rig.points("rlm.client.attempts")
    assert sorted((str(point.attributes.get("error.type")), point.value) for point in attempts) == [
        ("None", 1),
        ("openai.RateLimitError", 2),
    ]
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 10
    assert rig.value("gen_ai.client.inference.usage.output_tokens") == 3


@PLAIN
async def test_s55_the_sdk_itself_does_not_retry(rig: Rig, waits: Waits, way: str) -> None:
    """A given client that would retry seven times sends one request an attempt, and keeps its own setting."""
    server = rig.serve(Repeat(BUSY))
    where: dict[str, Any] = {"base_url": server.base_url, "api_key": "any", "max_retries": 7}
    told = Told()
    with openai.OpenAI(**where) as client:
        async with openai.AsyncOpenAI(**where) as async_client:
            given: dict[str, Any] = {"client": client, "async_client": async_client}
            rlm = RLM.from_openai("gpt-4o", callbacks=[rig.callback, told], max_retries=1, **given)
            with pytest.raises(openai.RateLimitError):
                await ask(rlm, way)
            assert (client.max_retries, async_client.max_retries) == (7, 7)
    assert [request.headers["x-stainless-retry-count"] for request in server.requests] == ["0", "0"]
    assert (len(told.retries), rig.value("rlm.client.attempts")) == (1, 2)


@ANY_WAY
async def test_s56_what_the_application_repeats_is_a_run_of_its_own(rig: Rig, way: str) -> None:
    """Two calls of `run` are two traces, whatever became of the first."""
    rlm = rig.rlm(Failure(400), OK)
    with pytest.raises(openai.BadRequestError):
        await ask(rlm, way)
    await ask(rlm, way)
    assert rig.outline() == (
        "invoke_agent !openai.BadRequestError\n  chat gpt-4o !openai.BadRequestError\ninvoke_agent\n  chat gpt-4o"
    )
    assert len({span.trace_id for span in rig.spans}) == 2
    assert rig.value("rlm.client.operations") == 2


# When to repeat (the same rules in each way) -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "requests"),
    [
        (Failure(408), 2),
        (Failure(409), 2),
        (Failure(503), 2),
        (Failure(422), 1),
        (Failure(500, headers={"x-should-retry": "false"}), 1),
        (Failure(400, headers={"x-should-retry": "true"}), 2),
        (Failure(429, retry_after=120), 2),
        (Failure(429, retry_after=121), 1),
    ],
)
def test_only_what_may_pass_is_repeated(rig: Rig, waits: Waits, failure: Failure, requests: int) -> None:
    """As the SDK has it: by status, unless the server says yes or no itself; not where it asks for over two minutes."""
    server, told = rig.serve(Repeat(failure)), Told()
    with pytest.raises(openai.APIStatusError):
        rig.rlm(server=server, max_retries=1, callbacks=[rig.callback, told]).run("Hi")
    assert (len(server.requests), len(told.retries), len(waits.slept)) == (requests, requests - 1, requests - 1)
    assert rig.span("chat gpt-4o").attributes.get("rlm.retry_after") == failure.retry_after


@STREAMED
@pytest.mark.parametrize("after", [1, 2])
async def test_nothing_is_repeated_once_a_chunk_was_delivered(rig: Rig, waits: Waits, way: str, after: int) -> None:
    """A stream that broke after its first chunk, even an empty one, fails: a second answer would follow the first."""
    server = rig.serve(Broken("one two", how="cut", after=after), OK)
    with pytest.raises(openai.APIConnectionError):
        await ask(rig.rlm(server=server), way)
    assert (len(server.requests), waits.slept) == (1, [])


@STREAMED
async def test_a_stream_that_breaks_before_its_first_chunk_is_repeated(rig: Rig, waits: Waits, way: str) -> None:
    """Until a chunk came, nobody has seen anything."""
    assert (await ask(rig.rlm(Broken("one two", how="cut", after=0), OK), way)).text == "ok"
    assert [event.name for event in rig.span("chat gpt-4o").events] == ["rlm.retry"]


class Wish(BaseCallback):
    """A callback that wishes for a number of retries."""

    def __init__(self, max_retries: object) -> None:
        self.max_retries = max_retries


@pytest.mark.parametrize(
    ("argument", "callbacks", "requests"),
    [
        (None, [], 3),
        (None, [Wish(1)], 2),
        (None, [Wish(0)], 1),
        (0, [Wish(4)], 1),
        (3, [Wish(1)], 4),
        (None, [Wish(1), Wish(4)], 2),
        (None, [Wish(True)], 3),
        (None, [Wish(Mock()), Wish(4)], 5),
        (None, [Mock(max_retries=4)], 3),
        (None, [SimpleNamespace(on_token=print, max_retries=4)], 3),
    ],
)
def test_how_often_argument_then_callback_then_two(
    rig: Rig, waits: Waits, argument: int | None, callbacks: list[object], requests: int
) -> None:
    """The argument beats the first `BaseCallback` with a true int `max_retries`, and that beats 2."""
    server = rig.serve(Repeat(Failure(500)))
    with pytest.raises(openai.InternalServerError):
        rig.rlm(server=server, max_retries=argument, callbacks=[rig.callback, *callbacks]).run("Hi")
    assert len(server.requests) == requests


# How long to wait ----------------------------------------------------------------------------------------------------


@EITHER
@pytest.mark.parametrize(
    ("headers", "delay_s"), [({"retry-after": "7"}, 7.0), ({"retry-after-ms": "1500", "retry-after": "7"}, 1.5)]
)
async def test_the_server_says_how_long(
    rig: Rig, waits: Waits, way: str, headers: dict[str, str], delay_s: float
) -> None:
    """`Retry-After` is what `on_retry` is told, what the span says, and what is waited."""
    told = Told()
    await ask(rig.rlm(Failure(503, headers=headers), OK, callbacks=[rig.callback, told]), way)
    assert [delay for _, _, _, delay, _ in told.retries] == [delay_s] == waits.slept
    assert rig.span("chat gpt-4o").event("rlm.retry").attributes["rlm.retry.delay"] == delay_s


@EITHER
async def test_without_an_order_waits_double_up_to_eight_seconds(rig: Rig, waits: Waits, way: str) -> None:
    """Half a second, doubled each time, never above eight; each shorter by at most a quarter, so that clients part."""
    await ask(rig.rlm(Repeat(Failure(503), 6), OK, max_retries=6), way)
    longest = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert [most * 0.75 <= slept <= most for slept, most in zip(waits.slept, longest, strict=True)] == [True] * 6


class Slow:
    """A callback whose `on_retry` takes some seconds."""

    def __init__(self, waits: Waits, seconds: float) -> None:
        self._waits, self._seconds = waits, seconds

    def on_retry(self) -> None:
        self._waits.now_s += self._seconds


class SlowAsync(Slow):
    """The same, awaited."""

    async def on_retry(self) -> None:  # type: ignore[override]  # a hook may be of either kind
        super().on_retry()


@ANY_WAY
@pytest.mark.parametrize(("seconds", "slept"), [(3.0, 4.0), (9.0, 0.0)])
async def test_what_the_hooks_take_is_part_of_the_wait(
    rig: Rig, waits: Waits, way: str, seconds: float, slept: float
) -> None:
    """Of seven seconds, three went by in `on_retry`: four are left; of nine, none."""
    await ask(rig.rlm(BUSY, OK, callbacks=[rig.callback, Slow(waits, seconds)]), way)
    assert waits.slept == [slept]


@ASYNC
async def test_async_hooks_are_awaited_before_the_wait(rig: Rig, waits: Waits, way: str) -> None:
    """What an `async def on_retry` takes is part of the wait as well."""
    await ask(rig.rlm(BUSY, OK, callbacks=[rig.callback, SlowAsync(waits, 3.0)]), way)
    assert waits.slept == [4.0]


@ASYNC
async def test_a_sync_hook_does_not_hold_up_the_event_loop(rig: Rig, waits: Waits, way: str) -> None:
    """In an async run a sync `on_retry` runs in another thread: tutorials sleep in it."""
    threads: list[threading.Thread] = []
    noting = SimpleNamespace(on_retry=lambda: threads.append(threading.current_thread()))
    await ask(rig.rlm(BUSY, OK, callbacks=[rig.callback, noting]), way)
    assert [thread is threading.main_thread() for thread in threads] == [False]
