"""`rlm-otel serve`: a model server on this machine to type snippets against, without a key."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final, Literal, TextIO

from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.local_llm import LocalModel, LocalModelError, LocalModelMissing, require_packages
from rlm_otel.serve.answers import improvise
from rlm_otel.serve.front import Fault, Front, Json
from rlm_otel.testing.server import ScriptedServer

ANY_KEY: Final = "not-needed"
"""What the clients are told to send: the server looks at no key."""
_SMALL_ANSWER: Final = 128
"""Tokens; the small model might talk until its context is full."""
_INTRODUCTION: Final = {
    "scripted": "no model is behind these answers: they are made up, tools are called with made-up arguments",
    "local": "a small real model answers, badly; at most 128 tokens, unless the request says otherwise",
}


def serve(llm: Literal["scripted", "local"], faults: Sequence[Fault], port: int, *, out: TextIO, err: TextIO) -> int:
    """Serve until Ctrl-C or SIGTERM (0); 1 if it cannot, with one line that says why, 2 if a package is missing."""
    try:
        with _ending_on_a_signal() as wait, ExitStack() as stack:
            if llm == "local":
                require_packages()
            try:
                front = Front(faults, port, say=lambda line: write_line(plain(line), err))
            except OSError as error:
                return _complain(f"port {port} cannot be used ({error.strerror}): give another one with --port", err)
            stack.callback(front.close)  # last: what it passes on has ended by then
            if llm == "local":
                model = stack.enter_context(LocalModel())
                front.pass_to(model.base_url, adjust=for_the_small_model)
            else:
                front.pass_to(stack.enter_context(ScriptedServer(respond=improvise)).base_url)
            _introduce(llm, front.base_url, out, err)
            wait()
    except LocalModelMissing as error:
        return _complain(str(error), err, code=2)
    except LocalModelError as error:
        return _complain(str(error), err)
    except KeyboardInterrupt:
        pass
    return 0


def for_the_small_model(request: Json) -> Json:
    """A chat request, so that the small model ends its answer, and calls a tool where it should."""
    if "max_tokens" not in request and "max_completion_tokens" not in request:
        request = {**request, "max_tokens": _SMALL_ANSWER}
    if "temperature" not in request:
        request = {**request, "temperature": 0}  # else one call of a tool in ten is no JSON, and its server fails
    messages = request.get("messages") or [{}]
    if request.get("tools") and "tool_choice" not in request and messages[-1].get("role") != "tool":
        request = {**request, "tool_choice": "required"}  # by itself it never does, and its server then fails
    return request


def _introduce(llm: str, base_url: str, out: TextIO, err: TextIO) -> None:
    write_line(f"rlm-otel serve: {_INTRODUCTION[llm]}. In another terminal type:", err)
    write_line(f"export OPENAI_BASE_URL={base_url}\nexport OPENAI_API_KEY={ANY_KEY}", out)
    write_line("Ctrl-C ends it.", err)


def _complain(message: str, err: TextIO, *, code: int = 1) -> int:
    write_line(f"rlm-otel serve: {message}", err)
    return code


@contextmanager
def _ending_on_a_signal() -> Iterator[Callable[[], None]]:
    """A block that SIGTERM interrupts as Ctrl-C does; gives a function that waits for either."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def wait() -> None:
        never = threading.Event()
        while not never.wait(3600.0 if sys.platform != "win32" else 0.5):
            pass

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield wait
    finally:
        signal.signal(signal.SIGTERM, before)
