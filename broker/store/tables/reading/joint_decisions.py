"""Joint decisions of two readers; once confirmed one is a read that decides (`reads.decided_together`) and is final."""

from __future__ import annotations

import json
from dataclasses import asdict

from broker.domain.reading.joint_decisions import JointDecision
from broker.store import rows
from broker.store.database import Reader, Row, Tx
from broker.store.tables.reading import reads

_KEY = ("order_id", "images", "patient_id")


def of_images(reader: Reader, order_id: int, images: int, patient_id: int) -> JointDecision | None:
    """Return the decision on one image set of an order, proposed or confirmed, or None."""
    row = reader.one(
        "SELECT * FROM joint_decision WHERE order_id = ? AND images = ? AND patient_id = ?",
        [order_id, images, patient_id],
    )
    return _from_row(row) if row else None


def last_confirmed(reader: Reader, order_id: int) -> JointDecision | None:
    """Return the newest decision on an order that both have made, of its present images or of former ones, or None."""
    row = reader.one(
        "SELECT * FROM joint_decision WHERE order_id = ? AND confirmed_at IS NOT NULL ORDER BY id DESC LIMIT 1",
        [order_id],
    )
    return _from_row(row) if row else None


def put(tx: Tx, decision: JointDecision) -> JointDecision:
    """Insert a decision, or write it over the proposal that there is; return it with its id and revision."""
    values = {name: getattr(decision, name) for name in (*_KEY, "writer", "confirmer")} | {
        "opinion": json.dumps(asdict(decision.opinion)),
        "said": json.dumps(dict(decision.said), ensure_ascii=False),
        "proposed_at": decision.proposed_at.isoformat(),
        "confirmed_at": decision.confirmed_at.isoformat() if decision.confirmed_at else None,
    }
    rows.upsert(tx, "joint_decision", values, key=_KEY, also="revision = revision + 1")
    made = of_images(tx, decision.order_id, decision.images, decision.patient_id)
    assert made is not None
    return made


def drop(tx: Tx, id: int) -> None:
    """Delete a proposal; the database refuses it for what is confirmed."""
    tx.run("DELETE FROM joint_decision WHERE id = ?", [id])


def _from_row(row: Row) -> JointDecision:
    proposed_at = rows.instant(row["proposed_at"])
    assert proposed_at is not None  # NOT NULL
    return JointDecision(
        **{name: row[name] for name in (*_KEY, "writer", "confirmer", "revision", "id")},
        opinion=reads.opinion_of(row["opinion"]),
        said=json.loads(row["said"]),
        proposed_at=proposed_at,
        confirmed_at=rows.instant(row["confirmed_at"]),
    )
