"""Decorators of functions of each kind: every call is a block, a generator is one from its first item to its end."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from rlm_otel.block import Block
from rlm_otel.generators import ObservedAsyncGenerator, ObservedGenerator

F = TypeVar("F", bound=Callable[..., Any])


def decorated(function: F, make: Callable[[dict[str, object]], Any]) -> F:
    """The function with a block around each call; `make` is given the arguments by name."""
    arguments_of = _reader(function)

    def block(args: tuple[object, ...], kwargs: Mapping[str, object]) -> Any:
        return make(arguments_of(args, kwargs))

    return cast("F", functools.wraps(function)(_around(function, block)))


def _around(function: Callable[..., Any], block: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.isasyncgenfunction(function):
        return lambda *args, **kwargs: ObservedAsyncGenerator(function(*args, **kwargs), block(args, kwargs))
    if inspect.isgeneratorfunction(function):
        return lambda *args, **kwargs: ObservedGenerator(function(*args, **kwargs), block(args, kwargs))
    if inspect.iscoroutinefunction(function):

        async def acall(*args: Any, **kwargs: Any) -> Any:
            async with block(args, kwargs) as entered:
                value = await function(*args, **kwargs)
                entered.result(value)
            return value

        return acall

    def call(*args: Any, **kwargs: Any) -> Any:
        with block(args, kwargs) as entered:
            value = function(*args, **kwargs)
            entered.result(value)
        return value

    return call


def _reader(function: Callable[..., Any]) -> Callable[[tuple[object, ...], Mapping[str, object]], dict[str, object]]:
    """Names the arguments of a call; `self` and `cls` are none, a call that does not fit has none."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some built-in functions have none
        return lambda args, kwargs: {**dict(zip(map(str, range(len(args))), args, strict=True)), **kwargs}
    first = next(iter(signature.parameters), "")
    rest = [name for name, one in signature.parameters.items() if one.kind is one.VAR_KEYWORD]

    def read(args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        try:
            named = dict(signature.bind(*args, **kwargs).arguments)
        except TypeError:  # the function itself says so, to its caller
            return {}
        if first in ("self", "cls"):
            named.pop(first, None)
        for name in rest:
            named.update(named.pop(name, {}))
        return named

    return read


def check_function(what: str, function: object) -> None:
    """Raises TypeError for what cannot be decorated."""
    if not callable(function) or isinstance(function, type | Block):
        msg = f"@rlm_otel.{what} decorates functions, got {function!r}; below @staticmethod and @classmethod, not above"
        raise TypeError(msg)


def name_of(function: Callable[..., Any]) -> str:
    """What a function is called; of an object that can be called its class."""
    return getattr(function, "__name__", None) or type(function).__name__
