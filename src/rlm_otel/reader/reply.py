"""Replies and what they say about themselves: answer, usage, the vendor's own price and rate limits."""

from collections.abc import Mapping
from typing import Final, Literal

from rlm_otel.outcome import RateLimit, Reply, Usage
from rlm_otel.reader.fields import count, extras, items, number, read, text
from rlm_otel.reader.request import read_message

_NOTHING: Final = Usage()
_DIGITS: Final = 20  # more are no count, and `int` refuses thousands
_REQUEST_ID: Final = "x-request-id"
_Kind = Literal["request", "token"]
_KINDS: Final[tuple[_Kind, ...]] = ("request", "token")


def _names(what: str, kind: str) -> tuple[str, str]:
    """OpenAI's header and Anthropic's."""
    return f"x-ratelimit-{what}-{kind}s", f"anthropic-ratelimit-{kind}s-{what}"


_LIMITS: Final = tuple((kind, _names("remaining", kind), _names("limit", kind)) for kind in _KINDS)
_WAITS: Final = ("retry-after", "retry-after-ms")
_READ: Final = {
    name.encode(): name
    for name in (_REQUEST_ID, *_WAITS, *(name for _, *pairs in _LIMITS for pair in pairs for name in pair))
}
OF_A_FAILURE: Final = {name.encode(): name for name in (_REQUEST_ID, *_WAITS)}
"""The headers that are read of an answer that is an error."""


def read_reply(response: object, headers: object = None) -> tuple[Reply, Usage | None]:
    """A `ChatCompletion` (or what came instead: a `str` where the body was no JSON) and the tokens it counted.

    `headers`: the HTTP response's, a mapping that ignores case, for request id and rate limits.
    """
    choices = [choice for choice in items(read(response, "choices")) if choice is not None]
    told = known_headers(headers)
    reply = Reply(
        messages=tuple(read_message(read(choice, "message")) for choice in choices),
        finish_reasons=tuple(text(read(choice, "finish_reason")) for choice in choices),
        id=text(read(response, "id")),
        model=text(read(response, "model")),
        service_tier=text(read(response, "service_tier")),
        system_fingerprint=text(read(response, "system_fingerprint")),
        request_id=header(told, _REQUEST_ID) or text(read(response, "_request_id")),
        rate_limits=read_rate_limits(told),
        raw=response,
    )
    return reply, read_usage(usage_of(response))


def usage_of(response: object) -> object:
    """Where a reply or chunk has its usage: in `usage`, or in Groq's own `x_groq`."""
    return read(response, "usage") or read(extras(response).get("x_groq"), "usage")


def read_usage(usage: object) -> Usage | None:
    """The tokens that a usage block counts; None where it counts none at all."""
    if usage is None:
        return None
    prompt, completion = read(usage, "prompt_tokens_details"), read(usage, "completion_tokens_details")
    found = Usage(
        input_tokens=count(read(usage, "prompt_tokens")),
        output_tokens=count(read(usage, "completion_tokens")),
        cache_read_tokens=_cached(usage, prompt),
        cache_write_tokens=count(read(prompt, "cache_write_tokens")),
        reasoning_tokens=count(read(completion, "reasoning_tokens")),
        reported_total=count(read(usage, "total_tokens")),
        input_by=_by_modality(prompt),
        output_by=_by_modality(completion),
    )
    return None if found.input_tokens is None and found == _NOTHING else found


def _cached(usage: object, details: object) -> int | None:
    """OpenAI's place, else where DeepSeek and Moonshot put it."""
    found = count(read(details, "cached_tokens"))
    if found is not None:
        return found
    more = extras(usage)
    hit = count(more.get("prompt_cache_hit_tokens"))
    return hit if hit is not None else count(more.get("cached_tokens"))


def _by_modality(details: object) -> tuple[tuple[str, int], ...]:
    if details is None:
        return ()
    return tuple(
        (modality, tokens)
        for modality in ("text", "audio", "image")
        if (tokens := count(read(details, f"{modality}_tokens")))
    )


def read_cost(response: object) -> float | None:
    """What the vendor itself says that the call cost, in USD (OpenRouter's `usage.cost`), from a reply or its usage."""
    usage = usage_of(response) or response
    cost = number(extras(usage).get("cost"))
    return cost if cost is not None and cost >= 0 else None


def read_rate_limits(headers: object) -> tuple[RateLimit, ...]:
    """The headroom that OpenAI's and Anthropic's headers tell, for requests and tokens."""
    if headers is None:
        return ()
    limits: list[RateLimit] = []
    for kind, remaining_names, limit_names in _LIMITS:
        remaining, limit = _limit(headers, remaining_names), _limit(headers, limit_names)
        if remaining is not None or limit is not None:
            limits.append(RateLimit(kind, remaining, limit))
    return tuple(limits)


def _limit(headers: object, names: tuple[str, ...]) -> int | None:
    for name in names:
        found = text(headers.get(name)) if type(headers) is dict else header(headers, name)
        if found:
            return count(int(found[:_DIGITS])) if found.isascii() and found.isdigit() else None
    return None


def known_headers(headers: object, wanted: Mapping[bytes, str] = _READ) -> object:
    """Of httpx's headers those that are read here, found in one pass: it goes through all of them for each name."""
    raw = getattr(headers, "raw", None)
    if not isinstance(raw, list):
        return headers
    found: dict[str, str] = {}
    try:
        for key, value in raw:
            name = wanted.get(key.lower())
            if name is not None:
                if name in found:
                    return headers  # one that came twice is joined there
                found[name] = value.decode("ascii")
    except (AttributeError, TypeError, ValueError):
        return headers
    return found


def header(headers: object, name: str) -> str | None:
    """One header's text; None where there are no headers."""
    get = getattr(headers, "get", None)
    return text(get(name)) if callable(get) else None
