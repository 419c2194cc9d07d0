"""Imports a table of referrals: from a path to what became of each row.

Every row is a transaction of its own: what is right is registered, what is wrong is reported. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import BrokerError, Invalid
from broker.domain.import_result import REFUSED, ImportResult, Progress, silent
from broker.imports import referral_columns, referral_row
from broker.imports.referral_columns import ReferralRow, ReferralTable
from broker.imports.referral_row import Catalogue
from broker.store.database import Store
from broker.store.queries import device_registry, lookups
from broker.store.tables import orders
from broker.workflow import referrals
from broker.workflow.worklist_files import SyncOutcome


@dataclass(frozen=True, slots=True)
class ReferralImport:
    """How tables are imported; `dry_run` checks everything and keeps nothing."""

    store: Store
    actor: Actor
    clinic: Clinic
    dry_run: bool = False
    progress: Progress = silent

    def run(self, table: ReferralTable) -> Iterator[ImportResult]:
        """Register the referrals of a table, as the screens do."""
        with self.store.read() as reader:
            catalogue = Catalogue(lookups.procedures(reader), device_registry.approved(reader))
        today = self.store.clock().astimezone(self.clinic.zone).date()
        seen: dict[str, str] = {}
        for done, row in enumerate(table.rows, 1):
            yield self._row(row, table, catalogue, today, seen)
            self.progress(done, len(table.rows))

    def _row(
        self, row: ReferralRow, table: ReferralTable, catalogue: Catalogue, today: date, seen: dict[str, str]
    ) -> ImportResult:
        where = f"row {row.number}"
        draft, reasons = referral_row.read(row, table.columns, catalogue, today)
        if draft is None:
            return ImportResult(where, REFUSED, reasons=tuple(reasons))
        if first := seen.get(draft.submission_id):
            return ImportResult(where, REFUSED, reasons=(f"is the same as {first}",))
        seen[draft.submission_id] = where
        with self.store.read() as reader:
            earlier = orders.by_submission(reader, draft.submission_id)
        if earlier:
            return ImportResult(where, SyncOutcome.UNCHANGED, earlier[0].accession_number)
        try:
            run = self.store.dry_run if self.dry_run else self.store.write
            order = run(referrals.register, draft, self.actor, self.clinic)
        except Invalid as error:
            return ImportResult(where, REFUSED, reasons=tuple(referral_row.explained(error.problems, table.columns)))
        except BrokerError as error:
            return ImportResult(where, REFUSED, reasons=(str(error),))
        return ImportResult(where, SyncOutcome.ADDED, "" if self.dry_run else order.accession_number)


def read_table(path: Path) -> ReferralTable:
    """Read a CSV or XLSX file. Raise BadTable, OSError."""
    with path.open("rb") as file:
        return referral_columns.read(file.read(referral_columns.MAX_BYTES + 1))
