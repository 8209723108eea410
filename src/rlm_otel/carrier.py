"""`inject` and `extract`: the trace goes along to another process, in a dictionary of two short texts."""

from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager

from rlm_otel.ambient import current_bracket, current_link, holding, remote_parent
from rlm_otel.block import Callbacks
from rlm_otel.fence import fence
from rlm_otel.observing import emitter_for
from rlm_otel.w3c import headers_of, read_link


def inject(carrier: MutableMapping[str, str] | None = None, *, callbacks: Callbacks = None) -> MutableMapping[str, str]:
    """Writes the current span into a carrier (a dictionary, HTTP headers), and gives that back; without one a new one.

    The names are those of the W3C: `traceparent`, and `tracestate` where there is one. Outside of any span nothing is
    written. `callbacks`: as in `run`.
    """
    carrier = {} if carrier is None else carrier
    tracing = emitter_for(callbacks).tracing
    here, link = getattr(tracing, "here", None), None
    if here is not None:
        with fence(type(tracing).__name__, "here"):
            link = here()
    link = link or current_link() or remote_parent.get()
    if link is not None:
        carrier.update(headers_of(link))
    return carrier


@contextmanager
def extract(carrier: Mapping[str, object], *, callbacks: Callbacks = None) -> Iterator[None]:
    """What begins inside belongs under the span that a carrier tells of: `with rlm_otel.extract(message.headers): ...`.

    That holds for private providers as well; with the application's own, its spans belong there too. A carrier that
    tells of none changes nothing. `callbacks`: as in `run`.
    """
    link = read_link(carrier)
    if link is None:
        yield
        return
    tracing = emitter_for(callbacks).tracing
    under = getattr(tracing, "under", None)
    with ExitStack() as stack:
        stack.enter_context(holding(current_bracket, None))
        stack.enter_context(holding(remote_parent, link))
        if under is not None:
            with fence(type(tracing).__name__, "under"):
                stack.enter_context(under(link))
        yield
