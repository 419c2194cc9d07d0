"""What is known of procedures for the account of doses: whether they are prophylactic, and their row of the form."""

from __future__ import annotations

from collections.abc import Collection

from broker.store import rows
from broker.store.database import Reader, Tx


def prophylactic(reader: Reader) -> frozenset[str]:
    """Return the codes of the procedures that are prophylactic."""
    return frozenset(row["code"] for row in reader.rows("SELECT code FROM dose_procedure WHERE prophylactic = 1"))


def form_rows(reader: Reader) -> dict[str, str]:
    """Return the rows of the form 3-ДОЗ as the administrator names them, by code of procedure."""
    return {row["code"]: row["form_row"] for row in reader.rows("SELECT * FROM dose_procedure WHERE form_row <> ''")}


def set_prophylactic(tx: Tx, codes: Collection[str]) -> None:
    """Replace the procedures that are prophylactic."""
    tx.run("UPDATE dose_procedure SET prophylactic = 0")
    for code in sorted(codes):
        rows.upsert(tx, "dose_procedure", {"code": code, "prophylactic": 1}, key=["code"])


def set_form_row(tx: Tx, code: str, form_row: str) -> None:
    """Write the row of a procedure; "" for none."""
    rows.upsert(tx, "dose_procedure", {"code": code, "form_row": form_row}, key=["code"])
