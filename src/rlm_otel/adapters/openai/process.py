"""Attaching to the whole process: the SDK's two client classes get our methods, until that is undone."""

import inspect
from collections.abc import Iterator
from types import FunctionType, SimpleNamespace
from typing import Any, Final, NamedTuple

from rlm_otel.adapters.openai.handle import Handle
from rlm_otel.adapters.openai.methods import NAMES, methods_for
from rlm_otel.adapters.openai.observer import Observer
from rlm_otel.fence import logger

_MARK: Final = "_rlm_otel_process_observer"
_ABSENT: Final = object()


class _Change(NamedTuple):
    """One attribute of a class that was set."""

    owner: type
    name: str
    before: object
    ours: object


class ProcessHandle(Handle):
    """All clients are observed, those made before too."""

    def __init__(self, observer: Observer, changes: list[_Change]) -> None:
        super().__init__(observer)
        self._changes = changes

    def _restore(self) -> None:
        for owner, name, before, ours in self._changes:
            if vars(owner).get(name) is not ours:
                continue  # somebody wrapped ours: it stays inside, and is quiet
            if before is _ABSENT:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
        self._changes = []


def observe_process(observer: Observer) -> Handle:
    """Changes the two classes; not where they are observed already, by us or by somebody else: that is logged."""
    import openai

    known: Observer | None = getattr(openai.OpenAI, _MARK, None)
    if known is not None and known.active:
        logger.warning(
            "all clients are observed already: instrument_openai() changes nothing, the first one's callbacks go on"
        )
        return Handle()
    foreign = next(_foreign(), None)
    if foreign is not None:
        logger.warning(
            "another instrumentation of openai is active (it wraps %s): instrument_openai() stays out of its way and "
            "observes nothing; to observe one client all the same, give it that client",
            foreign,
        )
        return Handle()
    changes = [*_change(observer, openai.OpenAI, is_async=False), *_change(observer, openai.AsyncOpenAI, is_async=True)]
    return ProcessHandle(observer, changes)


def _change(observer: Observer, owner: type, *, is_async: bool) -> Iterator[_Change]:
    sdk = SimpleNamespace(**{name: getattr(owner, name) for name in NAMES if hasattr(owner, name)})
    members: dict[str, Any] = {**methods_for(observer, sdk, is_async=is_async), _MARK: observer}
    for name, ours in members.items():
        before = vars(owner).get(name, _ABSENT)
        setattr(owner, name, ours)
        yield _Change(owner, name, before, ours)


def _foreign() -> Iterator[str]:
    """What somebody else has wrapped: they do so with the clients' `request`, or with a method of a resource."""
    import openai
    from openai.resources import AsyncCompletions, AsyncEmbeddings, Completions, Embeddings
    from openai.resources.chat import AsyncCompletions as AsyncChat
    from openai.resources.chat import Completions as Chat
    from openai.resources.responses import AsyncResponses, Responses

    for owner in (openai.OpenAI, openai.AsyncOpenAI):
        if _is_foreign(owner, "request"):
            yield f"{owner.__name__}.request"
    resources = (Chat, AsyncChat, Completions, AsyncCompletions, Embeddings, AsyncEmbeddings, Responses, AsyncResponses)
    for resource in resources:
        if _is_foreign(resource, "create"):
            yield f"{resource.__name__}.create"


def _is_foreign(owner: type, name: str) -> bool:
    found = inspect.getattr_static(owner, name, None)
    if found is None:
        return False
    # A wrapt proxy says of its function's module what that says: its own type gives it away.
    return type(found) is not FunctionType or found.__module__.partition(".")[0] not in ("openai", "rlm_otel")
