"""Use cases of effective doses: calculated when a dose arrives, and kept as they were calculated."""

from __future__ import annotations

from broker.domain.orders import Order
from broker.domain.studies.effective_dose import CalculatedDose
from broker.store.database import Tx
from broker.store.queries.studies import effective_doses
from broker.store.tables import orders
from broker.store.tables.studies import calculated_doses


def recalculate(tx: Tx, order_id: int) -> None:
    """Calculate an order's effective dose: what devices have measured is another dose by now."""
    found = effective_doses.calculate(tx, orders.require(tx, order_id))
    calculated_doses.put(tx, order_id, found if isinstance(found, CalculatedDose) else None)


def calculate_once(tx: Tx, order: Order) -> None:
    """Keep an order's effective dose by the present table, unless one was calculated before: that stays as it was."""
    if calculated_doses.get(tx, order.id) is None:
        recalculate(tx, order.id)
