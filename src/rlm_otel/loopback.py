"""A small threaded server on the loopback interface that starts at once and stops promptly."""

import socket
import socketserver
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

_STOP_S: Final = 5.0

HandlerFactory = Callable[[Any, Any, Any], socketserver.BaseRequestHandler]


class LoopbackServer(socketserver.ThreadingTCPServer):
    """Serves 127.0.0.1 from daemon threads; `close()` also ends the connections that are still open."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128  # the default of 5 refuses connections when 50 threads start together

    def __init__(self, handler: HandlerFactory, port: int = 0) -> None:
        # Not http.server.HTTPServer: it asks DNS for the host's name when it binds, which can take seconds.
        super().__init__(("127.0.0.1", port), handler)
        self.closing: Final = threading.Event()
        """Set when `close()` begins; a handler that waits must wait on this too (see `pause`)."""
        self._connections: set[Any] = set()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._serve, name="rlm-otel-loopback", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port the system chose (or the one that was asked for)."""
        return int(self.server_address[1])

    def close(self) -> None:
        """Stop listening, cut the open connections, and wait until their threads are done."""
        self.closing.set()
        self._wake()
        self._thread.join(_STOP_S)
        self.server_close()
        with self._changed:
            for connection in self._connections:
                _cut(connection)
            self._changed.wait_for(lambda: not self._connections, _STOP_S)

    def _serve(self) -> None:
        # Not `serve_forever`: it looks from time to time whether it shall stop, and `close()` would wait for that.
        while not self.closing.is_set():
            self.handle_request()

    def _wake(self) -> None:
        try:
            socket.create_connection(("127.0.0.1", self.port), _STOP_S).close()
        except OSError:
            return  # it listens no more

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002 - of the base
        """What connects while it closes is turned away."""
        return not self.closing.is_set()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection until its thread is done."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close the connection and forget it."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when the client merely went away; show any other error, which is a bug."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def peer_is_gone(connection: socket.socket) -> bool:
    """Whether the other side has closed the connection (looks, takes nothing)."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.setblocking(True)


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
