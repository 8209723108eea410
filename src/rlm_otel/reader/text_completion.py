"""The older text completions: a prompt that is text or token numbers, and choices that are text alone."""

from collections.abc import Mapping
from typing import Final

from rlm_otel.fence import fence
from rlm_otel.messages import Message, Other, Text
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.fields import extras, items, read, text
from rlm_otel.reader.reply import header, known_headers, read_cost, read_rate_limits, read_usage, usage_of
from rlm_otel.reader.request import read_request
from rlm_otel.reader.surface import Asked, Surface, no_answer

_TOKENS: Final = Message("user", (Other("tokens"),))
"""A prompt of token numbers: nobody can read it."""


def _asked(body: Mapping[str, object]) -> Asked:
    return Asked(
        request=read_request(body),
        messages=_prompts(body.get("prompt")),
        model=text(body.get("model")) or "",
        stream=body.get("stream") is True,
    )


def _prompts(prompt: object) -> tuple[Message, ...]:
    """One message a prompt: a text, several, token numbers, or several lists of them."""
    if isinstance(prompt, str):
        return (_said("user", prompt),)
    several = items(prompt)
    if several and isinstance(several[0], int):
        return (_TOKENS,)
    return tuple(_said("user", one) if isinstance(one, str) else _TOKENS for one in several)


def _said(role: str, said: str | None) -> Message:
    return Message(role, (Text(said),) if said else ())


def _reply(response: object, headers: object) -> tuple[Reply, Usage | None]:
    choices = _choices(response)
    told = known_headers(headers)
    reply = Reply(
        messages=tuple(_said("assistant", text(read(choice, "text"))) for choice in choices),
        finish_reasons=tuple(text(read(choice, "finish_reason")) for choice in choices),
        id=text(read(response, "id")),
        model=text(read(response, "model")),
        service_tier=text(extras(response).get("service_tier")),
        system_fingerprint=text(read(response, "system_fingerprint")),
        request_id=header(told, "x-request-id") or text(read(response, "_request_id")),
        rate_limits=read_rate_limits(told),
        raw=response,
    )
    return reply, read_usage(usage_of(response))


def _choices(response: object) -> list[object]:
    return [choice for choice in items(read(response, "choices")) if choice is not None]


def _failure(response: object) -> Failure | None:
    return None if _choices(response) else no_answer(response, "choices")


class _Choice:
    __slots__ = ("reason", "text")

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reason: str | None = None


class TextChunkReader:
    """Reads the chunks of one stream of text completions: each has pieces of the choices' texts."""

    __slots__ = ("_choices", "_headers", "_seen", "_unread", "_usage", "generated", "visible")

    def __init__(self, headers: object = None) -> None:
        self.generated: bool = False
        self.visible: bool = False
        self._headers = headers
        self._choices: dict[int, _Choice] = {}
        self._seen: dict[str, str] = {}
        self._usage: object = None  # the last block: they are cumulative
        self._unread = False

    def feed(self, chunk: object, /) -> str:
        """Takes note of one chunk; the text it adds to the first choice, "" if none."""
        with fence("rlm_otel", "reader"):  # a bug of ours must not end the user's stream
            return self._feed(chunk)
        self._unread = True
        return ""

    def _feed(self, chunk: object) -> str:
        for name in ("id", "model", "system_fingerprint"):
            if (found := text(read(chunk, name))) is not None:
                self._seen[name] = found
        self._usage = usage_of(chunk) or self._usage
        first = ""
        for choice in _choices(chunk):
            index = read(choice, "index")
            number = index if isinstance(index, int) else 0
            state = self._choices.setdefault(number, _Choice())
            state.reason = text(read(choice, "finish_reason")) or state.reason
            said = text(read(choice, "text")) or ""
            if said:
                state.text.append(said)
                self.generated = self.visible = True
            if number == 0:
                first += said
        return first

    def complete(self) -> bool:
        """Whether each choice has a finish reason, and there was one at all; otherwise the stream was torn."""
        finished = bool(self._choices) and all(choice.reason is not None for choice in self._choices.values())
        return finished or self._unread

    def failure(self) -> Failure | None:
        """None: the SDK itself raises what such a stream says that went wrong."""
        return None

    def result(self) -> tuple[Reply, Usage | None]:
        """The reply as far as it came, and the tokens counted."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        told = known_headers(self._headers)
        reply = Reply(
            messages=tuple(_said("assistant", "".join(choice.text)) for choice in choices),
            finish_reasons=tuple(choice.reason for choice in choices),
            id=self._seen.get("id"),
            model=self._seen.get("model"),
            system_fingerprint=self._seen.get("system_fingerprint"),
            request_id=header(told, "x-request-id"),
            rate_limits=read_rate_limits(told),
        )
        return reply, read_usage(self._usage)

    def pieces(self) -> int:
        """How many pieces came so far; another thread may ask."""
        return sum(len(choice.text) for choice in list(self._choices.values()))

    @property
    def reported_cost(self) -> float | None:
        """What the vendor itself says that the call cost so far, in USD."""
        return read_cost(self._usage)


TEXT_COMPLETION: Final = Surface(
    operation="text_completion", asked=_asked, reply=_reply, failure=_failure, chunk_reader=TextChunkReader
)
