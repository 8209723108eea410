"""Small programs for tests that start real processes: a service with a health page, and stand-ins found on PATH."""

import sys
from pathlib import Path
from shlex import quote
from textwrap import dedent
from typing import Final

# The port and what it is to do come as arguments. Version first, as the real ones tell theirs.
SERVICE: Final = """
import http.server, signal, sys, time
if "--version" in sys.argv:
    print("service version 3.15.0")
    sys.exit()
port, manner = int(sys.argv[1]), sys.argv[2]
print("starting:", manner, flush=True)
if manner == "dies":
    sys.exit("cannot read the configuration")
if manner == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if manner == "sick" else 200)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", port), Health).serve_forever()
"""


def write_program(path: Path, source: str) -> Path:
    """A Python program that can be run by its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # By way of the shell: a `#!` line takes no interpreter with a space in its path. To Python the exec line is text.
    path.write_text(f"#!/bin/sh\n'''exec' {quote(sys.executable)} \"$0\" \"$@\"\n' '''\n{dedent(source)}", "utf-8")
    path.chmod(0o755)
    return path
