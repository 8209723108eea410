"""The address that clients are given: some requests fail as was asked, the others are passed on to who answers."""

import http.client
import json
import socket
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import urlsplit

from rlm_otel.loopback import LoopbackServer, peer_is_gone
from rlm_otel.testing.script import Failure
from rlm_otel.testing.wire import error_body

Json: TypeAlias = dict[str, Any]
Fault = int | Literal["hang"]
"""An HTTP status, or no answer at all."""

_LOOK_S: Final = 0.05
_RETRY_AFTER_S: Final = "1"
_OF_ONE_CONNECTION: Final = frozenset({"connection", "host", "keep-alive", "server", "date", "transfer-encoding"})
_READ_BYTES: Final = 65_536


def read_faults(text: str) -> list[Fault]:
    """Reads `429,500,hang`; ValueError for anything else."""
    faults: list[Fault] = []
    for word in (part.strip() for part in text.split(",")):
        if word == "hang":
            faults.append("hang")
        elif word.isascii() and word.isdigit() and 400 <= int(word) <= 599:
            faults.append(int(word))
        else:
            raise ValueError(f"{word!r} is no HTTP error; give statuses from 400 to 599 or hang, e.g. 429,429,hang")
    return faults


class Front:
    """Listens on 127.0.0.1 (OSError if it cannot); the next requests get `faults`. `say` is told of each request."""

    def __init__(self, faults: Iterable[Fault], port: int, *, say: Callable[[str], None]) -> None:
        self.say: Final = say
        self._faults = deque(faults)
        self._upstream: str | None = None
        self._adjust: Callable[[Json], Json] | None = None
        self._server = LoopbackServer(partial(_Handler, self), port)

    @property
    def base_url(self) -> str:
        """What a client takes as `base_url`."""
        return f"http://127.0.0.1:{self._server.port}/v1"

    def pass_to(self, base_url: str, *, adjust: Callable[[Json], Json] | None = None) -> None:
        """Pass requests on to this server; `adjust` may change chat requests."""
        self._upstream, self._adjust = urlsplit(base_url).netloc, adjust

    def close(self) -> None:
        """Stop listening and cut what is open."""
        self._server.close()

    def next_fault(self) -> Fault | None:
        """What is to go wrong with a request that has come; each is for one."""
        try:
            return self._faults.popleft()
        except IndexError:
            return None

    def connect(self) -> http.client.HTTPConnection | None:
        """A connection to who answers; None while nobody does."""
        return None if self._upstream is None else http.client.HTTPConnection(self._upstream)

    def adjusted(self, path: str, body: bytes) -> bytes:
        """The request as it is passed on."""
        request = _decoded(body)
        if self._adjust is None or request is None or not path.startswith("/v1/chat/completions"):
            return body
        return json.dumps(self._adjust(request), ensure_ascii=False).encode("utf-8", "surrogatepass")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else small chunks wait for each other

    def __init__(self, front: Front, connection: socket.socket, address: Any, server: LoopbackServer) -> None:
        self._front = front
        self._closing = server.closing
        super().__init__(connection, address, server)  # handles the whole connection

    def log_message(self, *_: object) -> None:
        """Nothing: `say` is told."""

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self._front.next_fault() if self.command == "POST" else None
        model = (_decoded(body) or {}).get("model")
        self._front.say(f"{self.command} {self.path} {model or ''} {f'-> {fault}' if fault else ''}".strip())
        if fault == "hang":
            self._hang()
        elif fault is not None:
            self._fail(fault)
        else:
            self._pass_on(self._front.adjusted(self.path, body))

    def _fail(self, status: int, message: str | None = None) -> None:
        text = message or f"rlm-otel serve was asked to fail with {status}"
        data = json.dumps(error_body(Failure(status, message=text))).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        if status in (429, 503):
            self.send_header("retry-after", _RETRY_AFTER_S)
        self.end_headers()
        self.wfile.write(data)

    def _hang(self) -> None:
        while not (self._closing.wait(_LOOK_S) or peer_is_gone(self.connection)):
            pass
        self.close_connection = True

    def _pass_on(self, body: bytes) -> None:
        upstream = self._front.connect()
        if upstream is None:
            self._fail(503, "the model is still being loaded")
            return
        asked = {name.lower(): value for name, value in self.headers.items()}
        headers = {name: value for name, value in asked.items() if name not in _OF_ONE_CONNECTION}
        try:
            upstream.request(self.command, self.path, body, {**headers, "content-length": str(len(body))})
            self._answer(upstream.getresponse())
        except http.client.HTTPException:  # whoever answers broke off: so do we
            self.close_connection = True
        finally:
            upstream.close()

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_ONE_CONNECTION:
                self.send_header(name, value)
        whole = answer.getheader("content-length") is not None
        if not whole:
            self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while data := answer.read1(_READ_BYTES):
            self.wfile.write(data if whole else f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if not whole:
            self.wfile.write(b"0\r\n\r\n")


def _decoded(text: bytes) -> Json | None:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None
