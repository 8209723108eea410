"""Frozen records that are made quicker are frozen records all the same."""

import copy
import pickle
from dataclasses import FrozenInstanceError, asdict, dataclass, field, fields, replace
from typing import Any

import pytest

from rlm_otel.events import Finished, Origin, Run, Started
from rlm_otel.outcome import Usage
from rlm_otel.quick import quick


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str

    @property
    def shout(self) -> str:
        return self.name.upper()


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Thing(Named):
    """A record with each kind of field."""

    size: int = 1
    parts: list[str] = field(default_factory=list)
    quiet: object = field(default=None, repr=False, compare=False)


def test_its_fields_are_those_that_were_given() -> None:
    """Defaults included, and each has a list of its own."""
    one, other = Thing(name="Пермь"), Thing(name="b", size=2, parts=["c"], quiet=3)
    assert (one.name, one.size, one.parts, one.quiet, one.shout) == ("Пермь", 1, [], None, "ПЕРМЬ")
    assert (other.name, other.size, other.parts, other.quiet) == ("b", 2, ["c"], 3)
    assert one.parts is not Thing(name="a").parts
    assert (type(one), isinstance(one, Named), repr(one)) == (Thing, True, "Thing(name='Пермь', size=1, parts=[])")


@pytest.mark.parametrize("name", ["name", "size", "other"])
def test_nothing_can_be_set_or_taken_away(name: str) -> None:
    """A listener gets the very record that the others get."""
    one = Thing(name="a")
    with pytest.raises((FrozenInstanceError, TypeError)):  # the latter: of a slot that is not there, since Python 3.11
        setattr(one, name, 2)
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        delattr(one, name)
    assert one == Thing(name="a")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, r"Thing\.__init__\(\) missing 1 required keyword-only argument: 'name'"),
        ({"name": "a", "weight": 1}, r"Thing\.__init__\(\) got an unexpected keyword argument 'weight'"),
    ],
)
def test_wrong_arguments_are_told_as_ever(given: dict[str, Any], error: str) -> None:
    """By the class's name."""
    with pytest.raises(TypeError, match=error):
        Thing(**given)
    with pytest.raises(TypeError, match=r"takes 1 positional argument but 2 were given"):
        Thing("a")  # type: ignore[call-arg]


def test_what_works_with_dataclasses_works_with_it() -> None:
    """Equal, hashable, copied, pickled, changed into another."""
    one = Thing(name="a", quiet=1)
    assert one == Thing(name="a", quiet=2) != Thing(name="b")
    assert [it.name for it in fields(Thing)] == ["name", "size", "parts", "quiet"]
    assert asdict(replace(one, size=3)) == {"name": "a", "size": 3, "parts": [], "quiet": 1}
    for twin in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (twin, type(twin), twin.quiet) == (one, Thing, 1)
    assert {Usage(input_tokens=1): 1}[Usage(input_tokens=1)] == 1


@quick
@dataclass(frozen=True, slots=True)
class Place:
    row: int
    column: int = 1


def test_fields_may_be_given_by_position() -> None:
    """Where the class says so."""
    assert (Place(3), Place(3, 4), Place(column=2, row=1)) == (Place(3, 1), Place(row=3, column=4), Place(1, 2))
    match Place(5, 6):
        case Place(row, column):
            assert (row, column) == (5, 6)


class Bigger(Thing):
    """With a dict, and a method."""

    def half(self) -> float:
        return self.size / 2


class Slotted(Thing):
    __slots__ = ()


@pytest.mark.parametrize("kind", [Bigger, Slotted])
def test_a_subclass_is_made_as_ever(kind: type[Thing]) -> None:
    """Whatever it adds."""
    one = kind(name="a", size=3)
    assert (type(one), one.size, one.parts) == (kind, 3, [])
    assert Bigger(name="a", size=3).half() == 1.5


@pytest.mark.parametrize("kind", [Started, Finished, Origin, Run])
def test_the_events_are_frozen(kind: type) -> None:
    """As the docs promise."""
    assert vars(kind)["__setattr__"] is not vars(object)["__setattr__"]
    assert vars(kind)["__init__"].__code__.co_filename == "<string>"
    assert vars(kind)["__init__"].__qualname__ == f"{kind.__name__}.__init__"


@dataclass(slots=True, kw_only=True)
class Loose:
    size: int = 1


@dataclass(frozen=True, slots=True)
class Mixed:
    size: int = 1
    name: str = field(default="", kw_only=True)


@dataclass(frozen=True, kw_only=True)
class Roomy:
    size: int = 1


@pytest.mark.parametrize("kind", [Loose, Mixed, Roomy, object])
def test_other_classes_are_refused(kind: type) -> None:
    """In words that say what to write."""
    with pytest.raises(
        TypeError, match=f"{kind.__name__} is no dataclass that is frozen, with slots, and all keywords or none"
    ):
        quick(kind)
