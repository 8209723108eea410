"""`RetryHandler`: longer and longer waits between attempts, each one printed."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

from rlm_otel.ambient import current_bracket
from rlm_otel.callbacks.arguments import check_amount, check_whole
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.callbacks.simple import Language, checked_language
from rlm_otel.content import without_secrets

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "en": {
        "retry": "⚠️ Retry {attempt}/{max_attempts} in {wait}s: {error}",
        "error": "❌ Final error after {retries} retries: {error}",
    },
    "ru": {
        "retry": "⚠️ Ретрай {attempt}/{max_attempts} через {wait}s: {error}",
        "error": "❌ Финальная ошибка после {retries} ретраев: {error}",
    },
}


class RetryHandler(BaseCallback):
    """Lets a run repeat a failed model call `max_retries` times, each after `backoff ** attempt` seconds.

    It waits longer where the server asks for that. `retry_count` counts all retries seen; the final error says those of
    its own call. `sleep` is what waits in sync runs; an async run waits in its event loop, where it can be cancelled.
    """

    def __init__(
        self,
        max_retries: int = 3,
        backoff: float = 2.0,
        *,
        language: Language = "en",
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        check_whole("max_retries", max_retries)
        check_amount("backoff", backoff, "seconds")
        self.max_retries = max_retries
        self.backoff = backoff
        self.retry_count = 0
        self._words = _WORDS[checked_language(language)]
        self._sleep = sleep
        self._lock = ForkLock()
        self._by_call: dict[object, int] = {}

    def on_retry(self, attempt: int, max_attempts: int, error: BaseException, **kwargs: object) -> object:
        """Prints the failed attempt and waits; in an async run what it returns is awaited."""
        with self._lock:
            self.retry_count += 1
            call = kwargs.get("operation_id")
            self._by_call[call] = self._by_call.get(call, 0) + 1
        wait = self.backoff**attempt
        self._say("retry", error, attempt=attempt, max_attempts=max_attempts, wait=wait)
        if _is_async():
            return asyncio.sleep(wait)
        self._sleep(wait)
        return None

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        """Forgets the call's retries."""
        self._forget(kwargs)

    def on_error(self, error: BaseException, **kwargs: object) -> None:
        """Prints the error that ended a call or run."""
        self._say("error", error, retries=self._forget(kwargs))

    def _forget(self, kwargs: dict[str, object]) -> int:
        with self._lock:
            return self._by_call.pop(kwargs.get("operation_id"), 0)

    def _say(self, words: str, error: BaseException, **values: object) -> None:
        write_line(self._words[words].format(error=plain(without_secrets(str(error))), **values))


def _is_async() -> bool:
    """Whether the hook runs for an async run: in a helper thread there, whose sleep nothing could interrupt."""
    run = current_bracket.get()
    return run is not None and run.emitter.async_hooks is not None
