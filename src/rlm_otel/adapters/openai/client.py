"""Attaching to one client object: its class becomes a subclass of its own, and nothing else is touched."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from rlm_otel.adapters.openai.handle import ClientHandle, Handle
from rlm_otel.adapters.openai.methods import methods_for
from rlm_otel.adapters.openai.observer import Observer
from rlm_otel.adapters.openai.process import observe_process
from rlm_otel.fence import logger

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

_MARK: Final = "_rlm_otel_observer"


def instrument_openai(
    client: "OpenAI | AsyncOpenAI | None" = None,
    *,
    callbacks: Iterable[object] | None = None,
    include_usage: bool = False,
) -> Handle:
    """Observes a client of the openai SDK, sync or async, Azure's too, with copies it makes by `with_options()`.

    Without a client it observes all of the process, by changing the SDK's two client classes until `undo()`.
    `callbacks`: without it each call is told to those of the run around it, else to one shared `OTelCallback()`.
    `include_usage` asks for usage on streams that do not ask themselves; the extra chunk is kept from the caller.
    TypeError for another kind of client, or for something that is no callback.
    """
    observer = Observer(callbacks, include_usage=include_usage)
    if client is None:
        return observe_process(observer)
    base, is_async = _kind(client)
    known: Observer | None = getattr(base, _MARK, None)
    if known is not None and known.active:
        logger.warning(
            "this %s is observed already: instrument_openai() changes nothing, the first one's callbacks go on",
            base.__name__,
        )
        return Handle()
    while getattr(base, _MARK, None) is not None:  # a copy that was made before an `undo()`
        base = base.__mro__[1]
    # One base and no slots of our own, or Python refuses the change; the name is what the SDK sends as user agent.
    members = {**methods_for(observer, base, is_async=is_async), _MARK: observer, "__module__": base.__module__}
    client.__class__ = type(base.__name__, (base,), members)
    return ClientHandle(observer, client, base)


def _kind(client: object) -> tuple[type, bool]:
    """The client's class, and whether it is an async one."""
    import openai

    if isinstance(client, openai.OpenAI):
        return type(client), False
    if isinstance(client, openai.AsyncOpenAI):
        return type(client), True
    if isinstance(client, type) and issubclass(client, openai.OpenAI | openai.AsyncOpenAI):
        msg = f"instrument_openai got the class {client.__name__}; give a client made of it, or nothing for all clients"
    else:
        msg = f"instrument_openai wants an openai.OpenAI or openai.AsyncOpenAI, got {type(client).__name__}"
    raise TypeError(msg)
