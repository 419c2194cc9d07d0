"""Earlier studies of a patient, here and in other clinics. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from broker.domain.reading.reports import ExternalStudy
from broker.domain.studies.prior_studies import OwnStudy
from broker.store.database import Reader, Row
from broker.store.rows import instant
from broker.store.tables.studies import dose_procedures, external_studies


@dataclass(frozen=True, slots=True)
class ExternalHistory:
    """A patient's studies in other clinics, and when the bus was asked."""

    studies: tuple[ExternalStudy, ...] = ()  # one report for every study of every clinic; newest study first
    answered_at: datetime | None = None  # UTC: the last complete answer; None: there was none yet
    failed_at: datetime | None = None  # UTC: the last attempt, if it failed or got only a part
    reason: str = ""  # plain English; empty unless `failed_at`


def external(reader: Reader, patient_id: int) -> ExternalHistory:
    """Return a patient's studies in other clinics, as the bus has reported them."""
    row = reader.one("SELECT * FROM external_lookup WHERE patient_id = ?", [patient_id])
    studies = tuple(
        external_studies.latest_reports(
            reader.rows(f"{external_studies.STUDIES} WHERE patient_id = ? ORDER BY at, reference", [patient_id])
        )
    )
    if row is None:
        return ExternalHistory(studies)
    return ExternalHistory(studies, instant(row["answered_at"]), instant(row["failed_at"]), row["reason"])


def own(reader: Reader, patient_id: int) -> list[OwnStudy]:
    """Return a patient's studies in this clinic, newest first, without those that were referred to another one."""
    rows = reader.rows(f"{_PERFORMED_HERE} AND o.patient_id = ? ORDER BY started DESC, o.id DESC", [patient_id])
    return [
        OwnStudy(
            order_id=row["id"],
            accession_number=row["accession_number"],
            studied_on=date.fromisoformat(row["started"][:10]),
            modality=row["modality"],
            study_instance_uid=row["study_instance_uid"],
            procedure_code=row["procedure_code"],
            procedure_name=row["procedure_name"],
            body_site=row["body_site"],
            conclusion=row["conclusion"] or "",
            effective_dose=row["calculated_dose"] if row["effective_dose"] is None else row["effective_dose"],
            prophylactic=bool(row["prophylactic"]),
        )
        for row in rows
        if row["started"]
    ]


def _as_signed_last(column: str) -> str:
    """Return SQL of a report's column in its newest version, also where that has no value."""
    return (
        "CASE WHEN EXISTS (SELECT 1 FROM report_version WHERE order_id = o.id)"
        f" THEN (SELECT {column} FROM report_version WHERE order_id = o.id ORDER BY version DESC LIMIT 1)"
        f" ELSE (SELECT {column} FROM report WHERE order_id = o.id AND state = 'signed' ORDER BY reading LIMIT 1)"
        " END"
    )


_PERFORMED_HERE = (
    "SELECT o.*, a.birth_date, coalesce("
    " (SELECT min(p.start) FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
    "  JOIN scheduled_step s ON s.id = l.scheduled_step_id"
    "  WHERE s.order_id = o.id AND p.state <> 'DISCONTINUED' AND p.start <> ''),"
    " (SELECT min(start) FROM scheduled_step WHERE order_id = o.id)) AS started,"
    f" {_as_signed_last('conclusion')} AS conclusion,"
    f" coalesce({_as_signed_last('effective_dose')}, (SELECT t.millisieverts FROM typed_dose t"
    "  WHERE t.order_id = o.id ORDER BY t.id DESC LIMIT 1)) AS effective_dose,"
    " c.millisieverts AS calculated_dose, c.quantity AS calculated_of,"
    " EXISTS (SELECT 1 FROM dose_procedure d WHERE d.code = o.procedure_code AND d.prophylactic = 1) AS prophylactic"
    " FROM orders o JOIN patient a ON a.id = o.patient_id LEFT JOIN calculated_dose c ON c.order_id = o.id"
    " WHERE o.state IN ('in_progress', 'completed') AND (o.owner = ''"
    "  OR EXISTS (SELECT 1 FROM performed_step_link l JOIN scheduled_step s ON s.id = l.scheduled_step_id"
    "   WHERE s.order_id = o.id))"
)


def prophylactic_procedures(reader: Reader) -> frozenset[str]:
    """Return the codes of the procedures that are prophylactic."""
    return dose_procedures.prophylactic(reader)


def made_between(reader: Reader, first: date, last: date) -> list[Row]:
    """Return the studies of all patients that were completed here in these days, with what is known of their doses."""
    return reader.rows(
        f"SELECT * FROM ({_PERFORMED_HERE}) WHERE state = 'completed' AND substr(started, 1, 10) BETWEEN ? AND ?"
        " ORDER BY started, id",
        [first.isoformat(), last.isoformat()],
    )
