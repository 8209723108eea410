"""Which failed attempts are worth another one and when: the openai SDK's rules, done by tenacity."""

import random
from collections.abc import Callable
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt

from rlm_otel.reader import retry_after

LONGEST_RETRY_AFTER_S: Final = 120.0
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 8.0
_RETRIED_STATUSES: Final = frozenset({408, 409, 429})


def attempts(max_retries: int, *, may_repeat: Callable[[], bool], wait: Callable[[float], None]) -> Retrying:
    """Attempts for a `for` loop. `wait` is told the seconds to wait; `may_repeat` is asked after each failure.

    The last failure is raised as it is.
    """
    return Retrying(
        sleep=wait,
        stop=stop_after_attempt(max_retries + 1),
        wait=_delay_s,
        retry=retry_if_exception(lambda error: may_repeat() and is_transient(error)),
        reraise=True,
    )


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: timeouts, connection errors, 408, 409, 429 and 5xx."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIConnectionError):
        return True
    if not isinstance(error, APIStatusError):
        return False
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        return asked == "true"
    if (retry_after(error.response.headers) or 0) > LONGEST_RETRY_AFTER_S:
        return False
    return error.status_code in _RETRIED_STATUSES or error.status_code >= 500


def _delay_s(state: RetryCallState) -> float:
    from openai import APIStatusError

    error = state.outcome.exception() if state.outcome else None
    asked_s = retry_after(error.response.headers) if isinstance(error, APIStatusError) else None
    if asked_s is not None and 0 <= asked_s <= LONGEST_RETRY_AFTER_S:
        return asked_s
    longest = min(_FIRST_WAIT_S * 2.0 ** (state.attempt_number - 1), _LONGEST_WAIT_S)
    return longest * (1 - random.uniform(0, 0.25))
