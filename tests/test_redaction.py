"""Redaction that looks first and reads no more than it must takes out the same as all patterns over the whole text."""

import json
import random
from collections.abc import Iterator
from typing import Final

import pytest

from rlm_otel import content
from rlm_otel.content import REDACTED, Policy, Redactor, may_hold_secrets, start_without_secrets, without_secrets
from rlm_otel.messages import Message, Part, Reasoning, Text, ToolDefinition, ToolRequest, ToolResponse
from rlm_otel.shapes import prompt_json, reply_json, tools_json

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
    "ap\u0131_key: hunter2hunter2",
    "AP\u0130_KEY=hunter2hunter2",
    "пар\u1c82ль: тайна",
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


# Many texts at once ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", SECRETS)
def test_what_holds_a_secret_is_never_taken_for_clean(secret: str) -> None:
    """Whatever is around it."""
    assert may_hold_secrets(secret)
    assert may_hold_secrets(f"Всё, that I know.\n{secret}\n🐈")


def test_what_is_taken_for_clean_has_nothing_that_would_be_taken_out() -> None:
    """And most of what people write is taken for clean."""
    found = [text for text in texts(1000, 5) if not may_hold_secrets(text)]
    assert len(found) > 100
    assert [text for text in found if without_secrets(text) != text] == []
    assert not may_hold_secrets("Is it 5 o'clock? Yes: it's tea-time (see page 3), she said - and poured. Пора! 🫖")


def _part(text: str, chance: random.Random) -> Part:
    kinds = (
        Text(text),
        Reasoning(text),
        ToolResponse(text, "call_1"),
        ToolResponse(json.dumps({"said": text, "api_key": "q1", "n": [1, None]}), "call_1"),
        ToolRequest("look", json.dumps({text[:20]: text}, ensure_ascii=chance.random() < 0.5), "call_1"),
        ToolRequest(text[:30], '{"password":"q1"}', "call_1"),
    )
    return chance.choice(kinds)


def test_messages_are_the_same_whether_they_are_looked_at_at_once_or_one_by_one() -> None:
    """A hook that changes nothing makes each text be looked at alone."""
    chance = random.Random(7)
    at_once, alone = Policy("span"), Policy("span", Redactor(lambda text: text))
    for _ in range(150):
        pieces = list(texts(3, chance.randrange(10**6)))
        messages = tuple(
            Message(chance.choice(("user", "assistant", "tool", "system")), (_part(text, chance), _part(text, chance)))
            for text in pieces
        )
        assert prompt_json(messages, at_once) == prompt_json(messages, alone)
        assert reply_json(messages, at_once) == reply_json(messages, alone)


def test_a_secret_that_is_written_with_escapes_is_found() -> None:
    """JSON has more than one way to write a character, and only the reader of it sees which one it is."""
    wanted = '{"note":"sk\\u002d0123456789abcdef"}'
    message = Message("assistant", (ToolRequest("look", wanted, "call_1"),))
    (said,) = json.loads(prompt_json((message,), Policy("span"))[0])
    assert said["parts"][0]["arguments"] == {"note": REDACTED}


def test_tools_are_written_once_unless_a_hook_may_say_another_thing() -> None:
    """What the application's hook says today it need not say tomorrow."""
    tools = (ToolDefinition("look", description="in the box"),)
    assert tools_json(tools, Policy("span")) == '[{"type":"function","name":"look","description":"in the box"}]'
    names = iter(("box", "look", "cat", "look"))
    hooked = Policy("span", Redactor(lambda text: text if text == "look" else next(names)))
    first, second = (json.loads(tools_json(tools, hooked))[0]["description"] for _ in range(2))
    assert (first, second) == ("box", "look")


def test_a_hook_is_shown_no_more_than_is_kept() -> None:
    """The oldest of many messages go unseen."""
    seen: list[str] = []

    def hook(text: str) -> str:
        seen.append(text)
        return text

    messages = (Message("user", (Text("Yes, of course: do it. "),)),) * 1400
    _, omitted = prompt_json(messages, Policy("span", Redactor(hook)))
    assert (len(seen), omitted) == (421, 980)


def test_what_cannot_be_hashed_is_written_all_the_same() -> None:
    """A text of the application's own class may have no hash."""

    class Odd(str):
        __hash__ = None  # type: ignore[assignment]

    tools = (ToolDefinition("look", description=Odd("in the box")),)
    assert tools_json(tools, Policy("span")) == '[{"type":"function","name":"look","description":"in the box"}]'
    assert content.identifier(Odd("abc")) == "abc"
