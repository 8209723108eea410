"""The Responses API: requests, responses that are generated, and stored ones that are fetched."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from rlm_otel.events import Request
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.fields import count, items, read, text
from rlm_otel.reader.request import read_request, read_tools, text_format
from rlm_otel.reader.response_envelope import read_envelope, read_response_usage
from rlm_otel.reader.response_events import EventReader
from rlm_otel.reader.response_items import is_compacted, read_input, read_output
from rlm_otel.reader.surface import Asked, Surface, no_answer
from rlm_otel.semconv import FETCH_RESPONSE

_API: Final = "responses"


# Generated ---------------------------------------------------------------------------------------------------------


def _asked(body: Mapping[str, object]) -> Asked:
    return Asked(
        request=_request(body),
        instructions=text(body.get("instructions")),
        messages=read_input(body.get("input")),
        tools=read_tools(body.get("tools")),
        model=text(body.get("model")) or "",
        stream=body.get("stream") is True,
    )


def _request(body: Mapping[str, object]) -> Request:
    """What this API has other names for than chat completions, and what only it has."""
    shared = read_request(body)
    conversation = body.get("conversation")
    return replace(
        shared,
        api=_API,
        max_tokens=count(body.get("max_output_tokens")),
        reasoning_level=text(read(body.get("reasoning"), "effort")),
        output_type=text_format(read(body.get("text"), "format")),
        conversation=text(conversation) or text(read(conversation, "id")),
        previous_response_id=text(body.get("previous_response_id")),
    )


def _reply(response: object, headers: object) -> tuple[Reply, Usage | None]:
    envelope = read_envelope(response)
    output = items(read(response, "output"))
    reply = envelope.reply(read_output(output), headers, compacted=is_compacted(output), raw=response)
    return reply, read_response_usage(envelope.usage)


def _failure(response: object) -> Failure | None:
    return read_envelope(response).failure(response) or _no_response(response)


def _no_response(response: object) -> Failure | None:
    came = text(read(response, "id")) or text(read(response, "status")) or items(read(response, "output"))
    return None if came else no_answer(response, "output")


RESPONSES: Final = Surface(operation="chat", asked=_asked, reply=_reply, failure=_failure, chunk_reader=EventReader)


# Fetched -----------------------------------------------------------------------------------------------------------


def fetched(response_id: str) -> Surface:
    """Reading a stored response: nothing is generated, so it has no tokens, and one that failed is well fetched."""
    return Surface(
        operation=FETCH_RESPONSE,
        asked=partial(_asked_for, response_id),
        reply=_stored,
        failure=_no_response,
        chunk_reader=partial(EventReader, stored=True),
    )


def _asked_for(response_id: str, query: Mapping[str, object]) -> Asked:
    cursor = query.get("starting_after")
    request = Request(
        api=_API,
        response_id=response_id,
        stream_cursor=None if cursor is None or isinstance(cursor, bool) else text(str(cursor)),
    )
    return Asked(request=request, stream=query.get("stream") in (True, "true"))


def _stored(response: object, headers: object) -> tuple[Reply, Usage | None]:
    return _reply(response, headers)[0], None
