"""Spans as trees, one a root, in the order in which things began."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from rlm_otel.callbacks.guides import guide
from rlm_otel.received import ReceivedSpan


@dataclass(frozen=True, slots=True)
class Branch:
    """A span with what is below it; `rails` says of each level from the root's children down whether it goes on."""

    span: ReceivedSpan
    rails: tuple[bool, ...]

    def guide(self, *, ascii_only: bool) -> str:
        """The lines of the tree that lead to this span."""
        return guide(self.rails, ascii_only=ascii_only)


def trees(spans: Iterable[ReceivedSpan]) -> Iterator[list[Branch]]:
    """Each tree from its root down; a span whose parent did not arrive is a root."""
    in_order = sorted(spans, key=lambda span: (span.start_ns, span.end_ns))
    known = {span.span_id for span in in_order}
    children: dict[str | None, list[ReceivedSpan]] = {}
    for span in in_order:
        parent = span.parent_id if span.parent_id in known else None
        children.setdefault(parent, []).append(span)
    for root in children.get(None, ()):
        yield list(_branches(root, (), children))


def _branches(
    span: ReceivedSpan, rails: tuple[bool, ...], children: dict[str | None, list[ReceivedSpan]]
) -> Iterator[Branch]:
    yield Branch(span, rails)
    below = children.get(span.span_id, [])
    for child in below:
        yield from _branches(child, (*rails, child is not below[-1]), children)
