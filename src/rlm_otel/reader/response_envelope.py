"""What a response of the Responses API says about itself, its output apart: state, tokens, and why it has failed."""

from dataclasses import dataclass, replace
from typing import Final

from rlm_otel.errors import FailedReply
from rlm_otel.messages import Message, Part, ToolRequest
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.failure import read_failure
from rlm_otel.reader.fields import count, read, text
from rlm_otel.reader.reply import header, known_headers, read_rate_limits, read_usage

_NOTHING: Final = Usage()
_REASONS: Final = {"max_output_tokens": "length"}
ENDED: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""The states after which nothing more comes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A response without its output; each event of a stream's life brings a newer one."""

    id: str | None = None
    model: str | None = None
    status: str | None = None
    incomplete: str | None = None
    """Why it is incomplete, in the vendor's words."""
    service_tier: str | None = None
    request_id: str | None = None
    error: tuple[str, str | None] | None = None
    """Message and code."""
    usage: object = None

    def reply(self, parts: tuple[Part, ...], headers: object, *, compacted: bool, raw: object = None) -> Reply:
        """The reply with this output: one message, since the API has no choices."""
        told = known_headers(headers)
        came = bool(parts) or self.id is not None or self.status is not None
        return Reply(
            messages=(Message("assistant", parts),) if parts else (),
            finish_reasons=(self._finish_reason(parts),) if came else (),
            id=self.id,
            model=self.model,
            service_tier=self.service_tier,
            request_id=header(told, "x-request-id") or self.request_id,
            rate_limits=read_rate_limits(told),
            status=self.status,
            compacted=compacted,
            raw=raw,
        )

    def _finish_reason(self, parts: tuple[Part, ...]) -> str | None:
        """In the words of chat completions, where they have one: dashboards count both alike."""
        match self.status:
            case "completed":
                return "tool_calls" if any(isinstance(part, ToolRequest) for part in parts) else "stop"
            case "incomplete":
                reason = self.incomplete or "incomplete"
                return _REASONS.get(reason, reason)
            case "failed" | "cancelled":
                return "error"
            case _:
                return None

    def failure(self, response: object) -> Failure | None:
        """Why generating it has failed; to be incomplete or cancelled is no failure."""
        if self.error is None and self.status != "failed":
            return None
        message, code = self.error or ("the response has the status failed and says no more", None)
        return read_failure(FailedReply(message, response, code=code, request_id=self.request_id))


def read_envelope(response: object) -> Envelope:
    """Any field may be missing."""
    return Envelope(
        id=text(read(response, "id")),
        model=text(read(response, "model")),
        status=text(read(response, "status")),
        incomplete=text(read(read(response, "incomplete_details"), "reason")),
        service_tier=text(read(response, "service_tier")),
        request_id=text(read(response, "_request_id")),
        error=read_error(read(response, "error")),
        usage=read(response, "usage"),
    )


def read_error(error: object) -> tuple[str, str | None] | None:
    """Message and code of an error object, or of an error event; None where there is none."""
    if isinstance(error, str):
        return (error, None) if error else None
    message, code = text(read(error, "message")), text(read(error, "code"))
    return None if message is None and code is None else (message or code or "", code)


def read_response_usage(usage: object) -> Usage | None:
    """The tokens that a usage block counts, by this API's names, else by those of chat completions."""
    if usage is None:
        return None
    into, out = read(usage, "input_tokens_details"), read(usage, "output_tokens_details")
    found = Usage(
        input_tokens=count(read(usage, "input_tokens")),
        output_tokens=count(read(usage, "output_tokens")),
        cache_read_tokens=count(read(into, "cached_tokens")),
        cache_write_tokens=count(read(into, "cache_write_tokens")),
        reasoning_tokens=count(read(out, "reasoning_tokens")),
    )
    if found == _NOTHING:
        return read_usage(usage)
    total = count(read(usage, "total_tokens"))
    return found if total is None else replace(found, reported_total=total)
