"""A server that answers GETs as Jaeger or Prometheus would, from a table of paths, and remembers what was asked."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, urlsplit

from rlm_otel.loopback import LoopbackServer


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer; a `body` that is no text is sent as JSON."""

    body: object
    status: int = 200


Query = Mapping[str, str]
Answers = Mapping[str, Reply | Callable[[Query], Reply]]
NOT_FOUND = Reply("404 page not found\n", 404)
PAGE = Reply("<!DOCTYPE html><title>Jaeger UI</title>")
"""What Jaeger says to a path that it does not know: its own web page."""


class FakeBackend:
    """Listens until its `with` ends; `asked` are the paths and queries in their order."""

    def __init__(self, answers: Answers, otherwise: Reply = NOT_FOUND) -> None:
        self.asked: list[tuple[str, Query]] = []
        self.headers: list[Mapping[str, str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = dict(parse_qsl(parts.query))
                fake.asked.append((parts.path, query))
                fake.headers.append(dict(self.headers))
                answer = answers.get(parts.path, otherwise)
                reply = answer if isinstance(answer, Reply) else answer(query)
                text = reply.body if isinstance(reply.body, str) else json.dumps(reply.body)
                self.send_response(reply.status)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = LoopbackServer(Handler)
        self.url = f"http://127.0.0.1:{self._server.port}"

    def queries(self, path: str) -> list[Query]:
        """What was asked of a path."""
        return [query for asked, query in self.asked if asked == path]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.close()
