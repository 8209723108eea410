"""JSON that is readable, fits the encoding of where it goes, and has no power over a terminal."""

import json


def json_text(value: object, encoding: str | None) -> str:
    r"""The value as JSON; what is not printable, or not in the encoding, is written as `\uXXXX`."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=_plain)
    return "".join(it if it == "\n" or (it.isprintable() and _has(encoding, it)) else _escaped(it) for it in text)


def _has(encoding: str | None, char: str) -> bool:
    if char.isascii():
        return True
    try:
        char.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _escaped(char: str) -> str:
    return json.dumps(char)[1:-1] if not char.isascii() else f"\\u{ord(char):04x}"


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else str(value)
