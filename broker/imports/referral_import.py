"""Imports a table of referrals: from a path to what became of each row.

Every row is a transaction of its own: what is right is registered, what is wrong is reported. Prints nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import BrokerError, Invalid, Refused
from broker.domain.import_result import REFUSED, ImportPlace, ImportResult, ImportSource, Progress, Reason, silent
from broker.domain.patients.patient_match import similar_note
from broker.domain.patients.people import Patient
from broker.imports import referral_columns, referral_row
from broker.imports.referral_columns import ReferralRow, ReferralTable
from broker.imports.referral_row import Catalogue
from broker.store.database import Store, StoreError
from broker.store.queries import device_registry, lookups
from broker.store.tables import orders
from broker.store.tables.import_refusals import ImportRefusal
from broker.workflow.referrals import import_refusals, referrals
from broker.workflow.referrals.worklist_files import SyncOutcome

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReferralImport:
    """How tables are imported; `dry_run` checks everything and keeps nothing."""

    store: Store
    actor: Actor
    clinic: Clinic
    dry_run: bool = False
    progress: Progress = silent

    def run(self, table: ReferralTable, path: str) -> Iterator[ImportResult]:
        """Register the referrals of a table, as the screens do; what is refused waits on a screen.

        `path` is that of the table: imported again, it settles what was refused of it before.
        """
        with self.store.read() as reader:
            catalogue = Catalogue(lookups.procedures(reader), device_registry.approved(reader))
        today = self.store.clock().astimezone(self.clinic.zone).date()
        seen: dict[str, str] = {}
        repeated: Counter[str] = Counter()
        refused: list[int] = []
        for done, row in enumerate(table.rows, 1):
            place = ImportPlace(ImportSource.TABLE, path, row.number)
            result, reasons, patient = self._attempt(row, place, table, catalogue, today, seen, repeated)
            if reasons and not self.dry_run:
                refused.append(row.number)
                refusal = ImportRefusal(place.source, path, row.number, _digest(row), tuple(reasons))
                self.store.write(import_refusals.note, refusal.of(patient) if patient else refusal, self.actor)
            yield result
            self.progress(done, len(table.rows))
        if not self.dry_run:
            self.store.write(import_refusals.forget, ImportSource.TABLE, path, self.actor, but=refused)

    def _attempt(
        self,
        row: ReferralRow,
        place: ImportPlace,
        table: ReferralTable,
        catalogue: Catalogue,
        today: date,
        seen: dict[str, str],
        repeated: Counter[str],
    ) -> tuple[ImportResult, Sequence[Reason], Patient | None]:
        """Return what `_row` does; a fault of ours costs this row only."""
        try:
            return self._row(row, place, table, catalogue, today, seen, repeated)
        except StoreError:
            raise  # the database, not the row
        except Exception as error:
            kind, trace = type(error).__name__, "".join(traceback.format_tb(error.__traceback__))
            log.error("row %d of a table failed: %s\n%s", row.number, kind, trace)  # its message may hold a name
            reason = Reason("unexpected", f"{referral_row.REASONS['unexpected']} ({kind})", about=kind)
            return ImportResult(f"row {row.number}", REFUSED, reasons=(reason.text,)), (reason,), None

    def _row(
        self,
        row: ReferralRow,
        place: ImportPlace,
        table: ReferralTable,
        catalogue: Catalogue,
        today: date,
        seen: dict[str, str],
        repeated: Counter[str],
    ) -> tuple[ImportResult, Sequence[Reason], Patient]:
        """Register the referral of a row; return the outcome, why it was refused, and its patient.

        `seen` are the submission ids of earlier rows, and where; `repeated` counts contents that identify no person.
        """
        where = f"row {row.number}"

        def refused(reasons: Sequence[Reason]) -> tuple[ImportResult, Sequence[Reason], Patient]:
            return ImportResult(where, REFUSED, reasons=tuple(each.text for each in reasons)), reasons, patient

        draft, reasons, patient = referral_row.read(row, table, catalogue, today)
        if draft is None:
            return refused(reasons)
        if referral_row.is_anybody(draft.patient):
            repeated[draft.submission_id] += 1
            nth = repeated[draft.submission_id]
            draft = replace(draft, submission_id=referral_row.submission_of(draft, place.path, nth))
        if first := seen.get(draft.submission_id):
            number = first.removeprefix("row ")
            text = f"the same as {first}: delete one of them"
            return refused([referral_row.about_cells("same_row", text, number, table.columns, row)])
        seen[draft.submission_id] = where
        with self.store.read() as reader:
            earlier = orders.by_submission(reader, draft.submission_id)
        if earlier:
            return ImportResult(where, SyncOutcome.UNCHANGED, earlier[0].accession_number), (), patient
        try:
            run = self.store.dry_run if self.dry_run else self.store.write
            order, similar = run(referrals.register_imported, draft, place, self.actor, self.clinic)
        except Invalid as error:
            return refused(referral_row.explained(error.problems, table.columns, row))
        except Refused as error:
            if error.reason == "several_patients":
                return refused(referral_row.explained({"patient": "several"}, table.columns, row))
            return refused([referral_row.about_cells(error.reason, str(error), error.about, table.columns, row)])
        except BrokerError as error:
            return refused([Reason(error.code, str(error))])
        number = "" if self.dry_run else order.accession_number
        notes = tuple(similar_note(each) for each in similar)
        return ImportResult(where, SyncOutcome.ADDED, number, notes=notes), (), patient


def _digest(row: ReferralRow) -> str:
    return hashlib.sha256(json.dumps(row.values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def read_table(path: Path) -> ReferralTable:
    """Read a CSV or XLSX file. Raise BadTable, OSError."""
    with path.open("rb") as file:
        return referral_columns.read(file.read(referral_columns.MAX_BYTES + 1))
