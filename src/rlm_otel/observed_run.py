"""`run`: a piece of the application's own work as a run, as a `with` or as a decorator."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar, overload

from rlm_otel.block import Block, Callbacks
from rlm_otel.decorating import check_function, decorated, name_of
from rlm_otel.events import Run
from rlm_otel.outcome import RunResult
from rlm_otel.plain_json import json_of
from rlm_otel.told import told_messages

F = TypeVar("F", bound=Callable[..., Any])


class ObservedRun(Block):
    """A run of the application's own; made by `rlm_otel.run`."""

    def __init__(self, name: str | None, given: object, callbacks: Callbacks, *, workflow: bool = False) -> None:
        run = Run(messages=told_messages(given), workflow=(name or "") if workflow else None)
        super().__init__(run, callbacks, None if workflow else name)
        self._name = name
        self._workflow = workflow
        self._text: str | None = None

    def result(self, value: object) -> None:
        """What the run came to: its answer, or any value, which is written as JSON. Content, as all texts."""
        self._text = json_of(value)

    def __call__(self, function: F) -> F:
        """Decorates a function, also an async one or a generator: each call is a run."""
        check_function("run", function)
        name, callbacks, workflow = self._name or name_of(function), self._callbacks, self._workflow
        return decorated(
            function, lambda arguments: ObservedRun(name, _single(arguments), callbacks, workflow=workflow)
        )

    def _before_end(self) -> None:
        if self._text is not None:
            self._ours.result = RunResult(text=self._text)


@overload
def run(name: F, /) -> F: ...


@overload
def run(
    name: str | None = None,
    *,
    input: object = None,
    workflow: bool = False,
    callbacks: Callbacks = None,
) -> ObservedRun: ...


def run(
    name: Any = None,
    *,
    input: object = None,  # noqa: A002
    workflow: bool = False,
    callbacks: Callbacks = None,
) -> Any:
    """A run of your own: `with rlm_otel.run("digest", input=question) as run: ...; run.result(answer)`.

    Model calls, tools and runs inside belong to it. Also `async with`, and a decorator with or without arguments, of
    functions of each kind; then the name is the function's, the arguments are the input and what it returns is the
    result. `input` is text, messages in the OpenAI API's words, or any value. `workflow=True`: it is no agent, but a
    process that several of them take part in. `callbacks`: else those of the run around it, else the process's one
    `OTelCallback()`.
    """
    if callable(name):
        return ObservedRun(None, None, None)(name)
    if name is not None and not isinstance(name, str):
        msg = f"run({name!r}): give the run's name as text, or decorate a function with @rlm_otel.run"
        raise TypeError(msg)
    return ObservedRun(name, input, callbacks, workflow=workflow)


def _single(arguments: Mapping[str, object]) -> object:
    """The input of a decorated function: its one argument as it is, else all of them by name."""
    if not arguments:
        return None
    return next(iter(arguments.values())) if len(arguments) == 1 else arguments
