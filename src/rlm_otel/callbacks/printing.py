"""Foreign text on a terminal: control characters made visible, and nothing fails that the terminal cannot show."""

import re
import sys
from collections.abc import Callable
from typing import Final, TextIO

# C0, DEL and C1, the separators that some programs take for line ends, what reorders text, and lone surrogates.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_CONTROL_IN_LINES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str, *, lines: bool = False) -> str:
    r"""The text with control characters spelled out (`\x1b`); with `lines`, line ends and tabs stay as they are."""
    return (_CONTROL_IN_LINES if lines else _CONTROL).sub(_visible, text)


def plain_json(text: str) -> str:
    """JSON text without what has power over a terminal, and still the same JSON."""
    return _CONTROL_IN_LINES.sub(lambda match: f"\\u{ord(match.group()):04x}", text)


def write(text: str, file: TextIO | None = None) -> None:
    """Writes in one piece to the file, else to stdout; what its encoding does not have becomes `?`."""
    file = sys.stdout if file is None else file
    if file is None:  # a process without a console
        return
    file.write(encodable_in(file, text))
    file.flush()


def writer(file: TextIO) -> Callable[[str], object]:
    """The file's own way to write, whatever is set on the object later; what its encoding does not have becomes `?`."""
    own = file.write
    return lambda text: own(encodable_in(file, text))


def encodable_in(file: TextIO, text: str) -> str:
    """The text, with `?` for what the file's encoding does not have."""
    encoding = getattr(file, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def write_line(line: str, file: TextIO | None = None) -> None:
    """Writes a line in one piece, so that lines of other threads do not get into it."""
    write(f"{line}\n", file)


def _visible(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
