"""Asks a back end for JSON over HTTP; whatever goes wrong becomes one line that says what to do."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SAID_LIMIT: Final = 300


class ViewError(Exception):
    """What went wrong, in one line for the person at the terminal."""


class NotOffered(ViewError):
    """The server has no such path, or answers it with something that is not JSON."""


class Refused(ViewError):
    """The server answered with an error of its own; `said` is what it said."""

    def __init__(self, message: str, *, status: int, said: str) -> None:
        super().__init__(message)
        self.status: Final = status
        self.said: Final = said


@dataclass(frozen=True, slots=True)
class Backend:
    """A server to ask. `option` is how its address is given on the command line, `usual_port` where it listens."""

    name: str
    option: str
    usual_port: int
    url: str
    """Base address; may hold a user and a password."""

    @property
    def shown(self) -> str:
        """The address without a password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

    def ask(self, path: str, parameters: Mapping[str, str], *, timeout_s: float = 30.0) -> object:
        """What it answers to a GET, decoded."""
        request = self._request(path, parameters)
        try:
            with _opener(request.host).open(request, timeout=timeout_s) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise self._refused(error.code, error.read()) from None
        except (OSError, http.client.HTTPException) as error:
            raise self._unreachable(error) from None
        try:
            return json.loads(body)
        except ValueError:
            raise NotOffered(self._not_it("answered with something that is not JSON")) from None

    def strange(self) -> ViewError:
        """For an answer whose shape is not what it should be."""
        return ViewError(self._not_it("answered in a form that is not known here"))

    def _request(self, path: str, parameters: Mapping[str, str]) -> urllib.request.Request:
        query = f"?{urlencode(parameters)}" if parameters else ""
        try:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
                raise ValueError
            request = urllib.request.Request(self.shown + path + query, headers={"Accept": "application/json"})
        except ValueError:
            raise ViewError(
                f"{self.option} {self.url} is no address; write it like http://127.0.0.1:{self.usual_port}"
            ) from None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            # Not sent on to another host when the answer is a redirect.
            request.add_unredirected_header("Authorization", f"Basic {base64.b64encode(pair).decode()}")
        return request

    def _refused(self, status: int, body: bytes) -> ViewError:
        said = _said(body)
        if said is None and status in (404, 405, 410, 501):
            return NotOffered(self._not_it(f"answered {status}"))
        detail = f": {said}" if said else ""
        if status in (401, 403):
            detail = f": give {self.option} http://USER:PASSWORD@HOST"
        return Refused(f"{self.name} at {self.shown} answered {status}{detail}", status=status, said=said or "")

    def _not_it(self, what: str) -> str:
        return (
            f"{self.shown} {what}: is that {self.name}? It usually listens on port {self.usual_port}; "
            f"give its address with {self.option} URL"
        )

    def _unreachable(self, error: Exception) -> ViewError:
        reason = getattr(error, "reason", error)
        why = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        return ViewError(
            f"{self.name} is not reachable at {self.shown} ({why}). Start the stack with `rlm-otel up`, "
            f"or say where it is with {self.option} URL"
        )


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Loopback is never reached through a proxy, whatever the environment says."""
    name = urlsplit(f"//{host}").hostname
    return urllib.request.build_opener(*([urllib.request.ProxyHandler({})] if name in _LOOPBACK else []))


def _said(body: bytes) -> str | None:
    """The message in an error of Jaeger (both of its APIs) or Prometheus; None if it is none of theirs."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    match answer:
        case {"errors": [{"msg": str(said)}, *_]} | {"error": {"message": str(said)}} | {"error": str(said)}:
            return " ".join(said.split())[:_SAID_LIMIT]
    return None
