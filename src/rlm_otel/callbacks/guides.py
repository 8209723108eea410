"""The lines of a tree that lead from a root to one of its branches."""

from collections.abc import Sequence


def guide(rails: Sequence[bool], *, ascii_only: bool) -> str:
    """Leads to a branch; `rails` says of each level from the root's children down whether it goes on below."""
    through, corner, last, gap = ("| ", "|-", "`-", "  ") if ascii_only else ("│ ", "├─", "└─", "  ")
    if not rails:
        return ""
    *above, goes_on = rails
    return " ".join([*(through if rail else gap for rail in above), corner if goes_on else last, ""])
