"""The SDK's own retries, seen where it waits for the next one: a private step of it, so each look is fenced."""

import sys
from typing import Any

from rlm_otel.adapters.openai.call import ObservedCall
from rlm_otel.adapters.openai.leaving import OWNER
from rlm_otel.events import Retrying
from rlm_otel.fence import fence


def failed_attempt(
    call: ObservedCall, client: Any, *, retries_taken: int, max_retries: int, options: Any, response: Any
) -> Retrying | None:
    """The event of an attempt that the SDK is about to repeat; keeps the wait that it is going to make."""
    with fence(OWNER, "retry"):
        error = _error(client, response)
        headers = response.headers if response is not None else None
        # Drawn once, for its part of chance: the SDK's own step gets the same number from `call.wait_s`.
        call.wait_s = client._calculate_retry_timeout(max_retries - retries_taken, options, headers)
        event = call.bracket.retrying(retries_taken + 1, max_retries, error, call.wait_s)
        call.bracket.attempts = retries_taken + 2
        return event
    return None


def _error(client: Any, response: Any) -> BaseException:
    """The exception that the SDK would have raised for it."""
    import openai

    cause = sys.exception()
    if response is not None:
        made: BaseException = client._make_status_error_from_response(response)
        return made
    if cause is None:
        return RuntimeError("the request failed")
    is_timeout = any(kind.__name__ == "TimeoutException" for kind in type(cause).__mro__)
    kind = openai.APITimeoutError if is_timeout else openai.APIConnectionError
    error = kind(request=getattr(cause, "request", None))  # type: ignore[arg-type]  # it only keeps it
    error.__cause__ = cause
    return error
