"""`StreamingCallback`: hands each piece of the answer to a function as it arrives."""

from collections.abc import Callable

from rlm_otel.callbacks.arguments import check_function
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.printing import plain, write


class StreamingCallback(BaseCallback):
    """Makes a run stream. `on_token` gets each piece of text, as it came; without it the text is printed.

    An `async def` function works in async runs. Subclasses may define `on_token` and skip `super().__init__()`.
    """

    # Not named on_token: an instance attribute of that name would hide the method from those who look at the class.
    _receive: Callable[[str], object] | None = None

    def __init__(self, on_token: Callable[[str], object] | None = None) -> None:
        check_function("on_token", on_token, "(str) -> None")
        self._receive = on_token

    def on_token(self, token: str) -> object:
        """Hands the text on."""
        if self._receive is not None:
            return self._receive(token)
        write(plain(token, lines=True))
        return None
