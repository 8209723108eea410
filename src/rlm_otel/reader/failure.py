"""Why a call failed: an exception of the SDK, or any other, as a `Failure`."""

import math
import sys
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

from rlm_otel.fence import fence
from rlm_otel.outcome import Failure
from rlm_otel.reader.fields import read, text
from rlm_otel.reader.reply import OF_A_FAILURE, header, known_headers


def read_failure(error: BaseException) -> Failure:
    """What the exception tells; whatever it does not carry is None. One that breaks when it is read tells its class."""
    before = sys.exception()
    try:
        return _read(error)
    except Exception:
        with fence(type(error).__name__, "read_failure", quiet=True, before=before):
            raise
    return Failure(type=type(error).__qualname__, message="", exception=error)


def _read(error: BaseException) -> Failure:
    response = getattr(error, "response", None)
    headers = known_headers(read(response, "headers"), OF_A_FAILURE) if response is not None else None
    return Failure(
        type=error_type(error),
        message=_message(error),
        exception=error,
        status=_status(getattr(error, "status_code", None)) or _status(read(response, "status_code")),
        code=text(getattr(error, "code", None)),
        request_id=text(getattr(error, "request_id", None)) or header(headers, "x-request-id"),
        retry_after_s=retry_after(headers),
    )


def error_type(error: BaseException) -> str:
    """The exception's class by its public name, such as `openai.RateLimitError`, `anyio.EndOfStream`, `ValueError`.

    Private parts of the module's path are left out: they change from one version of a library to the next.
    """
    kind = type(error)
    return _public_name(kind.__module__, kind.__qualname__)


@lru_cache(maxsize=256)
def _public_name(module: str, name: str) -> str:
    if module == "builtins":
        return name
    first, *rest = module.split(".")
    return ".".join([first, *(part for part in rest if not part.startswith("_")), name])


def _message(error: BaseException) -> str:
    said = text(getattr(error, "message", None))
    if said:
        return said
    with fence(type(error).__name__, "__str__", quiet=True):  # one that does not work is no reason to fail
        return str(error)
    return ""


def _status(value: object) -> int | None:
    return value if isinstance(value, int) and 100 <= value <= 599 else None


def retry_after(headers: object, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that the server asks to wait for: `retry-after-ms`, or `retry-after` as a number or a date."""
    wait_ms = _seconds(header(headers, "retry-after-ms"))
    if wait_ms is not None:
        return wait_ms / 1000
    asked = header(headers, "retry-after")
    wait = _seconds(asked)
    if wait is not None or asked is None:
        return wait
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - now())
    except (ValueError, OverflowError, OSError):
        return None


def _seconds(value: str | None) -> float | None:
    try:
        found = float(value) if value else math.nan
    except ValueError:
        return None
    return max(0.0, found) if math.isfinite(found) else None
