"""Usage of streams: asked for on request, and the extra chunk that brings it kept from a caller who did not ask."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Final

from rlm_otel.events import ModelCall
from rlm_otel.fence import logger

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions

_RAW: Final = "X-Stainless-Raw-Response"


class Asking:
    """How one request asks for the usage of its stream."""

    __slots__ = ("hides_extra", "hints", "options")

    def __init__(self, options: "FinalRequestOptions", *, hides_extra: bool = False, hints: bool = False) -> None:
        self.options = options
        """What is sent; the caller's own object unless we ask."""
        self.hides_extra = hides_extra
        """Whether the chunk that brings the usage is kept from the caller."""
        self.hints = hints
        """Whether nobody asked, so that an advice is in place."""

    @classmethod
    def of(
        cls, call: ModelCall, options: "FinalRequestOptions", body: Mapping[str, object], *, wanted: bool
    ) -> "Asking":
        """The request as the caller wrote it, or (`wanted`) a copy that asks for usage as well."""
        if not call.stream or not options.url.partition("?")[0].endswith("completions"):
            return cls(options)  # the Responses API counts unasked
        asked = body.get("stream_options")
        given = asked if isinstance(asked, Mapping) else {}
        if given.get("include_usage"):
            return cls(options)
        if not wanted:
            return cls(options, hints=True)
        if _reads_bytes(options) or not isinstance(options.json_data, Mapping):
            return cls(options)
        sent = {**options.json_data, "stream_options": {**given, "include_usage": True}}
        extra = options.extra_json
        if isinstance(extra, Mapping):  # the SDK refuses another
            extra = {name: value for name, value in extra.items() if name != "stream_options"}  # `given` has them
        return cls(options.model_copy(update={"json_data": sent, "extra_json": extra}), hides_extra=True)


def _reads_bytes(options: "FinalRequestOptions") -> bool:
    """Whether it is `with_streaming_response`, whose caller may read the lines itself: nothing could be hidden."""
    return isinstance(options.headers, Mapping) and options.headers.get(_RAW) == "stream"


def is_extra(chunk: object) -> bool:
    """Whether a chunk is there for its usage alone."""
    return getattr(chunk, "choices", None) == [] and getattr(chunk, "usage", None) is not None


@cache
def hint() -> None:
    """Says once that streams could be counted."""
    logger.warning(
        "a stream ended without usage, so its tokens and cost are unknown: pass "
        "stream_options={'include_usage': True}, or let instrument_openai(..., include_usage=True) do so; "
        "further ones are not told"
    )
