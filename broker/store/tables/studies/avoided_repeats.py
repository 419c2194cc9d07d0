"""Studies that were not ordered because an earlier one was shown."""

from __future__ import annotations

from broker.domain.studies.avoided_repeats import AvoidedRepeat
from broker.store import rows
from broker.store.database import Reader, Tx


def has(reader: Reader, submission_id: str) -> bool:
    """Return True if this one is counted already."""
    return reader.value("SELECT 1 FROM avoided_repeat WHERE submission_id = ?", [submission_id]) is not None


def add(tx: Tx, avoided: AvoidedRepeat) -> None:
    """Count one."""
    values = {
        "submission_id": avoided.submission_id,
        "at": tx.now.isoformat(),
        "modality": avoided.modality,
        "effective_dose": avoided.effective_dose,
    }
    rows.insert(tx, "avoided_repeat", values)
