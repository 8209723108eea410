"""The openai SDK, short-circuited for `bench.py`: its clients answer with ready-made objects, without any HTTP."""

import asyncio
from typing import Any, Final

import httpx2
from openai import AsyncOpenAI, OpenAI, RateLimitError
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from rlm_otel.tools import make_tools

MODEL: Final = "gpt-4o-mini"
REFUSED: Final = "gpt-4o"
"""The model that is answered with 429."""
CHUNKS: Final = 200
FEW_CHUNKS: Final = 8

Messages = list[dict[str, Any]]
Prompt = str | Messages
"""A question, or a history with tools."""

_TEXT: Final = "A span is one timed piece of work. " * 6
_ABOUT: Final[dict[str, Any]] = {
    "id": "chatcmpl-1",
    "created": 1,
    "model": "gpt-4o-mini-2024-07-18",
    "service_tier": "default",
    "system_fingerprint": "fp_1",
}
_USAGE: Final = {"prompt_tokens": 20, "completion_tokens": 40, "total_tokens": 60}
_HEADERS: Final = httpx2.Headers(
    {
        "content-type": "application/json",
        "x-request-id": "req_1",
        "x-ratelimit-limit-requests": "100",
        "x-ratelimit-remaining-requests": "99",
        "x-ratelimit-limit-tokens": "1000",
        "x-ratelimit-remaining-tokens": "999",
    }
)
_REFUSAL: Final = httpx2.Response(429, headers=_HEADERS, request=httpx2.Request("POST", "https://api.openai.com/v1"))


class _Raw:
    """As much of the SDK's raw response as its readers touch."""

    headers = _HEADERS

    def __init__(self, parsed: object) -> None:
        self._parsed = parsed

    def parse(self) -> Any:
        return self._parsed


def _answer() -> ChatCompletion:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": _TEXT}}
    return ChatCompletion.model_validate({**_ABOUT, "object": "chat.completion", "choices": [choice], "usage": _USAGE})


def _chunk(*choices: dict[str, Any], usage: dict[str, int] | None = None) -> ChatCompletionChunk:
    return ChatCompletionChunk.model_validate(
        {**_ABOUT, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
    )


def _chunks(count: int) -> list[ChatCompletionChunk]:
    """A prelude, words, a finish reason and the usage, as OpenAI sends them."""
    return [
        _chunk({"index": 0, "delta": {"role": "assistant", "content": ""}}),
        *(_chunk({"index": 0, "delta": {"content": "word "}}) for _ in range(count - 3)),
        _chunk({"index": 0, "delta": {}, "finish_reason": "stop"}),
        _chunk(usage=_USAGE),
    ]


_ANSWER: Final = _answer()
_STREAMS: Final = {count: _chunks(count) for count in (CHUNKS, FEW_CHUNKS)}


def weather(city: str) -> str:
    """The weather in a city now."""
    return f"{city}: snow"


def timetable(station: str, day: str) -> str:
    """Trains that leave a station on a day."""
    return f"{station}, {day}: none"


TOOLS: Final = (weather, timetable)
DEFINITIONS: Final[list[Any]] = [tool.schema() for tool in make_tools(TOOLS).values()]
"""What the runner sends; all ways send the same."""


def _asked(call_id: str, name: str, wanted: str) -> dict[str, Any]:
    call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": wanted}}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


HISTORY: Final[Messages] = [
    {"role": "system", "content": "You are a guide. Answer in the language of the question, in two sentences."},
    {"role": "user", "content": "Какая сейчас погода в Перми? " * 4},
    _asked("call_1", "weather", '{"city":"Пермь"}'),
    {"role": "tool", "tool_call_id": "call_1", "content": "Пермь: снег, -12, ветер 4 м/с. " * 4},
    {"role": "assistant", "content": "В Перми снег и минус двенадцать, ветер слабый. Оденьтесь теплее. " * 2},
    {"role": "user", "content": "Which trains leave for Kazan tomorrow? " * 4},
    _asked("call_2", "timetable", '{"station":"Perm II","day":"tomorrow"}'),
    {"role": "tool", "tool_call_id": "call_2", "content": "07:40, 15:02 and 22:55 from platform 3. " * 4},
    {
        "role": "assistant",
        "content": "Three trains leave tomorrow: at 07:40, 15:02 and 22:55, all from platform 3. " * 2,
    },
    {"role": "user", "content": "Thank you! And which of them is the quickest? " * 2},
]
"""What was said before, with tools called and answered."""


def arguments(prompt: Prompt, model: str, count: int, *, stream: bool) -> dict[str, Any]:
    """What to call `create` with; `count`, how many chunks a stream is to have, goes as `max_tokens`."""
    said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    more = {"stream": True, "stream_options": {"include_usage": True}} if stream else {}
    tools = {} if isinstance(prompt, str) else {"tools": DEFINITIONS}
    return {"model": model, "messages": said, "temperature": 0.5, "max_tokens": count, **more, **tools}


def _respond(options: Any, stream: bool) -> _Raw:
    request = options.json_data
    if request["model"] == REFUSED:
        raise RateLimitError("Rate limit reached", response=_REFUSAL, body={"code": "rate_limit_exceeded"})
    return _Raw(iter(_STREAMS[request["max_tokens"]]) if stream else _ANSWER)


class _Client(OpenAI):
    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG002
        return _respond(options, stream)


class _AsyncClient(AsyncOpenAI):
    async def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:  # noqa: ARG002
        await asyncio.sleep(0)  # so that concurrent calls are all open at once
        return _respond(options, stream)


_SETTINGS: Final[dict[str, Any]] = {"api_key": "none", "base_url": "https://api.openai.com/v1", "max_retries": 0}
CLIENT: Final = _Client(**_SETTINGS)
ASYNC_CLIENT: Final = _AsyncClient(**_SETTINGS)
