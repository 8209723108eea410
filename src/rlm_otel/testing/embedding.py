"""The JSON of scripted embeddings: vectors that depend on the text alone, as numbers or as base64."""

import base64
import hashlib
import json
import struct
from typing import Final

from rlm_otel.testing.answering import counted
from rlm_otel.testing.script import Answer, Json

_DIMENSIONS: Final = 8


def embeddings(answer: Answer, request: Json, _number: int) -> Json:
    """The body of a reply with one vector for each input; the answer's text is not used."""
    given = request.get("input")
    several = isinstance(given, list) and not any(isinstance(one, int) for one in given)
    vectors = [_vector(one, request) for one in (given if several and given else [given])]
    body: Json = {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)],
        "model": answer.model or request.get("model"),
    }
    usage = counted(answer, request, [])
    if usage is not None:
        body["usage"] = {"prompt_tokens": usage.input, "total_tokens": usage.input}
    return body


def _vector(text: object, request: Json) -> list[float] | str:
    length = request.get("dimensions") or _DIMENSIONS
    noise = hashlib.shake_256(json.dumps(text).encode()).digest(length)
    numbers = [byte / 128 - 1 for byte in noise]  # 32 bits hold them exactly: both forms are equal
    if request.get("encoding_format") == "base64":
        return base64.b64encode(struct.pack(f"<{length}f", *numbers)).decode()
    return numbers
