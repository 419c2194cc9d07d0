"""The results and the progress of an import, and why something was refused. Values only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

REFUSED = "refused"

Progress = Callable[[int, int | None], None]
"""Called after each item with the number of items done and of all items; None if that is unknown."""


class ImportSource(StrEnum):
    """Where something came from."""

    WORKLIST_FILE = "worklist_file"
    TABLE = "table"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class ImportPlace:
    """Where an imported item stands."""

    source: ImportSource
    path: str
    row: int = 0  # of the table or the JSON; 0: a worklist file


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was refused: a code, for which the screens have words, and the same in plain English."""

    code: str
    text: str
    field: str = ""  # of a table: its column, or the field if it has no column for it
    about: str = ""  # number, card or value that it is about


@dataclass(frozen=True, slots=True)
class ImportResult:
    """The outcome of one item: `where` it was, the outcome or REFUSED, its accession number, the reasons.

    A dry run gives no accession numbers to new orders: those of the real import may differ.
    """

    where: str
    outcome: str
    accession_number: str = ""
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what a person should look at although it was taken


def silent(done: int, total: int | None) -> None:
    """Show no progress."""
