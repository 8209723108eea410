"""Who observes the clients of one handle: decides for each request whether it is a model call, and begins it."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from rlm_otel.adapters.openai.call import ObservedCall
from rlm_otel.adapters.openai.leaving import OWNER
from rlm_otel.adapters.openai.usage import Asking
from rlm_otel.ambient import current_operation, is_suppressed, running_hooks
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.clients import Server, server_at
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall, Run
from rlm_otel.fence import fence
from rlm_otel.observing import emitter_for
from rlm_otel.reader.surfaces import Surface, surface_of

if TYPE_CHECKING:
    from openai._models import FinalRequestOptions

_AZURE: Final = frozenset({"AzureOpenAI", "AsyncAzureOpenAI"})


class Observer:
    """What the clients of one handle share. It observes as long as it is `active`.

    Raises TypeError for something that is no callback.
    """

    def __init__(self, callbacks: Iterable[object] | None, *, include_usage: bool) -> None:
        self.active = True
        self._emitter = None if callbacks is None else Emitter(callbacks)
        self._include_usage = include_usage
        self._server: tuple[object, Server] | None = None

    def open(self, client: Any, options: "FinalRequestOptions", *, is_async: bool) -> ObservedCall | None:
        """The call that begins with this request; None for one that is none, or that somebody of ours has already."""
        if not self.active or is_suppressed.get():
            return None
        with fence(OWNER, "request"):
            surface = surface_of(options.url, options.method)
            if surface is not None:
                outer = _around()
                # Our runner, a block of the application, or the same client observed in two ways have this very call.
                if outer is None or not isinstance(outer.operation, ModelCall):
                    return self._call(client, options, surface, outer, is_async)
        return None

    def _call(
        self, client: Any, options: "FinalRequestOptions", surface: Surface, outer: Bracket | None, is_async: bool
    ) -> ObservedCall:
        body = body_of(options)
        server = self._server_of(client)
        operation = surface.model_call(
            body, provider=server.provider, server_address=server.address, server_port=server.port
        )
        emitter = self._emitter or emitter_for(None)
        # A call in a tool or sub-run is no part of the run's answer; whoever asked for this client's calls gets all.
        shown = (
            outer is None
            or emitter is not outer.emitter
            or (isinstance(outer.operation, Run) and not outer.origin.depth)
        )
        hooks = _async_hooks() if is_async and emitter.has_hooks and emitter.async_hooks is None else None
        bracket = Bracket(emitter.with_async_hooks(hooks) if hooks else emitter, operation, parent=outer)
        bracket.begun_here = not running_hooks.get()  # in a hook the application's spans are not those of the run
        asking = Asking.of(operation, options, body, wanted=self._include_usage)
        return ObservedCall(self, bracket, surface, asking, is_async=is_async, shown=shown, hooks=hooks)

    def _server_of(self, client: Any) -> Server:
        url, known = client.base_url, self._server
        if known is not None and known[0] is url:
            return known[1]
        server = server_at(url)
        if server.provider == "openai" and any(kind.__name__ in _AZURE for kind in type(client).__mro__):
            server = server._replace(provider="azure.ai.openai")  # behind a gateway of one's own
        self._server = (url, server)
        return server


def body_of(options: "FinalRequestOptions") -> Mapping[str, object]:
    """The JSON object that is sent, `extra_body` included; of a GET, which has none, the query."""
    if options.method.lower() == "get":
        return options.params
    body = options.json_data if isinstance(options.json_data, Mapping) else {}
    return {**body, **options.extra_json} if isinstance(options.extra_json, Mapping) else body


def _around() -> Bracket | None:
    """The operation that a call here belongs to: not a model call that is over, though its block goes on."""
    outer = current_operation()
    while outer is not None and isinstance(outer.operation, ModelCall) and outer.ended is not None:
        outer = outer.parent
    return outer


def _async_hooks() -> AsyncHooks | None:
    """Queues for async hooks; None where the event loop is not asyncio's (the SDK also runs in trio's)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return None
    return AsyncHooks()
