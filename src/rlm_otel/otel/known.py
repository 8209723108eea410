"""Whether the SDK still does what is done here in fewer steps by names that are private to it."""

from types import FunctionType


def uses_only(way: object, names: frozenset[str]) -> bool:
    """Whether a method is plain Python that uses these names, all of them and no others.

    One that was changed, wrapped or replaced is not: then it has to be asked in public.
    """
    return type(way) is FunctionType and frozenset(way.__code__.co_names) == names
