"""The W3C trace context as headers: `traceparent` and `tracestate`, read and written."""

import re
from collections.abc import Mapping
from typing import Final

from rlm_otel.events import Link

_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_HEX_TRACE: Final = re.compile(r"[0-9a-f]{32}")
_SAMPLED: Final = 1
_MOST_STATE: Final = 512
"""How many characters of `tracestate` everybody must carry; longer ones are left out as a whole."""


def read_link(carrier: Mapping[str, object]) -> Link | None:
    """The span that a carrier tells of, names in either case; None where it tells of none that is valid."""
    found = {str(name).lower(): value for name, value in carrier.items() if len(str(name)) <= len("traceparent")}
    link = link_from(_text(found.get("traceparent")), remote=True)
    if link is None:
        return None
    state = _text(found.get("tracestate")).strip()
    return Link(link.trace_id, link.span_id, link.sampled, state if len(state) <= _MOST_STATE else "", remote=True)


def link_from(traceparent: str, *, remote: bool = False) -> Link | None:
    """The span that a `traceparent` names."""
    parts = _TRACEPARENT.fullmatch(traceparent.strip().lower())
    if parts is None:
        return None
    version, trace_id, span_id, flags, more = parts.groups()
    if version == "ff" or (version == "00" and more) or not int(trace_id, 16) or not int(span_id, 16):
        return None
    return Link(trace_id, span_id, bool(int(flags, 16) & _SAMPLED), remote=remote)


def is_trace_id(text: str) -> bool:
    """Whether it is 32 hex digits, not all 0."""
    return bool(_HEX_TRACE.fullmatch(text)) and bool(int(text, 16))


def headers_of(link: Link) -> dict[str, str]:
    """What carries a span to another process."""
    headers = {"traceparent": f"00-{link.trace_id}-{link.span_id}-{int(link.sampled):02x}"}
    return {**headers, "tracestate": link.state} if link.state else headers


def _text(value: object) -> str:
    """The text of a header; queues and ASGI give bytes."""
    if isinstance(value, bytes):
        return value.decode("ascii", "replace")
    return value if isinstance(value, str) else ""
