"""A tally's series are told apart by their attributes, whichever objects these are."""

from opentelemetry.metrics import CallbackOptions

from rlm_otel.otel.tally import Tally
from rlm_otel.values import Attributes


def observed(tally: Tally) -> list[tuple[int | float, dict[str, object]]]:
    return [(one.value, dict(one.attributes or {})) for one in tally.observe(CallbackOptions())]


def test_equal_attributes_are_one_series() -> None:
    """The very same object, given again, and another one that is equal to it."""
    tally = Tally()
    attributes: Attributes = {"model": "a"}
    for _ in range(2):
        tally.add(1, attributes)
    tally.add(1, {"model": "a"})
    tally.add(1, {"model": "b"})
    tally.add(1)
    assert observed(tally) == [(3, {"model": "a"}), (1, {"model": "b"}), (1, {})]


def test_what_is_remembered_of_attributes_is_bounded() -> None:
    """A thousand objects, each dropped at once, so that the next one may have its id, end in their own two series."""
    tally = Tally()
    for number in range(1000):
        tally.add(1, {"parity": number % 2})
    assert observed(tally) == [(500, {"parity": 0}), (500, {"parity": 1})]
    assert len(tally._known) <= 256


def test_a_tally_that_forgets_begins_anew() -> None:
    """As in a forked child, with the objects that the parent used."""
    tally = Tally()
    attributes: Attributes = {"model": "a"}
    tally.add(1, attributes)
    tally.forget()
    tally.add(2, attributes)
    assert observed(tally) == [(2, {"model": "a"})]
