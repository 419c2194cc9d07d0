"""The effective dose of an order: calculated before, or as the table of coefficients has it now. Reads only."""

from __future__ import annotations

from datetime import date

from broker.domain.orders import Order
from broker.domain.studies import dose, effective_dose
from broker.domain.studies.dose import DoseValue, Quantity, StudyDose
from broker.domain.studies.effective_dose import CalculatedDose, Circumstances, Coefficient, NotCalculated, TypedDose
from broker.store.database import Reader
from broker.store.queries.studies import dose_limits
from broker.store.tables import directories
from broker.store.tables.studies import calculated_doses, received_objects, typed_doses

KIND = "dose-coefficients"  # of the directory
_STEPS = (
    "FROM performed_step p WHERE p.id IN (SELECT l.performed_step_id FROM performed_step_link l"
    " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = ?)"
)


def of_order(reader: Reader, order: Order) -> CalculatedDose | NotCalculated:
    """Return the effective dose of an order: as it was calculated once, else by the present table; or why none."""
    return calculated_doses.get(reader, order.id) or calculate(reader, order)


def typed(reader: Reader, order_id: int) -> TypedDose | None:
    """Return the effective dose that a person typed for an order beside a report, or None."""
    return typed_doses.newest(reader, order_id)


def calculate(reader: Reader, order: Order) -> CalculatedDose | NotCalculated:
    """Return the effective dose of an order by the present table, or why there is none."""
    found = measured(reader, order.id)
    return effective_dose.calculate(_rows(reader), _circumstances(reader, order), found)


def measured(reader: Reader, order_id: int) -> StudyDose:
    """Return what devices have measured: by their dose reports, else by what they stated of performed steps (MPPS)."""
    reports = received_objects.dose_reports(reader, order_id)
    if reports:
        return dose_limits.check(reader, order_id, dose.of_study(reports))
    total = reader.value(
        "SELECT sum(d.value) FROM performed_dose d WHERE d.keyword = 'ImageAndFluoroscopyAreaDoseProduct'"
        f" AND d.position = 0 AND d.performed_step_id IN (SELECT p.id {_STEPS})",
        [order_id],
    )
    if total is None:
        return StudyDose()
    # dGy·cm²
    found = StudyDose((DoseValue(Quantity.DAP, float(f"{total * 10:.10g}")),))
    return dose_limits.check(reader, order_id, found)


def _rows(reader: Reader) -> list[Coefficient]:
    found = []
    for entry in directories.entries(reader, KIND):
        try:
            found.append(effective_dose.read_row(entry.code, entry.name, entry.details))
        except ValueError:  # of a version of this program that has read it otherwise
            continue
    return found


def _circumstances(reader: Reader, order: Order) -> Circumstances:
    steps = reader.rows(f"SELECT p.ae_title, p.start {_STEPS} AND p.state <> 'IN PROGRESS'", [order.id])
    devices = {row["ae_title"] for row in steps}
    days = [date.fromisoformat(row["start"][:10]) for row in steps if row["start"]]
    on = min(days) if days else order.steps[0].start.date()
    born = order.patient.birth_date
    age = None if born is None else on.year - born.year - ((on.month, on.day) < (born.month, born.day))
    return Circumstances(
        tuple(sorted(devices)), order.procedure_code, order.body_site, age, on, _views(reader, order.id)
    )


def _views(reader: Reader, order_id: int) -> frozenset[str]:
    """Return what devices call the view or the protocol of all series that they reported (MPPS)."""
    series = reader.rows(
        f"SELECT s.description, s.protocol FROM performed_series s WHERE s.performed_step_id IN (SELECT p.id {_STEPS})",
        [order_id],
    )
    names = [{row["description"], row["protocol"]} - {""} for row in series]
    return frozenset(set.intersection(*names)) if names else frozenset()
