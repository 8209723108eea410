"""What text may leave: mode, redaction, limit, and the JSON shapes that are cut inside."""

import json
import logging

import pytest

from rlm_otel.content import Policy, Redactor, cut, encodable, identifier, mode_from, without_secrets
from rlm_otel.fence import failures, forget_failures
from rlm_otel.messages import Media, Message, Other, Reasoning, Text, ToolDefinition, ToolRequest, ToolResponse
from rlm_otel.shapes import prompt_json, reply_json, tools_json, value_json

VARIABLE = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def said(role: str, *texts: str) -> Message:
    return Message(role, tuple(map(Text, texts)))


# Mode --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "mode"),
    [("", "none"), ("NO_CONTENT", "none"), ("span_only", "span"), ("Event_Only", "event"), ("SPAN_AND_EVENT", "both")],
)
def test_the_variable_switches_content(value: str, mode: str) -> None:
    """The standard values, in any case; empty is unset."""
    assert mode_from(None, {VARIABLE: value}) == mode


def test_a_bad_variable_is_one_warning_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    """An old or mistyped value never captures content."""
    with caplog.at_level(logging.WARNING, "rlm_otel"):
        assert mode_from(None, {VARIABLE: "true"}) == "none"
    assert [record.getMessage() for record in caplog.records] == [
        f"{VARIABLE}='true' is not known, so no content is captured; "
        "use one of: NO_CONTENT, SPAN_ONLY, EVENT_ONLY, SPAN_AND_EVENT."
    ]


def test_the_argument_wins() -> None:
    """Whoever says it in code means it."""
    assert mode_from("none", {VARIABLE: "SPAN_ONLY"}) == "none"


def test_a_bad_argument_is_an_error() -> None:
    """It names the argument and the known values."""
    with pytest.raises(ValueError) as caught:
        mode_from("all", {})
    assert str(caught.value) == "content='all' is not known; use one of: none, span, event, both."


# Redaction ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ключ sk-proj-abcDEF123456 тут", "ключ [redacted] тут"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer [redacted]"),
        ("bearer 0123456789abcdef!", "bearer [redacted]!"),
        ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
        ("ghp_0123456789abcdefghijABCDEFGHIJ012345", "[redacted]"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "[redacted]"),
        ("xoxb-123456789012-abcdef", "[redacted]"),
        ("api_key=q1w2e3&x=1", "api_key=[redacted]&x=1"),
        ('{"api_key": "q1 w2"}', '{"api_key": "[redacted]"}'),
        ('{\\"password\\": \\"q1\\"}', '{\\"password\\": \\"[redacted]\\"}'),
        ("Пароль: тайна", "Пароль: [redacted]"),
        ("postgres://user:pass@host/db", "postgres://[redacted]@host/db"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nafter", "[redacted]\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "[redacted]"),
        ("task-force, sk-learn, max_tokens=5, bearer of news", "task-force, sk-learn, max_tokens=5, bearer of news"),
    ],
)
def test_secrets_are_taken_out(text: str, expected: str) -> None:
    """Keys, tokens and passwords go, prose stays; a second pass changes nothing."""
    assert without_secrets(text) == expected
    assert without_secrets(expected) == expected


@pytest.mark.parametrize(
    "text", ["-----BEGIN PRIVATE KEY-----" * 20_000, "eyJ" * 200_000, "://" + "a" * 600_000, "password" * 80_000]
)
def test_patterns_stay_linear(text: str) -> None:
    """Text of half a megabyte made to hurt is done at once."""
    assert len(without_secrets(text)) <= len(text) + len("[redacted]")


def test_the_hook_sees_text_after_the_built_in_patterns() -> None:
    """A hook that stores what it sees never sees a key."""
    seen: list[str] = []

    def hook(text: str) -> str:
        seen.append(text)
        return text.replace("Анна", "[name]")

    assert Redactor(hook)("Анна: sk-0123456789") == "[name]: [redacted]"
    assert seen == ["Анна: [redacted]"]


def test_a_failing_hook_drops_the_text() -> None:
    """Fail-closed: a raising hook, None and a wrong type all drop it, and the failure is counted."""
    forget_failures()

    def broken(text: str) -> str:
        raise KeyError(text)

    assert Redactor(broken)("тайна") is None
    assert Redactor(lambda text: None)("тайна") is None
    assert Redactor(lambda text: len(text))("тайна") is None  # type: ignore[arg-type,return-value]
    assert list(failures().values()) == [1]
    forget_failures()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("invalid_request", "invalid_request"),
        ("Say this: hello", None),
        ("sk-0123456789", None),
        ("a" * 65, None),
        (None, None),
    ],
)
def test_a_vendors_word_has_to_look_like_one(text: str | None, expected: str | None) -> None:
    """An error code may quote the prompt or a key."""
    assert identifier(text) == expected


def test_a_lone_surrogate_is_replaced() -> None:
    """It would make the exporter lose its whole batch."""
    assert encodable("кот \ud83d 🐈") == "кот ? 🐈"


def test_a_cut_is_visible() -> None:
    """The mark counts for the limit."""
    assert cut("абвгд", 4) == "а..."
    assert [cut("абвгд", limit) for limit in (0, 2, 5)] == ["", "..", "абвгд"]


def test_text_is_redacted_before_it_is_cut() -> None:
    """A key on the edge must not survive as half a key."""
    assert Policy(limit_chars=12).text("ключ sk-0123456789 и так далее") == "ключ [red..."


# Shapes ------------------------------------------------------------------------------------------------------------


def test_each_part_has_its_shape() -> None:
    """All kinds of parts, in readable UTF-8; unknown ones keep only their type."""
    message = Message(
        "user",
        (
            Text("Привет 🙂"),
            Reasoning("хм"),
            ToolRequest("find", '{"город": "Пермь"}', "c1"),
            ToolResponse("2", "c1"),
            Media("image", "https://example.com/x.png", "uri"),
            Media("document", "file-1", "file", "application/pdf"),
            Other("refusal_v2"),
            Other("text"),
        ),
        name="Анна",
    )
    text, omitted = prompt_json((message,), Policy())
    assert omitted == 0
    assert "\\u" not in text
    assert json.loads(text) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "Привет 🙂"},
                {"type": "reasoning", "content": "хм"},
                {"type": "tool_call", "id": "c1", "name": "find", "arguments": {"город": "Пермь"}},
                {"type": "tool_call_response", "id": "c1", "response": "2"},
                {"type": "uri", "modality": "image", "uri": "https://example.com/x.png"},
                {"type": "file", "modality": "document", "file_id": "file-1", "mime_type": "application/pdf"},
                {"type": "refusal_v2"},
                {"type": "other.text"},
            ],
            "name": "Анна",
        }
    ]


@pytest.mark.parametrize("source", ["data:image/png;base64,AAEC", "AAEC"])
def test_media_become_references(source: str) -> None:
    """The bytes stay at home; their hash tells which ones they were."""
    media = Media("image", source, "blob" if source == "AAEC" else "uri", "image/png")
    assert json.loads(reply_json((Message("user", (media,)),), Policy()))[0]["parts"] == [
        {
            "type": "uri",
            "modality": "image",
            "uri": "sha256:ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc",
            "mime_type": "image/png",
        }
    ]


def test_dropped_text_leaves_nothing() -> None:
    """What the hook drops has no part, no key and no name."""
    message = Message("user", (Text("тайна"), Text("можно"), ToolRequest("f", '{"тайна": 1, "b": ["тайна", 2]}')))
    policy = Policy(redactor=Redactor(lambda text: None if "тайна" in text else text))
    assert json.loads(prompt_json((message,), policy)[0]) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "можно"},
                {"type": "tool_call", "name": "f", "arguments": {"b": [2]}},
            ],
        }
    ]


def test_redaction_reaches_into_json() -> None:
    """Escaped text, secret keys and numbers inside a tool's arguments are seen as what they are."""
    policy = Policy(redactor=Redactor(lambda text: text.replace("кот", "***").replace("4111", "****")))
    text = '{"q": "\\u043a\\u043e\\u0442", "api_key": "q1", "card": 4111, "n": 7, "ok": true}'
    assert json.loads(value_json(text, policy) or "") == {
        "q": "***",
        "api_key": "[redacted]",
        "card": "****",
        "n": 7,
        "ok": True,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("солнечно", {"value": "солнечно"}),
        ("42", {"value": "42"}),
        ("[1, 2]", {"value": [1, 2]}),
        ('{"a": NaN}', {"value": '{"a": NaN}'}),
        ('{"a": 1e999}', {"value": '{"a": 1e999}'}),
        ("[" * 100_000, {"value": "[" * 31_998 + "..."}),
    ],
)
def test_a_tools_text_is_an_object_whatever_it_is(text: str, expected: object) -> None:
    """The conventions want an object; what is not JSON is kept as text."""
    assert json.loads(value_json(text, Policy(limit_chars=32_001 + len('{"value":""}'))) or "") == expected


def test_long_prompts_lose_the_oldest_messages_first() -> None:
    """The system prompt and the latest messages stay whole; the gap is counted."""
    messages = (said("system", "Ты кот."), *(said("user", f"{n:03} " + "ы" * 96) for n in range(200)))
    text, omitted = prompt_json(messages, Policy(limit_chars=1000))
    kept = json.loads(text)
    assert len(text) <= 1000
    assert [m["parts"][0]["content"][:3] for m in kept] == ["Ты ", "194", "195", "196", "197", "198", "199"]
    assert omitted == 194


@pytest.mark.parametrize("limit", [120, 200, 1000, 5000])
@pytest.mark.parametrize(
    "messages",
    [
        (said("user", "щ" * 9000),),
        (said("user", '"\n\\' * 3000),),
        (said("system", "с" * 9000), said("user", "щ" * 9000)),
        (said("system", "с" * 9000), said("user", "a"), said("user", "щ")),
        (said("user", *["щ" * 50] * 500),),
        (Message("assistant", (ToolRequest("f", json.dumps({str(n): n for n in range(5000)})),)),),
        (Message("assistant", (ToolRequest("f" * 9000, "щ" * 9000),)),),
    ],
)
def test_whatever_is_too_long_still_parses(messages: tuple[Message, ...], limit: int) -> None:
    """Cuts are inside the structure and the limit holds."""
    text, _ = prompt_json(messages, Policy(limit_chars=limit))
    assert len(text) <= limit
    assert json.loads(text)[-1]["role"] == messages[-1].role


def test_a_cut_uses_the_room_it_has() -> None:
    """One long text is cut to the character, not to half."""
    text, _ = prompt_json((said("user", "щ" * 9000),), Policy(limit_chars=1000))
    assert len(text) == 1000
    assert json.loads(text)[0]["parts"][0]["content"].endswith("щ...")


@pytest.mark.parametrize("character", ["я", "語", "🙂", "\n", "я🙂語a"])
def test_no_value_is_longer_than_a_back_end_takes(character: str) -> None:
    """Bytes count, not characters: Jaeger's storage refuses more, and with it the whole batch."""
    long = character * 100_000
    policy = Policy("span")
    written = [
        prompt_json((Message("user", (Text(long),)), Message("user", (Text(long),))), policy)[0],
        reply_json((Message("assistant", (Text(long),)), Message("assistant", (Text(long),))), policy),
        tools_json((ToolDefinition("search", description=long),), policy),
        value_json(long, policy) or "",
    ]
    assert [json.loads(text) is not None for text in written] == [True] * 4
    text = policy.text(long) or ""
    assert all(15_000 < len(value.encode()) <= 60_000 for value in [*written, text])
    assert text.endswith("...")


def test_a_long_system_prompt_is_cut_only_where_it_must() -> None:
    """What the latest message leaves free is the system prompt's."""
    text, _ = prompt_json((said("system", "с" * 900), said("user", "щ")), Policy(limit_chars=1000))
    assert len(text) == 1000
    assert json.loads(text)[1]["parts"][0]["content"] == "щ"


def test_choices_share_the_limit() -> None:
    """No choice is dropped for another one's length."""
    text = reply_json((said("assistant", "а" * 900), said("assistant", "б" * 900)), Policy(limit_chars=500))
    assert len(text) <= 500
    assert [m["parts"][0]["content"][:1] for m in json.loads(text)] == ["а", "б"]


def test_tools_are_cut_and_then_left_out() -> None:
    """Descriptions go before names."""
    tools = tuple(ToolDefinition(f"t{n}", description="описание " * 20) for n in range(10))
    assert [t["name"] for t in json.loads(tools_json(tools, Policy(limit_chars=1000)))] == [f"t{n}" for n in range(10)]
    assert len(json.loads(tools_json(tools, Policy(limit_chars=500)))) == 5
    assert json.loads(tools_json(tools[:1], Policy())) == [
        {"type": "function", "name": "t0", "description": "описание " * 20}
    ]
