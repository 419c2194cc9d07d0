"""What an import reports: what became of each item, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

REFUSED = "refused"

Progress = Callable[[int, int | None], None]
"""Called after each item with the number of items done, and of all items, None if it is not known."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """What became of an item: `where` it was, the outcome or REFUSED, its accession number, the reasons.

    A dry run has no numbers of new orders, for the real import may give others.
    """

    where: str
    outcome: str
    accession_number: str = ""
    reasons: tuple[str, ...] = ()


def silent(done: int, total: int | None) -> None:
    """Show no progress."""
