"""What a listener raises: ignored, but for `StopRun` and what a strict one lets through. All others hear the event."""

import pytest

from rlm_otel import BaseCallback, StopRun, fence
from rlm_otel.events import Event, Finished, ModelCall, Started
from rlm_otel.testing import Answer, Recorder, ScriptedServer, scripted_rlm


def test_a_listener_that_stops_the_run_at_a_start_leaves_nothing_open() -> None:
    """The operation had begun for the listeners before it."""
    recorder = Recorder()

    class Stops:
        def on_event(self, event: Event, /) -> None:
            if isinstance(event, Started) and isinstance(event.operation, ModelCall):
                raise StopRun("enough")

    with ScriptedServer([Answer("hi")]) as server, scripted_rlm(server, callbacks=[recorder, Stops()]) as rlm:
        with pytest.raises(StopRun):
            rlm.run("go")
    assert [event.outcome for event in recorder.of(Finished)] == ["closed", "closed"]


class Raises:
    """Raises at the end of every model call."""

    def __init__(self, error: Exception, *, raise_error: bool = False) -> None:
        self.error = error
        self.raise_error = raise_error

    def on_event(self, event: Event, /) -> None:
        if isinstance(event, Finished) and isinstance(event.operation, ModelCall):
            raise self.error


@pytest.mark.parametrize(
    "first", [Raises(StopRun("enough")), Raises(KeyError("strict"), raise_error=True)], ids=["stop", "strict"]
)
def test_all_listeners_hear_what_one_of_them_objects_to(first: Raises) -> None:
    """Those behind it get the event, then the exception of the first one leaves."""
    recorder = Recorder()
    callbacks = [first, Raises(StopRun("later")), recorder]
    with ScriptedServer([Answer("hi")]) as server, scripted_rlm(server, callbacks=callbacks) as rlm:
        with pytest.raises(type(first.error)) as raised:
            rlm.run("go")
    assert raised.value is first.error
    assert [type(event.operation).__name__ for event in recorder.of(Finished)] == ["ModelCall", "Run"]


def test_hooks_are_told_of_an_end_that_a_listener_objects_to() -> None:
    """Each start hook has its end hook."""
    told: list[str] = []

    class Hooks(BaseCallback):
        def on_llm_end(self, response: object, **kwargs: object) -> None:
            told.append("on_llm_end")

    callbacks = [Raises(StopRun("enough")), Hooks()]
    with ScriptedServer([Answer("hi")]) as server, scripted_rlm(server, callbacks=callbacks) as rlm:
        with pytest.raises(StopRun):
            rlm.run("go")
    assert told == ["on_llm_end"]


def test_a_listener_that_is_not_strict_disturbs_nobody() -> None:
    """What it raises is logged, and the run goes on."""
    with ScriptedServer([Answer("hi")]) as server:
        with scripted_rlm(server, callbacks=[Raises(KeyError("ignored"))]) as rlm:
            assert rlm.run("go").text == "hi"
    assert fence.failures() == {("Raises", "on_event"): 1}
    fence.forget_failures()


def test_a_listener_may_have_a_hook_that_its_class_does_not_show() -> None:
    """A hook is found on the object itself too, and where a class makes it up when it is asked for."""
    told: list[str] = []

    class Listens:
        def on_event(self, event: Event, /) -> None:
            """Nothing to note."""

    class Finds(Listens):
        def __getattr__(self, name: str) -> object:
            if name != "on_llm_start":
                raise AttributeError(name)
            return lambda prompt: told.append(f"found {prompt}")

    hooked = Listens()
    vars(hooked)["on_llm_start"] = lambda prompt: told.append(f"given {prompt}")
    callbacks = [Listens(), hooked, Finds()]
    with ScriptedServer([Answer("hi")]) as server, scripted_rlm(server, callbacks=callbacks) as rlm:
        rlm.run("go")
    assert told == ["given go", "found go"]
