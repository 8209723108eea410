"""Finds traces in Jaeger, by whichever of its two APIs it has."""

from dataclasses import replace
from typing import Final

from rlm_otel.views.backend import Backend, NotOffered, Refused, ViewError
from rlm_otel.views.jaeger_classic import ClassicApi
from rlm_otel.views.jaeger_v3 import V3Api
from rlm_otel.views.traces import Api, Found, Search, Trace, Wanted, by_trace, service_of

_MANY_SERVICES: Final = 20
_DEEPEST: Final = 1500  # what Jaeger lets one ask for


def connect(jaeger: Backend) -> tuple[Api, list[str]]:
    """The API that it offers, with the names of the services. Jaeger 2.21 dropped the searches of the older one."""
    classic, v3 = ClassicApi(jaeger), V3Api(jaeger)
    try:
        return classic, classic.services()
    except NotOffered:
        return v3, v3.services()
    except Refused as refused:
        if refused.status != 404:
            raise
        return v3, v3.services()


def find(api: Api, known: list[str], service: str | None, wanted: Wanted, limit: int) -> Found:
    """The newest traces of a service, or of all of them."""
    if service is not None and service not in known:
        raise ViewError(f"Jaeger knows no service {service}; it has: {', '.join(sorted(known)) or 'none at all'}")
    services = [service] if service is not None else [name for name in sorted(known) if name != "jaeger"]
    if len(services) > _MANY_SERVICES:
        raise ViewError(f"{len(services)} services have sent traces: choose one with --service NAME")
    depth = limit if wanted.everything else min(max(100, 5 * limit), _DEEPEST)
    found: dict[str, Trace] = {}
    cut = False
    for name in services:
        looked_at = _look(api, name, wanted, depth)
        fitting = [it for it in looked_at if any(wanted.fits(span) for span in it.spans if service_of(span) == name)]
        cut = cut or (len(looked_at) >= depth and len(fitting) < limit)
        found.update((it.trace_id, it) for it in fitting)
    newest = sorted(found.values(), key=lambda it: it.start_ns)[-limit:]
    return Found(tuple(newest), tuple(services), depth, cut)


def _look(api: Api, service: str, wanted: Wanted, depth: int) -> list[Trace]:
    """What Jaeger finds by itself, first with all that it may know how to look for."""
    search = Search(
        service=service,
        start_ns=wanted.start_ns,
        end_ns=wanted.end_ns,
        depth=depth,
        min_duration=None if wanted.slow_s is None else f"{round(wanted.slow_s * 1e6)}us",
        attributes=wanted.attributes,
    )
    spans = api.find(search)
    if not spans and wanted.errors:  # Jaeger 2.13 finds errors in Badger, but not in memory
        spans = api.find(replace(search, attributes=replace(wanted, errors=False).attributes))
    return by_trace(spans)


def one(api: Api, trace_id: str) -> Trace:
    """The trace with this id."""
    try:
        spans = api.trace(trace_id)
    except Refused as refused:
        if refused.status != 404:
            raise
        spans = []
    if not spans:
        raise ViewError(
            f"Jaeger has no trace {trace_id}: a new one takes some seconds to arrive, and old ones are deleted "
            "(after 7 days in our stack)"
        )
    return Trace(trace_id, tuple(spans))
