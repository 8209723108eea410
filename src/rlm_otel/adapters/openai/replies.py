"""Whole replies: what they tell, noted on the call, and how a call that raised nothing has ended."""

from typing import Any

from rlm_otel.bracket import Bracket
from rlm_otel.errors import Leave
from rlm_otel.outcome import Failure
from rlm_otel.reader import read_cost
from rlm_otel.reader.surfaces import Surface


def note_reply(bracket: Bracket, surface: Surface, reply: object, response: Any) -> Failure | None:
    """Notes a reply (the SDK's object, or its JSON) on the call; what it says itself that went wrong.

    `response` is the HTTP response, or None where the SDK does not let us see it.
    """
    bracket.result, bracket.usage = surface.reply(reply, getattr(response, "headers", None))
    bracket.reported_cost = read_cost(reply)
    return surface.failure(reply)


def verdict_of(failure: Failure | None) -> Leave | None:
    """With what a call ends that raised nothing to its caller, but may have failed."""
    return None if failure is None else Leave("failed", failure.exception)


def json_of(response: Any) -> object:
    """The JSON of an HTTP response whose body has been read; None where it has not, or is no JSON."""
    if getattr(response, "_content", None) is None:
        return None
    try:
        found: object = response.json()
    except (ValueError, RecursionError):  # nested too deep
        return None
    return found
