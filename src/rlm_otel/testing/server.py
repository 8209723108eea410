"""A scripted OpenAI-compatible HTTP server on the loopback interface, for tests and demonstrations."""

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final

from rlm_otel.loopback import LoopbackServer, peer_is_gone
from rlm_otel.testing.answering import last_text
from rlm_otel.testing.endpoints import CHAT, endpoint_of, fetched
from rlm_otel.testing.script import Failure, Item, Json, Raw, Repeat, unfold
from rlm_otel.testing.wire import Response, respond

_LOOK_S: Final = 0.01
_NO_RETRY: Final = {"x-should-retry": "false"}  # the SDK's own way to say that a repetition is of no use


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRequest:
    """One request that the server got, with what became of it."""

    method: str
    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: Json
    """The decoded JSON object; empty if there was none."""
    disconnected: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when the client goes away before its response is complete."""
    answered: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set when everything the script says has been sent."""

    @property
    def prompt(self) -> str:
        """The text of the last message, input or prompt, empty if it has none."""
        return last_text(self.body)


class ScriptedServer:
    """Answers each request with the next item of a script, or with what `respond(request)` returns.

    It serves `POST /v1/chat/completions`, `/v1/completions`, `/v1/responses`, `/v1/embeddings`, and
    `GET /v1/responses/{id}`, `/v1/models`; every item fits every one of them but the last.

        with ScriptedServer([Failure(429, retry_after=0), Answer("Hello")]) as server:
            client = openai.OpenAI(base_url=server.base_url, api_key="any")

    `api_key` turns other keys away with 401; `models` turns other models away with 404. A request beyond the end of the
    script gets a 500 that says so; `cycle` starts the script again instead.
    """

    def __init__(
        self,
        script: Sequence[Item | Repeat] = (),
        *,
        respond: Callable[[RecordedRequest], Item] | None = None,
        cycle: bool = False,
        api_key: str | None = None,
        models: Sequence[str] = (),
        ignores_include_usage: bool = False,
        port: int = 0,
    ) -> None:
        if script and respond is not None:
            msg = "ScriptedServer got both a script and respond=; give one of them."
            raise ValueError(msg)
        self._script = unfold(tuple(script), cycle=cycle)
        self._respond = respond
        self._api_key = api_key
        self._models = tuple(models)
        self.ignores_include_usage: Final = ignores_include_usage
        """Whether streams never report usage, whatever the request asks."""
        self._wanted_port = port
        self._server: LoopbackServer | None = None
        self._changed = threading.Condition()
        self._requests: list[RecordedRequest] = []

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`; stays the same after `close()`."""
        if self._server is None:
            msg = "The server has no address yet; use `with ScriptedServer(...) as server:` or call start()."
            raise RuntimeError(msg)
        return f"http://127.0.0.1:{self._server.port}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """Every request so far, in order of arrival, the refused ones too."""
        with self._changed:
            return list(self._requests)

    def wait_for_requests(self, count: int, timeout_s: float = 5.0) -> list[RecordedRequest]:
        """Wait until this many requests have arrived and return all; TimeoutError if they do not."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout_s):
                msg = f"{len(self._requests)} of {count} requests arrived within {timeout_s:g} s."
                raise TimeoutError(msg)
            return list(self._requests)

    def start(self) -> "ScriptedServer":
        """Begin to serve, in threads of its own."""
        if self._server is None:
            self._server = LoopbackServer(partial(_Handler, self), self._wanted_port)
        return self

    def close(self) -> None:
        """Stop at once; responses that are still waiting or streaming are cut. May be called again."""
        if self._server is not None and not self._server.closing.is_set():
            self._server.close()

    def __enter__(self) -> "ScriptedServer":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def record(self, request: RecordedRequest) -> int:
        """Note a request; its number, from 1."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            return len(self._requests)

    def item_for(self, request: RecordedRequest) -> Item:
        """What to do with a request: refuse it as the real service would, or the next item."""
        if self._api_key is not None and request.headers.get("authorization") != f"Bearer {self._api_key}":
            return Failure(401, code="invalid_api_key", message="Incorrect API key provided.")
        path = request.path.partition("?")[0]
        if (request.method, path) == ("GET", "/v1/models"):
            return Raw({"object": "list", "data": [_model(name) for name in self._models]})
        if endpoint_of(request.method, request.path) is None:
            return Failure(404, message=f"Invalid URL ({request.method} {request.path})")
        if request.method == "POST":
            model = request.body.get("model")
            if not model:
                return Failure(400, message="you must provide a model parameter")
            if self._models and model not in self._models:
                message = f"The model `{model}` does not exist or you do not have access to it."
                return Failure(404, code="model_not_found", message=message)
        return self._next(request)

    def _next(self, request: RecordedRequest) -> Item:
        if self._respond is None:
            with self._changed:
                item = next(self._script, None)
                return item or _mistake(f"The script is exhausted: nothing is left for request {len(self._requests)}.")
        return self._respond(request)


def _model(name: str) -> Json:
    return {"id": name, "object": "model", "created": 0, "owned_by": "script"}


def _mistake(message: str) -> Failure:
    """A 500 for a mistake in the script; clients must not repeat it."""
    return Failure(500, code="script", message=message, headers=_NO_RETRY)


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, sends what `wire` made of the script."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small chunks wait for each other

    def __init__(self, owner: ScriptedServer, connection: socket.socket, address: Any, server: LoopbackServer) -> None:
        self._owner = owner
        self._closing = server.closing
        super().__init__(connection, address, server)  # handles the whole connection

    def log_message(self, *_: object) -> None:
        """Nothing: a test's output is its own."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        text = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = _decoded(text)
        request = RecordedRequest(self.command, self.path, headers, body or {})
        number = self._owner.record(request)
        try:
            item = self._owner.item_for(request)
        except BaseException as error:
            # The author of respond= sees the traceback here; the client gets an answer, not silence.
            self._send(respond(_mistake(f"respond= raised {type(error).__name__}."), {}, number), number)
            raise
        if text and body is None:
            item = Failure(400, message="We could not parse the JSON body of your request.")
        asked = fetched(request.path) if request.method == "GET" else request.body
        if self._owner.ignores_include_usage:
            asked = {name: value for name, value in asked.items() if name != "stream_options"}
        try:
            self._send(respond(item, asked, number, endpoint_of(request.method, request.path) or CHAT), number)
        except OSError:
            self.close_connection = True
            if not self._closing.is_set():
                request.disconnected.set()
            return
        request.answered.set()

    def _send(self, response: Response, number: int) -> None:
        self._wait(response.delay_s)
        if response.ending == "silent":
            self.close_connection = True
            return
        if response.gate is not None and not response.streamed:
            self._wait_for(response.gate)
        self._send_head(response, number)
        if response.streamed:
            self._send_stream(response)
        else:
            self._send_whole(response)
        if response.ending == "reset":
            self._reset()
        elif response.ending == "cut":
            self.close_connection = True

    def _send_head(self, response: Response, number: int) -> None:
        self.send_response(response.status)
        self.send_header("x-request-id", f"req_{number}")
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.streamed:
            self.send_header("transfer-encoding", "chunked")
        else:
            self.send_header("content-length", str(sum(len(piece.data) for piece in response.pieces)))
        self.end_headers()

    def _send_whole(self, response: Response) -> None:
        data = b"".join(piece.data for piece in response.pieces)
        self.wfile.write(data if response.ending == "whole" else data[: len(data) // 2])

    def _send_stream(self, response: Response) -> None:
        for sent, (pause_s, data) in enumerate(response.pieces):
            if response.gate is not None and sent == response.gate_after:
                self._wait_for(response.gate)
            self._wait(pause_s)
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if response.ending == "whole":
            self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """End with RST instead of FIN: no lingering, and no reference left that keeps the socket open."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.connection.close()

    def _wait(self, seconds: float) -> None:
        """Let time pass; ConnectionAbortedError as soon as the client or the server closes."""
        end = time.monotonic() + seconds
        self._look()
        while (left := end - time.monotonic()) > 0:
            self._closing.wait(min(left, _LOOK_S))
            self._look()

    def _wait_for(self, gate: threading.Event) -> None:
        while not gate.wait(_LOOK_S):
            self._look()

    def _look(self) -> None:
        if self._closing.is_set() or peer_is_gone(self.connection):
            raise ConnectionAbortedError


def _decoded(text: bytes) -> Json | None:
    """The JSON object of a request, or None."""
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
