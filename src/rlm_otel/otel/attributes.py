"""Attributes put onto a span in one step: the SDK looks at each value again, and ours can all be carried already."""

import sys
from functools import lru_cache
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.trace import Span

from rlm_otel.values import Attributes


def set_attributes(span: Span, attributes: Attributes) -> None:
    """What `span.set_attributes` does, at a third of the price where the span is the SDK's and keeps to no limits.

    That takes names which are private to the SDK; where one of them is missing it is done in public.
    """
    if not (_is_plain(type(span)) and _added(span, attributes)):
        span.set_attributes(attributes)


def _added(span: Any, attributes: Attributes) -> bool:
    try:
        held, lock, ended = span._attributes, span._lock, span._end_time
        if type(held) is not BoundedAttributes or held.max_value_len is not None or ended is not None:
            return False
        own, most = held._dict, held.maxlen
    except AttributeError:  # another SDK than the one that this was written for
        return False
    with lock:
        if span._end_time is not None or (most is not None and len(own) + len(attributes) > most):
            return False
        own.update(attributes)
    return True


@lru_cache(maxsize=64)
def _is_plain(kind: type[Span]) -> bool:
    """Whether its attributes are set by the SDK's own method."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    return sdk is not None and issubclass(kind, sdk.Span) and kind.set_attributes is sdk.Span.set_attributes
