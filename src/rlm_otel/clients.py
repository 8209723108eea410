"""The openai clients of a runner: given ones as they are, built ones one for sync code and one for each event loop."""

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from rlm_otel.reader import provider_of

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_BROKE_OFF: Final = "broke off before its answer was complete: ask again, and look at the server's own log."
_UNREACHABLE: Final = "cannot be reached: check that the server runs, and base_url= or OPENAI_BASE_URL."
_BAD_HEADER: Final = "was not asked: the API key or a header has a character that HTTP forbids, such as a line break."
# By the name of the exception beneath the SDK's, which httpx and httpx2 share.
_CONNECTION_ADVICE: Final = {
    "ReadError": _BROKE_OFF,
    "RemoteProtocolError": _BROKE_OFF,
    "WriteError": _BROKE_OFF,
    "LocalProtocolError": _BAD_HEADER,
    "UnsupportedProtocol": "is no address of a server: base_url= has to begin with http:// or https://.",
}


class Server(NamedTuple):
    """Where calls go, as telemetry says it."""

    address: str | None
    port: int
    provider: str
    """The vendor's name in the conventions."""


def server_at(url: Any) -> Server:
    """The server at a client's `base_url` (a URL of httpx or httpx2)."""
    port = url.port or (80 if url.scheme == "http" else 443)
    return Server(url.host or None, port, provider_of(url.host) or "openai")


class Clients:
    """Finds or builds the client to call with; the SDK's own retries are off, since the runner makes and shows them.

    Raises TypeError for a client of the wrong kind, and openai.OpenAIError where a client cannot be built (no key).
    """

    def __init__(
        self,
        *,
        client: "OpenAI | None" = None,
        async_client: "AsyncOpenAI | None" = None,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout_s: float | None = None,
    ) -> None:
        _check("client", client, "OpenAI", "async_client")
        _check("async_client", async_client, "AsyncOpenAI", "client")
        if (client or async_client) and (base_url or api_key):
            msg = "base_url= and api_key= belong to a client that is built here; set them on the client that you give"
            raise TypeError(msg)
        self._given = client
        self._given_async = async_client
        self._base_url = base_url
        self._api_key = api_key
        self._options: dict[str, Any] = {"max_retries": 0} | ({} if timeout_s is None else {"timeout": timeout_s})
        self._sync: OpenAI | None = None
        # Not by weak references: a client knows its loop by its connections, so that neither would ever go.
        self._by_loop: dict[asyncio.AbstractEventLoop, AsyncOpenAI] = {}
        self._server: tuple[object, Server] | None = None

    def sync(self) -> "OpenAI":
        """The client for `run` and `stream`."""
        if self._sync is None:
            if self._given is not None:
                self._sync = self._given.with_options(**self._options)
            else:
                if self._given_async is not None:
                    raise TypeError(_only("async_client", "run() and stream()", "client", "arun() or astream()"))
                from openai import OpenAI

                self._sync = OpenAI(base_url=self._base_url, api_key=self._key(), **self._options)
        return self._sync

    async def in_loop(self) -> "AsyncOpenAI":
        """The client for `arun` and `astream` in the running event loop: connections belong to a loop."""
        loop = asyncio.get_running_loop()
        client = self._by_loop.get(loop)
        if client is None:
            if self._given_async is not None:
                client = self._given_async.with_options(**self._options)
            else:
                if self._given is not None:
                    raise TypeError(_only("client", "arun() and astream()", "async_client", "run() or stream()"))
                from openai import AsyncOpenAI

                client = AsyncOpenAI(base_url=self._base_url, api_key=self._key(), **self._options)
            self._by_loop[loop] = client
            await self._forget_closed_loops()
        return client

    def server(self, client: Any) -> Server:
        """Where the client's calls go; the URL is taken apart once, as long as the client has the very same one."""
        url, known = client.base_url, self._server
        if known is None or known[0] is not url:
            known = self._server = (url, server_at(url))
        return known[1]

    def close(self) -> None:
        """Closes the sync client, if it was built here."""
        if self._sync is not None and self._given is None:
            self._sync.close()
        self._sync = None

    async def aclose(self) -> None:
        """Closes the running loop's client and the sync one, if they were built here."""
        client = self._by_loop.pop(asyncio.get_running_loop(), None)
        if client is not None and self._given_async is None:
            await client.close()
        self.close()

    async def _forget_closed_loops(self) -> None:
        """Each `asyncio.run` has a loop of its own; of a client whose loop is closed only the sockets can be freed."""
        for loop in [loop for loop in self._by_loop.copy() if loop.is_closed()]:
            client = self._by_loop.pop(loop, None)
            if client is not None and self._given_async is None:
                with suppress(RuntimeError):  # else its finalizer tries, in a task that nobody waits for
                    await client.close()

    def _key(self) -> str | None:
        from openai import OpenAI, OpenAIError

        if self._api_key is None:
            try:
                OpenAI(base_url=self._base_url).close()
            except OpenAIError:
                msg = (
                    "no API key: set OPENAI_API_KEY or pass api_key=...; for a server of your own, which needs none, "
                    "pass base_url='http://127.0.0.1:8000/v1' and any text as api_key; to try things out without "
                    "either, run `rlm-otel serve` and type the two lines that it prints"
                )
                raise OpenAIError(msg) from None
        return self._api_key


def advice(error: Exception, client: Any, model: str) -> str | None:
    """What to do about a failed call, in one line; None where the error says it itself."""
    said = _advice(error, model)
    if said is None:
        return None
    where = str(client.base_url.copy_with(userinfo=b"")).rstrip("/")  # a proxy's password may be in it
    return f"{where} {said}"


def _advice(error: Exception, model: str) -> str | None:
    if error.__dict__.get("status_code") not in (None, 401, 404):  # the SDK's, and no property that may fail
        return None
    from openai import APIConnectionError, APITimeoutError, AuthenticationError, NotFoundError

    match error:
        case AuthenticationError():
            return "refused the API key: check OPENAI_API_KEY or api_key=, and that it is this server's."
        case NotFoundError():
            return f"does not know the model {model!r} or has no such path: check the model's name and base_url=."
        case APITimeoutError():
            return "did not answer in time: give it longer with timeout= (seconds per attempt)."
        case APIConnectionError():
            return _CONNECTION_ADVICE.get(type(error.__cause__).__name__, _UNREACHABLE)
        case UnicodeEncodeError(encoding="ascii"):
            return _BAD_HEADER
    return None


def _check(argument: str, client: object, wanted: str, other: str) -> None:
    if client is None:
        return
    import openai

    wrong = openai.AsyncOpenAI if wanted == "OpenAI" else openai.OpenAI
    if isinstance(client, wrong):
        msg = f"{argument}= wants an openai.{wanted}, got an {type(client).__name__}; pass it as {other}="
        raise TypeError(msg)


def _only(given: str, wanted_by: str, missing: str, instead: str) -> str:
    return f"{wanted_by} need {missing}=, and only {given}= was given: pass {missing}= as well, or use {instead}"
