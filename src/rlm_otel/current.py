"""Making an operation current: our context variable and the tracing's, for one piece of work."""

import sys
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from rlm_otel.ambient import current_bracket, restore
from rlm_otel.events import ModelCall
from rlm_otel.fence import fence

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket


class Current:
    """Sets our context variable and the tracing's for one piece of work."""

    __slots__ = ("_bracket", "_quiet", "_span", "_token")

    _span: AbstractContextManager[object] | None
    _quiet: AbstractContextManager[object] | None

    def __init__(self, bracket: "Bracket") -> None:
        self._bracket = bracket

    def __enter__(self) -> None:
        bracket = self._bracket
        self._token = current_bracket.set(bracket)
        self._span = self._quiet = None
        tracing = bracket.emitter.tracing
        if tracing is None or bracket.link is None:
            return
        before = sys.exception()
        try:
            span = tracing.current(bracket.link)
            span.__enter__()
            self._span = span
            if isinstance(bracket.operation, ModelCall):
                quiet = tracing.suppressed()
                quiet.__enter__()
                self._quiet = quiet
        except Exception:
            with fence(type(tracing).__name__, "current", before=before):
                raise

    def __exit__(self, *_: object) -> None:
        if self._quiet is not None:
            self._quiet.__exit__(None, None, None)
        if self._span is not None:
            self._span.__exit__(None, None, None)
        restore(self._token)
