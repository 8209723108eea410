"""What text may leave the process: the capture mode, the redaction rules, and the limit."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, get_args

from rlm_otel.fence import fence

Mode = Literal["none", "span", "event", "both"]
MODE_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
EVENT_VARIABLE: Final = "OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT"
LIMIT_CHARS: Final = 32_768
"""How long one content attribute may get, in characters: larger ones strain collectors and viewers."""

LIMIT_BYTES: Final = 60_000
"""And in bytes of UTF-8: Jaeger's storage refuses a value of more than 65 000, and with it the whole batch."""

REDACTED: Final = "[redacted]"
MARK: Final = "..."
"""Stands where text was cut off. ASCII: one other character makes Python hold 32 KB of English in twice the room."""

_MODES: Final[Mapping[str, Mode]] = {
    "no_content": "none",
    "span_only": "span",
    "event_only": "event",
    "span_and_event": "both",
}
_log: Final = logging.getLogger("rlm_otel")


def mode_from(argument: str | None, environ: Mapping[str, str]) -> Mode:
    """The capture mode: the argument, else the standard variable, else `none`. A bad argument is an error."""
    if argument is not None:
        for mode in get_args(Mode):
            if argument == mode:
                return mode  # type: ignore[no-any-return]  # get_args loses the type
        raise ValueError(f"content={argument!r} is not known; use one of: {', '.join(get_args(Mode))}.")
    value = environ.get(MODE_VARIABLE, "").strip().lower()
    if value and value not in _MODES:
        known = ", ".join(name.upper() for name in _MODES)
        _log.warning("%s=%r is not known, so no content is captured; use one of: %s.", MODE_VARIABLE, value, known)
    return _MODES.get(value, "none")


def wants_events(argument: str | None, content_on_events: bool, environ: Mapping[str, str]) -> bool:
    """Whether operations are told as log events: where content goes there, or as the standard variable says.

    `argument` is the capture mode that was given in code: the variable cannot take away what that asks for.
    """
    value = environ.get(EVENT_VARIABLE, "").strip().lower()
    if value not in ("", "true", "false"):
        _log.warning("%s=%r is not known, so it is ignored; use one of: true, false.", EVENT_VARIABLE, value)
    if value == "false" and argument is None:
        return False
    return content_on_events or value == "true"


# Redaction ---------------------------------------------------------------------------------------------------------

# Each consumes what it matches in one pass: text may be a megabyte, and must not make a pattern backtrack over it.
_KEY_BLOCK: Final = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----(?:[^-]|-(?!----END))*(?:-----END [A-Z0-9 ]{0,40}-----)?"
)
_TOKENS: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:"
    r"sk-[A-Za-z0-9_-]{8,}"  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{8,}"  # Stripe
    r"|(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}"  # AWS
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}"
    r"|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}"  # Google
    r"|xox[a-z]-[A-Za-z0-9-]{8,}|xapp-[A-Za-z0-9-]{8,}"  # Slack
    r"|(?:hf|gsk)_[A-Za-z0-9]{20,}|xai-[A-Za-z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"  # a JSON web token
    r")"
)
_BEARER: Final = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")
_SECRET_NAME: Final = (
    r"(?:(?:api|access|auth|private|secret|session)[_-]?(?:access[_-]?)?(?:key|token)|client[_-]?secret"
    r"|password|passwd|пароль|authorization|x-amz-signature)"
)
_NAMED: Final = re.compile(
    rf"(?i)({_SECRET_NAME}\\?[\"']?\s{{0,4}}[:=]\s{{0,4}}\\?(?P<quote>[\"'])?"
    r"(?!(?:(?:bearer|basic)\s+)?\[redacted\])(?:(?:bearer|basic)\s+)?)(?(quote)[^\"'\\]+|[^\s\"'\\,;&}]+)"
)
_URL_LOGIN: Final = re.compile(r"(://)[^\s/@:]{1,256}:[^\s/@]{1,256}(?=@)")
_WHOLE_NAME: Final = re.compile(rf"(?i).{{0,40}}(?:{_SECRET_NAME}|secret)|token")


# With what each of these patterns begins: a pattern is slow where it is tried at every character, a search for a few
# words is not; and one for a word quicker still where a character of it that is rare, and then a part that several of
# them share, is looked for first.
_Begins = tuple[tuple[str, str, tuple[str, ...]], ...]
_TOKENS_BEGIN: Final[_Begins] = (
    ("-", "", ("sk-", "glpat-", "xox", "xapp-", "xai-")),
    ("_", "k_", ("k_live_", "k_test_", "gsk_")),
    ("_", "gh", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")),
    ("_", "b_", ("github_pat_",)),
    ("_", "hf_", ("hf_",)),
    ("K", "", ("AKIA",)),
    ("S", "", ("ASIA",)),
    ("B", "", ("ABIA",)),
    ("C", "", ("ACCA",)),
    ("z", "", ("AIza",)),
    ("9", "", ("ya29.",)),
    ("J", "", ("eyJ",)),
)
_BEARER_BEGINS: Final[_Begins] = (("r", "", ("bearer",)),)
_NAMED_BEGINS: Final[_Begins] = (
    ("t", "", ("auth", "private", "secret", "client", "x-amz-signature")),
    ("s", "", ("access", "session", "passw")),
    ("p", "", ("api",)),
    ("п", "", ("пароль",)),
)


_KEY_BEGINS: Final = "-----BEGIN"
_LOGIN_BEGINS: Final = "://"
_SECRET_WORDS: Final = ("key", "token", "secret", "passw", "пароль", "author", "nature")


def without_secrets(text: str) -> str:
    """The text with what looks like an API key, token, password or private key replaced by `[redacted]`."""
    if _KEY_BEGINS in text:
        text = _KEY_BLOCK.sub(REDACTED, text)
    if _any_of(_TOKENS_BEGIN, text):
        text = _sub(_TOKENS, REDACTED, text, _found(_TOKENS_BEGIN, text))
    folded = text.casefold()
    if "bearer" in folded:
        text = _sub(_BEARER, rf"\1{REDACTED}", text, _found(_BEARER_BEGINS, _folded(text)))
    if (":" in text or "=" in text) and any(word in folded for word in _SECRET_WORDS):
        text = _sub(_NAMED, rf"\1{REDACTED}", text, _found(_NAMED_BEGINS, _folded(text)))
    return _URL_LOGIN.sub(rf"\1{REDACTED}", text) if _LOGIN_BEGINS in text else text


def may_hold_secrets(text: str) -> bool:
    """False where nothing in it can look like a secret: what many short texts hold is told by all of them at once."""
    if _KEY_BEGINS in text or _LOGIN_BEGINS in text:
        return True
    if _any_of(_TOKENS_BEGIN, text):
        return True
    folded = _folded(text)
    named = (":" in text or "=" in text) and any(word in folded for word in _SECRET_WORDS)
    return named or "bearer" in folded


def _folded(text: str) -> str:
    """Lower case as the patterns see it, each character in its place."""
    if text.isascii():
        return text.lower()
    folded = text.replace("\u0130", "i").lower()  # else that one would become two
    return folded.replace("\u0131", "i").replace("\u017f", "s").replace("\u1c82", "о")


def _any_of(begins: _Begins, text: str) -> bool:
    return any(rare in text and part in text and any(sign in text for sign in signs) for rare, part, signs in begins)


def _found(begins: _Begins, text: str) -> list[int]:
    """Where a match may begin, in order."""
    places: list[int] = []
    for sign in (sign for rare, part, signs in begins if rare in text and part in text for sign in signs):
        before = sign.startswith("k_")  # of sk_live_ and rk_live_
        at = text.find(sign)
        while at >= 0:
            places.append(at - before)
            at = text.find(sign, at + 1)
    places.sort()
    return places


def _sub(pattern: re.Pattern[str], replacement: str, text: str, places: list[int]) -> str:
    """`pattern.sub(replacement, text)`, tried at these places only."""
    done, pieces = 0, list[str]()
    for place in places:
        if place >= done and (match := pattern.match(text, place)) is not None:
            pieces += (text[done:place], match.expand(replacement))
            done = match.end()
    return "".join((*pieces, text[done:])) if pieces else text


_MARGIN: Final = 1024
"""More than the longest stretch in which a pattern has to see all before it fits, words of a token's letters apart."""
_WORD: Final = re.compile(r"[A-Za-z0-9_.-]*")


def start_without_secrets(text: str, limit: int) -> str:
    """The same of a text of which `limit` characters may be shown: of a longer one the first `limit + 1`, no more.

    Only so much of it is read: a prompt may be a megabyte. What a secret at the edge needs to be known is read as well.
    """
    end = limit + 2 * _MARGIN
    if len(text) > end and (word := _WORD.match(text, end)) is not None:
        start = without_secrets(text[: word.end()])
        if len(start) >= limit + _MARGIN:  # else so much was taken out that what follows is shown too
            return start[: limit + 1]
    return without_secrets(text)


def names_a_secret(key: str) -> bool:
    """Whether a JSON key says that its value is a secret (`api_key`, `password`...)."""
    return _is_secret_name(key) if len(key) <= _LONGEST_IDENTIFIER else _WHOLE_NAME.fullmatch(key) is not None


@lru_cache(maxsize=256)  # tools have the same parameters each time
def _is_secret_name(key: str) -> bool:
    return _WHOLE_NAME.fullmatch(key) is not None


_IDENTIFIER: Final = re.compile(r"[A-Za-z0-9_.-]+")
_LONGEST_IDENTIFIER: Final = 64


def identifier(text: str | None) -> str | None:
    """The vendor's word if it looks like an identifier, not like prose or a key; else None: it may quote the prompt."""
    return text if text is not None and len(text) <= _LONGEST_IDENTIFIER and _is_identifier(str(text)) else None


@lru_cache(maxsize=128)  # a failure's is asked for several times
def _is_identifier(text: str) -> bool:
    # Of the patterns above only this one fits such characters: the others need a space or a colon.
    return _IDENTIFIER.fullmatch(text) is not None and _TOKENS.search(text) is None


class Redactor:
    """Takes secrets out of a text, then asks the user's hook; `None` means that the text must not leave.

    Fail-closed: a hook that raises, or gives anything but a string, drops the text.
    """

    def __init__(self, hook: Callable[[str], str | None] | None = None) -> None:
        self._hook = hook
        self._name = getattr(hook, "__qualname__", type(hook).__name__)

    @property
    def hooked(self) -> bool:
        """Whether the user gave a hook: then numbers and keys are shown to it as well."""
        return self._hook is not None

    def passes(self, texts: Iterable[str]) -> bool:
        """Whether it would change none of these; it is only sure of that without a hook."""
        if self._hook is not None:
            return False
        in_ascii, others = list[str](), list[str]()  # together Python would search all in two or four bytes each
        for text in texts:
            (in_ascii if text.isascii() else others).append(text)
        return not any(may_hold_secrets("\n".join(some)) for some in (in_ascii, others) if some)

    def __call__(self, text: str, limit: int | None = None) -> str | None:
        """The text as it may leave, or None. With a limit it may end behind so many characters: cut it there."""
        if self._hook is None and limit is not None:
            return start_without_secrets(text, limit)
        text = without_secrets(text)
        if self._hook is None:
            return text
        answer: object = None
        with fence(self._name, "redact", quiet=True):
            answer = self._hook(text)
        return answer if isinstance(answer, str) else None


# Policy ------------------------------------------------------------------------------------------------------------


def cut(text: str, limit: int) -> str:
    """The text in at most `limit` characters, with a visible mark where the rest was."""
    return text if len(text) <= limit else (text[: max(limit - len(MARK), 0)] + MARK)[:limit]


def cut_bytes(text: str, limit: int) -> str:
    """The same in at most `limit` bytes of UTF-8."""
    if len(text) * 4 <= limit or text.isascii():
        return cut(text, limit)
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len(MARK.encode())].decode("utf-8", "ignore") + MARK


def encodable(text: str) -> str:
    """The text without lone surrogates: one of them in one attribute makes the exporter lose a whole batch."""
    if text.isascii():
        return text
    try:
        text.encode("utf-16-le")  # the quickest way to look at each character
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text


@dataclass(frozen=True, slots=True)
class Policy:
    """Where content goes, what is taken out of it, and how long one attribute may get (in characters)."""

    mode: Mode = "none"
    redactor: Redactor = field(default_factory=Redactor)
    limit_chars: int = LIMIT_CHARS

    @property
    def captures(self) -> bool:
        """Whether any content leaves at all."""
        return self.mode != "none"

    @property
    def on_spans(self) -> bool:
        """Whether content goes onto spans."""
        return self.mode in ("span", "both")

    @property
    def on_events(self) -> bool:
        """Whether content goes onto log events."""
        return self.mode in ("event", "both")

    def redacted(self, text: str) -> str | None:
        """A text without secrets, not yet cut; None if it must not leave."""
        return self.redactor(text, self.limit_chars)

    def text(self, text: str) -> str | None:
        """A text as it may leave: redacted, then cut; None if it must not. It does not look at the mode."""
        redacted = self.redacted(text)
        if redacted is None:
            return None
        return cut_bytes(encodable(cut(redacted, self.limit_chars)), LIMIT_BYTES)
