"""Content that is on several spans, such as a run's prompt and its first call's, is redacted and written once."""

from rlm_otel.content import Policy
from rlm_otel.ending import failure_text
from rlm_otel.messages import Message
from rlm_otel.outcome import Failure
from rlm_otel.shapes import prompt_json, reply_json


class Written:
    """The latest prompt, answer and failure of one tree of runs, by one policy. It lives no longer than the tree.

    Runs at the same time may replace each other's: then both are written anew.
    """

    __slots__ = ("_answer", "_failure", "_prompt")

    def __init__(self) -> None:
        self._prompt: tuple[tuple[Message, ...], tuple[str, int]] = ((), ("[]", 0))
        self._answer: tuple[tuple[Message, ...], str] = ((), "[]")
        self._failure: tuple[tuple[object, ...], str | None] = ((), None)

    def prompt(self, messages: tuple[Message, ...], policy: Policy) -> tuple[str, int]:
        """What `prompt_json` gives; a prompt is known by the very tuple: to compare long ones costs too."""
        known, written = self._prompt
        if known is not messages:
            written = prompt_json(messages, policy)
            self._prompt = (messages, written)
        return written

    def answer(self, messages: tuple[Message, ...], policy: Policy) -> str:
        """What `reply_json` gives."""
        known, written = self._answer
        if known != messages:
            written = reply_json(messages, policy)
            self._answer = (messages, written)
        return written

    def failure(self, failure: Failure, policy: Policy) -> str | None:
        """What `failure_text` gives."""
        known, written = self._failure
        facts = failure.type, failure.message, failure.status, failure.code, failure.request_id  # not the exception
        if known != facts:
            written = failure_text(failure, policy)
            self._failure = (facts, written)
        return written
