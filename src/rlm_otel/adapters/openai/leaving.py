"""How a consumer leaves a response that it reads by itself: by closing it, by an exception, or by dropping it."""

import sys
import weakref
from functools import partial
from types import FrameType
from typing import Any, Final

from rlm_otel import reaper
from rlm_otel.ambient import current_bracket
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.errors import Leave, StopRun
from rlm_otel.fence import fence

OWNER: Final = "rlm_otel"
"""Who the fence names when code of this adapter fails."""


class Leaving:
    """A call whose response is still to be read. It refers to nothing of the SDK's, so that this can be dropped."""

    def __init__(self, bracket: Bracket, hooks: AsyncHooks | None) -> None:
        self.bracket = bracket
        self.over = False
        """Whether the call has ended, or is about to."""
        self._hooks = hooks
        self._finalizer: weakref.finalize[..., Any] | None = None

    def read(self) -> None:
        """Notes on the bracket what has come so far; called once, before the end."""

    def left(self, response: Any, error: BaseException | None, *, whole: bool) -> None:
        """The response is closed: by the consumer, whom `error` made leave, or (`whole`) after its last byte."""
        raise NotImplementedError

    def end(self, leave: BaseException | None = None) -> None:
        """Ends the call; the first to come decides how."""
        self._is_over()
        self.bracket.finish(leave)

    def fail(self, error: BaseException) -> None:
        """Ends the call by an exception that goes on to the consumer; a `StopRun` of a hook does not replace it."""
        self._is_over()
        self.bracket.__exit__(type(error), error, error.__traceback__)

    def _is_over(self) -> None:
        self.over = True
        if self._finalizer is not None:
            self._finalizer.detach()
        if self.bracket.ended is None:
            with fence(OWNER, "reader"):
                self.read()

    async def settle(self) -> None:
        """Waits until all async hooks have run; raises the `StopRun` of one."""
        if self._hooks is not None:
            await self._hooks.drain()
            if sys.exception() is None:
                self.bracket.emitter.check_stop()

    def arm(self, response: object) -> None:
        """Ends the call as abandoned when the last reference to its HTTP response is gone."""
        reaper.start()
        self._finalizer = weakref.finalize(response, _dropped, self)
        self._finalizer.atexit = False  # at exit open spans end as abandoned with their callback


def _dropped(leaving: Leaving) -> None:
    # The collector goes on to close the response: that is no closing by the consumer.
    if not leaving.over:
        leaving.over = True
        reaper.put(partial(_abandon, leaving))


def _abandon(leaving: Leaving) -> None:
    try:
        leaving.end(Leave("abandoned"))
    except StopRun:
        pass  # nobody is left to be stopped


def watch(response: Any, leaving: Leaving, *, is_async: bool) -> None:
    """Notices that the HTTP response is closed, by whatever way of the SDK, or dropped."""
    name = "aclose" if is_async else "close"
    closing = _async_closing(response, leaving) if is_async else _closing(response, leaving)
    closing.alone = name not in vars(response)
    setattr(response, name, closing)
    leaving.arm(response)


def unwatch(response: Any) -> None:
    """Takes our method away once all is over: it holds the response, which would keep itself for the collector."""
    for name in ("close", "aclose"):
        if getattr(getattr(response, "__dict__", {}).get(name), "alone", False):
            delattr(response, name)


def _closing(response: Any, leaving: Leaving) -> Any:
    close = response.close

    def closing() -> None:
        if _is_for_the_sdk(leaving):
            close()
            return
        whole, error = _who_closes()
        try:
            with leaving.bracket.current():
                close()
        except BaseException as failed:
            leaving.fail(error or failed)
            raise
        leaving.left(response, error, whole=whole)
        if leaving.over:
            unwatch(response)

    return closing


def _async_closing(response: Any, leaving: Leaving) -> Any:
    close = response.aclose

    async def closing() -> None:
        if _is_for_the_sdk(leaving):
            await close()
            return
        whole, error = _who_closes()
        try:
            with leaving.bracket.current():
                await close()
        except BaseException as failed:
            leaving.fail(error or failed)
            raise
        leaving.left(response, error, whole=whole)
        if leaving.over:
            unwatch(response)
            await leaving.settle()

    return closing


def _is_for_the_sdk(leaving: Leaving) -> bool:
    """Whether the SDK itself closes at the end of its reading (the call is current then), or all is over."""
    return leaving.over or current_bracket.get() is leaving.bracket


def _who_closes() -> tuple[bool, BaseException | None]:
    """Whether the HTTP library closes (after the last byte); the exception by which the consumer leaves its `with`.

    That one is known to the SDK's own `__exit__`, which is closing.
    """
    with fence(OWNER, "exit"):
        frame: FrameType | None = sys._getframe(2)
        if _library(frame).startswith("httpx"):
            return True, None
        while frame is not None and _library(frame) == "openai":
            if frame.f_code.co_name in ("__exit__", "__aexit__"):
                found = frame.f_locals.get("exc")
                return False, found if isinstance(found, BaseException) else None
            frame = frame.f_back
    return False, None


def _library(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    return str(frame.f_globals.get("__name__")).partition(".")[0]
