"""What `worklist-broker import` does: worklist files and tables of referrals, from a path to what became of each item.

Every item is a transaction of its own, so what is right is taken over and what is wrong is told. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from broker.dicom.files import watched_folder, worklist_file
from broker.domain.actors import Actor
from broker.domain.clinic import Clinic
from broker.domain.errors import BrokerError, Invalid, Refused
from broker.domain.orders import ImportedItem
from broker.imports import referral_columns, referral_row
from broker.imports.referral_columns import Row, Table
from broker.imports.referral_row import Directory
from broker.store.database import Store
from broker.store.queries import device_registry, lookups
from broker.store.tables import orders
from broker.workflow import referrals
from broker.workflow import worklist_files as intake
from broker.workflow.worklist_files import Outcome

REFUSED = "refused"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an item: `where` it stands, the outcome (an `intake.Outcome` or REFUSED), its number, the reasons.

    a dry run gives no numbers, because they would be others in earnest.
    """

    where: str
    outcome: str
    accession_number: str = ""
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Import:
    """How items are taken over. `dry_run` checks everything and keeps nothing; `send_to_bus` is for worklist files."""

    store: Store
    actor: Actor
    clinic: Clinic
    dry_run: bool = False
    send_to_bus: bool = False
    progress: Progress = lambda done, total: None

    def worklist(self, path: Path) -> Iterator[Result]:
        """Take over a worklist file, or all in a folder and in those within it."""
        found, closed = _files(path) if path.is_dir() else ([path], [])
        for folder in closed:
            yield Result(
                watched_folder.spelt(folder),
                REFUSED,
                reasons=("it cannot be read now: its script is writing, or it is closed",),
            )
        seen: dict[tuple[str, str], str] = {}
        for done, file in enumerate(found, 1):
            where = file.relative_to(path) if path.is_dir() else Path(file.name)
            yield self._file(file, watched_folder.spelt(where), seen)
            self.progress(done, len(found))

    def table(self, table: Table) -> Iterator[Result]:
        """Register the referrals of a table, as the screens do."""
        with self.store.read() as reader:
            directory = Directory(lookups.procedures(reader), device_registry.approved(reader))
        today = self.store.clock().astimezone(self.clinic.zone).date()
        seen: dict[str, str] = {}
        for done, row in enumerate(table.rows, 1):
            yield self._row(row, table, directory, today, seen)
            self.progress(done, len(table.rows))

    def _file(self, file: Path, where: str, seen: dict[tuple[str, str], str]) -> Result:
        try:
            with file.open("rb") as opened:
                data = opened.read(worklist_file.MOST_BYTES + 1)
            item, digest = worklist_file.read(data)
            _refuse_twice(item, where, seen)
            run = self.store.dry_run if self.dry_run else self.store.write
            taken = run(
                intake.take_over,
                item,
                watched_folder.key(file),
                digest,
                self.actor,
                self.clinic,
                send_to_bus=self.send_to_bus,
            )
        except OSError as error:
            return Result(where, REFUSED, reasons=(f"it cannot be read: {error.strerror}",))
        except worklist_file.BadWorklistFile as error:
            return Result(where, REFUSED, reasons=(str(error),))
        except Refused as error:
            return Result(where, REFUSED, reasons=(error.detail,))
        number = "" if self.dry_run else taken.accession_number
        return Result(where, taken.outcome, number or item.accession_number)

    def _row(self, row: Row, table: Table, directory: Directory, today: date, seen: dict[str, str]) -> Result:
        where = f"row {row.number}"
        draft, reasons = referral_row.read(row, table.columns, directory, today)
        if draft is None:
            return Result(where, REFUSED, reasons=tuple(reasons))
        if first := seen.get(draft.submission_id):
            return Result(where, REFUSED, reasons=(f"says the same as {first}",))
        seen[draft.submission_id] = where
        with self.store.read() as reader:
            earlier = orders.by_submission(reader, draft.submission_id)
        if earlier:
            return Result(where, Outcome.UNCHANGED, earlier[0].accession_number)
        try:
            run = self.store.dry_run if self.dry_run else self.store.write
            order = run(referrals.register, draft, self.actor, self.clinic)
        except Invalid as error:
            return Result(where, REFUSED, reasons=tuple(referral_row.explained(error.problems, table.columns)))
        except BrokerError as error:
            return Result(where, REFUSED, reasons=(str(error),))
        return Result(where, Outcome.ADDED, "" if self.dry_run else order.accession_number)


def read_table(path: Path) -> Table:
    """Read a CSV or XLSX file; raise BadTable, OSError."""
    with path.open("rb") as file:
        return referral_columns.read(file.read(referral_columns.MOST_BYTES + 1))


def is_worklist(path: Path) -> bool:
    """Say whether a path is of worklist files: a folder, a `.wl` file, or another one in DICOM's file format."""
    if path.is_dir() or path.suffix.lower() == worklist_file.SUFFIX:
        return True
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _files(top: Path) -> tuple[list[Path], list[Path]]:
    """List the worklist files of a folder, and the folders whose files cannot be read now."""
    found: list[Path] = []
    closed: list[Path] = []
    for folder, names in watched_folder.folders(top, closed.append):
        with watched_folder.shared_lock(folder) as free:
            if free:
                found += [folder / name for name in names if (folder / name).is_file()]
            else:
                closed.append(folder)
    return found, closed


def _refuse_twice(item: ImportedItem, where: str, seen: dict[tuple[str, str], str]) -> None:
    """Refuse an item whose numbers stand in an earlier file of the same import: a dry run cannot see it otherwise."""
    for called, value in (
        ("accession number", item.accession_number),
        ("Study Instance UID", item.study_instance_uid),
    ):
        first = seen.setdefault((called, value), where) if value else where
        if first != where:
            raise Refused(f"the {called} {value} stands in {first} too")
