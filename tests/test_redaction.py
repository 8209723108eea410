"""Redaction that looks first and reads no more than it must takes out the same as all patterns over the whole text."""

import random
from collections.abc import Iterator
from typing import Final

import pytest

from rlm_otel import content
from rlm_otel.content import REDACTED, Policy, Redactor, start_without_secrets, without_secrets

SECRETS: Final = (
    "sk-proj-abcDEF123456",
    "sk_live_abcdefgh1234",
    "rk_test_abcdefgh1234",
    *(f"{start}IOSFODNN7EXAMPLE" for start in ("AKIA", "ASIA", "ABIA", "ACCA")),
    *(f"gh{kind}_0123456789abcdefghijABCDEFGHIJ012345" for kind in "pousr"),
    "github_pat_0123456789abcdefghijABCDEFGHIJ",
    "glpat-0123456789abcdefghij",
    "AIzaSyA0123456789abcdefghijklmnopqrstuv",
    "ya29.0123456789abcdefghijklm",
    "xoxb-123456789012-abcdef",
    "xapp-123456789012-abcdef",
    "hf_0123456789abcdefghijABCD",
    "gsk_0123456789abcdefghijABCD",
    "xai-0123456789abcdefghijABCD",
    f"eyJhbGciOiJIUzI1NiJ9.eyJ{'zdWIiOiIx' * 40}.dozjgNryP4J3",
    f"eyJhbGciOiJIUzI1NiJ9.eyJ{'zdWIiOiIx' * 600}.dozjgNryP4J3",
    "Bearer abc.def-123456",
    "BEARER\u2003abc.def-123456",
    "authorization: basic dXNlcjpwYXNz",
    "api_key=q1w2e3",
    '{"api-\u212aey": "q1 w2"}',
    "\u017fecret_token = q1",
    "ПАРОЛЬ: тайна",
    "PASSWD='тайна тайна'",
    "client-secret=q1",
    "X-Amz-Signature=0123456789abcdef",
    "postgres://user:pass@host/db",
    f"https://{'u' * 200}:{'p' * 200}@host/db",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\nMIIE",
)
WORDS: Final = "Всё, that I know: a span is one timed piece of work. 🐈 token bearer key secret password"
PIECES: Final = """sk- eyJ :// gh _ - = : " ' @ [redacted] AKIA ya29. -----BEGIN \u017f \u212a"""
PROSE: Final = (
    *WORDS.split(),
    *PIECES.split(),
    "x" * 300,
    "word " * 60,
)


def texts(count: int, seed: int) -> Iterator[str]:
    """Prose and pieces of secrets, with whole secrets in some of them, glued with and without spaces."""
    chance = random.Random(seed)
    for _ in range(count):
        pieces = [
            chance.choice(SECRETS) if chance.random() < 0.15 else chance.choice(PROSE)
            for _ in range(chance.choice((1, 4, 20, 60)))
        ]
        yield "".join(piece + chance.choice((" ", " ", "", "\n", "\t", ", ")) for piece in pieces)


def by_all_patterns(text: str) -> str:
    """Every pattern over every character."""
    text = content._KEY_BLOCK.sub(REDACTED, text)
    text = content._TOKENS.sub(REDACTED, text)
    text = content._BEARER.sub(rf"\1{REDACTED}", text)
    text = content._NAMED.sub(rf"\1{REDACTED}", text)
    return content._URL_LOGIN.sub(rf"\1{REDACTED}", text)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_found_whatever_is_looked_for_first(secret: str) -> None:
    """Alone in a text nothing else leads to it."""
    assert without_secrets(secret) == by_all_patterns(secret) != secret


def test_looking_first_changes_nothing() -> None:
    """Random texts with secrets, halves of secrets, and the letters that only ignoring case makes equal."""
    for text in texts(1500, seed=1):
        assert without_secrets(text) == by_all_patterns(text)


def test_the_start_is_that_of_the_whole() -> None:
    """What is left unread changes nothing of what is shown."""
    chance = random.Random(2)
    shortened = 0
    for text in texts(400, seed=3):
        text = text * chance.choice((1, 5, 20))
        limit = chance.choice((12, 100, 1000, 3000))
        start, whole = start_without_secrets(text, limit), without_secrets(text)
        shortened += start != whole
        assert start == whole or start == whole[: limit + 1]
    assert shortened > 50


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_on_the_edge_does_not_survive(secret: str) -> None:
    """Wherever the limit cuts it, and wherever the reading ends, as much is shown as of the whole text."""
    limit = 4000
    for edge in (limit, limit + content._MARGIN, limit + 2 * content._MARGIN):
        for cut_at in {0, 1, 5, len(secret) // 2, len(secret) - 1, len(secret)}:
            text = "слово " * 2000
            text = text[: edge - cut_at - 1] + " " + secret + " " + text
            assert start_without_secrets(text, limit)[:limit] == by_all_patterns(text)[:limit]


def test_a_text_that_redaction_shrinks_is_shown_as_far_as_ever() -> None:
    """Keys alone fill the part that is read first: what comes behind them has room."""
    text = "sk-0123456789abcdefghijklmnopqrstuvwxyz " * 200 + "конец"
    assert Policy(limit_chars=2500).text(text) == "[redacted] " * 200 + "конец"


def test_the_hook_sees_the_whole_text() -> None:
    """It may look for a word anywhere."""
    redactor = Redactor(lambda text: None if text.endswith("тайна") else text)
    assert Policy(redactor=redactor, limit_chars=100).text("слово " * 5000 + "тайна") is None
