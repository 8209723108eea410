"""The methods that an observed client has in place of the SDK's: each does what the SDK's does, and looks at it."""

from collections.abc import Callable
from typing import Any, Final

from rlm_otel.adapters.openai.call import ObservedCall, sending
from rlm_otel.adapters.openai.observer import Observer
from rlm_otel.adapters.openai.retries import failed_attempt

Methods = dict[str, Callable[..., Any]]
NAMES: Final = ("request", "_sleep_for_retry", "_calculate_retry_timeout", "_process_response")
"""What is replaced: where every call goes through, and private steps of it that an SDK may have no more."""


def methods_for(observer: Observer, sdk: Any, *, is_async: bool) -> Methods:
    """By name. `sdk` has the SDK's own as attributes, looked up at each call: a later patch of them is heeded."""
    methods = _async_methods(observer, sdk) if is_async else _sync_methods(observer, sdk)
    methods |= _steps(observer, sdk)
    return {name: method for name, method in methods.items() if hasattr(sdk, name)}


def _sync_methods(observer: Observer, sdk: Any) -> Methods:
    def request(self: object, cast_to: object, options: Any, **more: object) -> object:
        call = observer.open(self, options, is_async=False)
        if call is None:
            return sdk.request(self, cast_to, options, **more)
        with call:
            with call.sends():
                response = sdk.request(self, cast_to, call.asking.options, **more)
            call.came(response)
        return response

    def _sleep_for_retry(self: object, **about: Any) -> object:
        call = _of(observer)
        event = failed_attempt(call, self, **about) if call is not None else None
        if call is not None and event is not None:
            call.tell_retry(event)
        return sdk._sleep_for_retry(self, **about)

    return {"request": request, "_sleep_for_retry": _sleep_for_retry}


def _async_methods(observer: Observer, sdk: Any) -> Methods:
    async def request(self: object, cast_to: object, options: Any, **more: object) -> object:
        call = observer.open(self, options, is_async=True)
        if call is None:
            return await sdk.request(self, cast_to, options, **more)
        try:
            with call:
                await call.heed()
                with call.sends():
                    response = await sdk.request(self, cast_to, call.asking.options, **more)
                call.came(response)
        except Exception:
            await call.settle()
            raise
        await call.settle()
        return response

    async def _sleep_for_retry(self: object, **about: Any) -> object:
        call = _of(observer)
        event = failed_attempt(call, self, **about) if call is not None else None
        if call is not None and event is not None:
            await call.atell_retry(event)
        return await sdk._sleep_for_retry(self, **about)

    return {"request": request, "_sleep_for_retry": _sleep_for_retry}


def _steps(observer: Observer, sdk: Any) -> Methods:
    """Steps that sync and async clients have alike; what an async one of them returns is awaited by the SDK."""

    def _calculate_retry_timeout(self: object, *args: object, **kwargs: object) -> object:
        call = _of(observer)
        wait_s = call.take_wait() if call is not None else None
        return sdk._calculate_retry_timeout(self, *args, **kwargs) if wait_s is None else wait_s

    def _process_response(self: object, **about: Any) -> object:
        call = _of(observer)
        if call is not None:
            call.saw(about.get("response"), about.get("retries_taken"))
        return sdk._process_response(self, **about)

    return {"_calculate_retry_timeout": _calculate_retry_timeout, "_process_response": _process_response}


def _of(observer: Observer) -> ObservedCall | None:
    """The call that is being sent in this context, if it is this observer's."""
    call = sending.get()
    return call if call is not None and call.observer is observer else None
