"""Data that explains why a device has an order on its list or not. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.domain.orders import Order
from broker.store.database import Reader
from broker.store.rows import instant
from broker.store.tables import worklist
from broker.store.tables.worklist import Candidate, WorklistItem


@dataclass(frozen=True, slots=True)
class StepStatus:
    """A scheduled step as the worklist has it, the time of its state, and of its first delivery to the device."""

    item: WorklistItem
    since: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorklistStatus:
    """The steps of an order for a device, and the device's last query and last refusal. Instants are UTC."""

    steps: tuple[StepStatus, ...]
    asked_at: datetime | None
    refused_at: datetime | None
    refused_address: str


def of_order(reader: Reader, order: Order, ae_title: str) -> WorklistStatus:
    """Return the data that explains why a device sees an order or not."""
    places = [Candidate(step.id, order.id, "", order.patient.name, bool(order.attributes)) for step in order.steps]
    items = {item.step.id: item for item in worklist.load(reader, places)}
    rows = reader.rows(
        "SELECT s.id, s.state_since, d.at FROM scheduled_step s LEFT JOIN worklist_delivery d"
        " ON d.step_id = s.id AND d.ae_title = ? WHERE s.order_id = ? ORDER BY s.id",
        [ae_title, order.id],
    )
    calls = {row["service"]: row for row in reader.rows("SELECT * FROM device_contact WHERE ae_title = ?", [ae_title])}
    asked, refused = calls.get("worklist", {}), calls.get("refused", {})
    return WorklistStatus(
        steps=tuple(
            StepStatus(items[row["id"]], datetime.fromisoformat(row["state_since"]), instant(row["at"]))
            for row in rows
            if row["id"] in items
        ),
        asked_at=instant(asked.get("at")),
        refused_at=instant(refused.get("at")),
        refused_address=refused.get("address", ""),
    )
