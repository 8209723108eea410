"""The JSON of a scripted text completion (the older `/v1/completions`), whole or in chunks."""

from collections.abc import Iterator
from itertools import zip_longest

from rlm_otel.testing.answering import CREATED, counted, present, reason_of, texts_of, usage_body, words
from rlm_otel.testing.script import Answer, Json


def text_completion(answer: Answer, request: Json, number: int) -> Json:
    """The body of a text completion that is not streamed."""
    texts = _texts(answer, request)
    usage = counted(answer, request, texts)
    choices = [_choice(index, text, reason_of(answer, index)) for index, text in enumerate(texts)]
    body = {**_envelope(answer, request, number), "choices": choices}
    return body if usage is None else {**body, "usage": usage_body(usage)}


def text_chunks(answer: Answer, request: Json, number: int) -> Iterator[tuple[float, Json]]:
    """Every chunk of a stream with the pause before it; choices come in turns."""
    texts = _texts(answer, request)
    envelope = _envelope(answer, request, number)
    usage = counted(answer, request, texts) if (request.get("stream_options") or {}).get("include_usage") else None
    if usage is not None:
        envelope["usage"] = None
    pause_s = answer.first_token_delay_s
    for turn in zip_longest(*(words(text) if answer.chunks is None else answer.chunks for text in texts)):
        for index, piece in enumerate(turn):
            if piece is not None:
                yield pause_s, {**envelope, "choices": [_choice(index, piece, None)]}
                pause_s = answer.chunk_delay_s
    for index in range(len(texts)):
        yield 0.0, {**envelope, "choices": [_choice(index, "", reason_of(answer, index))]}
    if usage is not None:
        yield 0.0, {**envelope, "choices": [], "usage": usage_body(usage)}


def _texts(answer: Answer, request: Json) -> list[str]:
    """The text of each choice: each of several prompts has its own."""
    prompt, texts = request.get("prompt"), texts_of(answer, request)
    several = isinstance(prompt, list) and not any(isinstance(one, int) for one in prompt)
    return texts * len(prompt) if several and prompt and not isinstance(answer.text, tuple) else texts


def _choice(index: int, text: str, reason: str | None) -> Json:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": reason}


def _envelope(answer: Answer, request: Json, number: int) -> Json:
    return {
        "id": f"cmpl-{number}",
        "object": "text_completion",
        "created": CREATED,
        "model": answer.model or request.get("model"),
        **present(system_fingerprint=answer.system_fingerprint),
    }
