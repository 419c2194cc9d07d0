"""Effective doses that were calculated, each with the row of the table by which it was."""

from __future__ import annotations

from dataclasses import asdict

from broker.domain.studies.effective_dose import CalculatedDose
from broker.store import rows
from broker.store.database import Reader, Tx


def get(reader: Reader, order_id: int) -> CalculatedDose | None:
    """Return the effective dose that was calculated for an order, or None."""
    row = reader.one("SELECT * FROM calculated_dose WHERE order_id = ?", [order_id])
    if row is None:
        return None
    return CalculatedDose(
        row["millisieverts"],
        row["quantity"],
        row["amount"],
        row["coefficient"],
        row["unit"],
        row["row_code"],
        row["source"],
    )


def put(tx: Tx, order_id: int, calculated: CalculatedDose | None) -> None:
    """Write an order's calculated dose in the place of an older one; None: it has none any more."""
    if calculated is None:
        tx.run("DELETE FROM calculated_dose WHERE order_id = ?", [order_id])
        return
    values = {"order_id": order_id, **asdict(calculated), "calculated_at": tx.now.isoformat()}
    rows.upsert(tx, "calculated_dose", values, key=["order_id"])
