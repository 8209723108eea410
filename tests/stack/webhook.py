"""A webhook that keeps what Alertmanager posts to it."""

import json
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from rlm_otel.loopback import LoopbackServer

PATH: Final = "/hook/каждому?to=a&b='c'|d\\e"
"""With characters that mean something to YAML, to sed or in an address."""
PATH_ON_THE_WIRE: Final = "/hook/%D0%BA%D0%B0%D0%B6%D0%B4%D0%BE%D0%BC%D1%83?to=a&b='c'|d\\e"


class Webhook:
    """Listens until `close()`; `url` is its address."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, Any]]] = []
        """Path and JSON of each request."""
        posts = self.posts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posts.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = LoopbackServer(Handler)
        self.url = f"http://127.0.0.1:{self._server.port}{PATH}"

    def alerts(self, service: str) -> list[dict[str, Any]]:
        """The alerts of a service that have been posted so far."""
        alerts = [alert for _, post in self.posts for alert in post["alerts"]]
        return [alert for alert in alerts if alert["labels"].get("service_name") == service]

    def close(self) -> None:
        """Stop listening."""
        self._server.close()
