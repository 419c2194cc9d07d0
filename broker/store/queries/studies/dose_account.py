"""The account of a year's doses, from what was performed here. Reads only."""

from __future__ import annotations

from datetime import date

from broker.domain.studies import dose_account
from broker.domain.studies.dose_account import AccountedStudy, AccountRow, DoseOrigin
from broker.domain.studies.effective_dose import FIXED
from broker.store.database import Reader, Row
from broker.store.queries.patients import patient_history
from broker.store.tables.studies import dose_procedures


def of_year(reader: Reader, year: int) -> list[AccountRow]:
    """Return the account of the studies that were performed here in a year, by the clinic's dates."""
    form_rows = dose_procedures.form_rows(reader)
    found = patient_history.made_between(reader, date(year, 1, 1), date(year, 12, 31))
    return dose_account.account(_study(row, form_rows.get(row["procedure_code"], "")) for row in found)


def _study(row: Row, form_row: str) -> AccountedStudy:
    on = date.fromisoformat(row["started"][:10])
    born = date.fromisoformat(row["birth_date"]) if row["birth_date"] else None
    age = None if born is None else on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    value, origin = row["effective_dose"], DoseOrigin.TYPED
    if value is None:
        value = row["calculated_dose"]
        origin = DoseOrigin.TYPICAL if row["calculated_of"] == FIXED else DoseOrigin.CALCULATED
    if value is None:
        origin = DoseOrigin.NONE
    return AccountedStudy(row["modality"], row["body_site"], age, origin, value, form_row)
