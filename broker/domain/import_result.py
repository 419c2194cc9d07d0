"""The results and the progress of an import. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

REFUSED = "refused"

Progress = Callable[[int, int | None], None]
"""Called after each item with the number of items done and of all items; None if that is unknown."""


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The outcome of one item: `where` it was, the outcome or REFUSED, its accession number, the reasons.

    A dry run gives no accession numbers to new orders: those of the real import may differ.
    """

    where: str
    outcome: str
    accession_number: str = ""
    reasons: tuple[str, ...] = ()


def silent(done: int, total: int | None) -> None:
    """Show no progress."""
