"""Which doses the clinic takes for plausible, by its own table. Reads only."""

from __future__ import annotations

from broker.domain.studies import dose, effective_dose
from broker.domain.studies.dose import StudyDose
from broker.store.database import Reader
from broker.store.tables import directories

KIND = "dose-limits"  # of the directory


def check(reader: Reader, order_id: int, found: StudyDose) -> StudyDose:
    """Return the dose of an order's study, doubtful if it is outside of the limits of the order's modality."""
    limits = []
    for entry in directories.entries(reader, KIND):
        try:
            limits.append(effective_dose.read_limits(entry.details))
        except ValueError:  # of a version of this program that has read it otherwise
            continue
    if not limits:
        return found
    return dose.check(found, limits, str(reader.value("SELECT modality FROM orders WHERE id = ?", [order_id])))
