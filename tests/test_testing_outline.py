"""Traces and events as text: the outlines that tests compare with literals."""

import textwrap
from contextlib import closing

from rlm_otel.events import Finished, Retrying, Started
from rlm_otel.testing import Answer, Failure, Item, Recorder, Repeat, ScriptedServer, Tool, scripted_rlm
from rlm_otel.testing.captured import CapturedSpan, outline


def span(name: str, start_ns: int, span_id: str, parent_id: str | None = None, **attributes: object) -> CapturedSpan:
    return CapturedSpan(
        name=name,
        kind="internal",
        attributes={key.replace("__", "."): value for key, value in attributes.items()},
        events=(),
        status="unset",
        description=None,
        trace_id="1",
        span_id=span_id,
        parent_id=parent_id,
        links=(),
        scope="rlm_otel",
        start_ns=start_ns,
        end_ns=start_ns + 1,
    )


def double(x: int) -> int:
    """Twice the number."""
    return 2 * x


# The outline -------------------------------------------------------------------------------------------------------


def test_an_outline_has_roots_below_one_another_in_order_of_their_start() -> None:
    """A span whose parent was not captured is a root."""
    spans = [span("c", 3, "3", "1"), span("b", 2, "2"), span("a", 1, "1", "far away"), span("d", 4, "4", "3")]
    assert outline(spans) == "a\n  c\n    d\nb"


def test_an_outline_shows_how_things_ended() -> None:
    """The type of a failure, else an outcome that is not completed."""
    spans = [
        span("a", 1, "1", rlm__outcome="completed"),
        span("b", 2, "2", rlm__outcome="failed", error__type="openai.RateLimitError"),
        span("c", 3, "3", rlm__outcome="cancelled", error__type="asyncio.CancelledError"),
        span("d", 4, "4", rlm__outcome="closed"),
    ]
    assert outline(spans) == "a\nb !openai.RateLimitError\nc (cancelled)\nd (closed)"


def test_an_outline_shows_the_attributes_that_one_asks_for() -> None:
    """In the order in which they are asked for, where a span has them; quoted where a text is not one word."""
    spans = [span("a", 1, "1", n=1, yes=True, text="два слова", word="кот", rlm__outcome="closed"), span("b", 2, "2")]
    assert (
        outline(spans, attributes=["word", "n", "yes", "text"])
        == 'a word=кот n=1 yes=true text="два слова" (closed)\nb'
    )


def test_an_outline_by_name_does_not_depend_on_time() -> None:
    """For what runs at once: siblings are ordered by name."""
    spans = [span("b", 1, "1"), span("a", 2, "2"), span("z", 3, "3", "1"), span("y", 4, "4", "1")]
    assert outline(spans, by_name=True) == "a\nb\n  y\n  z"


# Events ------------------------------------------------------------------------------------------------------------


def test_a_recorder_keeps_events_and_shows_them() -> None:
    """What happened, in order, each kind by itself, or as an outline."""
    recorder = Recorder()
    script: list[Item | Repeat] = [
        Failure(429, retry_after=0),
        Answer(tool_calls=[Tool("double", {"x": 2})]),
        Answer("4"),
    ]
    with ScriptedServer(script) as server:
        with closing(scripted_rlm(server, callbacks=[recorder], tools=[double], name="root")) as rlm:
            rlm.run("2*2?")
    assert [type(event.operation).__name__ for event in recorder.of(Finished)] == [
        "ModelCall",
        "ToolCall",
        "ModelCall",
        "Run",
    ]
    assert (len(recorder.of(Started)), [retry.attempt for retry in recorder.of(Retrying)]) == (4, [1])
    assert recorder.outline() == textwrap.dedent("""\
        run root started
          chat gpt-4o started
          chat gpt-4o retrying 1/2 !openai.RateLimitError
          chat gpt-4o finished
          tool double started
          tool double finished
          chat gpt-4o started
          chat gpt-4o finished
        run root finished""")


def test_a_recorder_may_ask_for_chunks() -> None:
    """Then the answer is streamed from the server."""
    recorder = Recorder(chunks=True)
    with ScriptedServer([Answer("one two")]) as server:
        with closing(scripted_rlm(server, callbacks=[recorder])) as rlm:
            rlm.run("count")
    assert recorder.outline() == textwrap.dedent("""\
        run started
          chat gpt-4o started
          chat gpt-4o chunk 'one '
          chat gpt-4o chunk 'two'
          chat gpt-4o finished
        run finished""")
