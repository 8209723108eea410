"""Checks the arguments of the ready-made callbacks: a bad one is a ValueError that says what is wanted."""

import math


def check_whole(name: str, value: object, *, least: int = 0) -> None:
    """A count: a whole number from `least`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name}={value!r} must be a whole number from {least}.")


def check_amount(name: str, value: object, unit: str) -> None:
    """An amount of something: a finite number from 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{name}={value!r} must be a number of {unit} from 0.")


def check_switch(name: str, value: object) -> None:
    """True or False: a word such as "none" would count as True."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be True or False.")


def check_function(name: str, value: object, kind: str) -> None:
    """Something to call, or None; `kind` says how, such as `(str) -> str | None`."""
    if value is not None and not callable(value):
        raise ValueError(f"{name}={value!r} cannot be called; pass a function {kind}.")
