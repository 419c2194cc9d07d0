"""Effective doses that people typed beside a report: the newest of an order counts, the others are kept."""

from __future__ import annotations

from broker.domain.studies.effective_dose import TypedDose
from broker.store import rows
from broker.store.database import Reader, Tx


def newest(reader: Reader, order_id: int) -> TypedDose | None:
    """Return the dose that was typed last for an order; None if there is none, or it was taken back."""
    row = reader.one("SELECT * FROM typed_dose WHERE order_id = ? ORDER BY id DESC LIMIT 1", [order_id])
    if row is None or row["millisieverts"] is None:
        return None
    return TypedDose(row["millisieverts"], row["typed_by"])


def add(tx: Tx, order_id: int, millisieverts: float | None, typed_by: str) -> None:
    """Write that a person typed an order's dose; None: what was typed before counts no more."""
    values = {"order_id": order_id, "millisieverts": millisieverts, "typed_by": typed_by}
    rows.insert(tx, "typed_dose", values | {"typed_at": tx.now.isoformat()})
