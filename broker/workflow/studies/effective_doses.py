"""Use cases of effective doses: calculated when a dose arrives, and kept as they were calculated."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import Invalid, WrongState
from broker.domain.orders import Order, OrderState
from broker.domain.studies.dose import Quantity
from broker.domain.studies.effective_dose import FIXED, MAX_DOSE, CalculatedDose
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.queries.studies import effective_doses
from broker.store.tables import audit, orders
from broker.store.tables.studies import calculated_doses, performed, received_objects, typed_doses


def recalculate(tx: Tx, order_id: int) -> None:
    """Calculate an order's effective dose: what devices have measured is another dose by now.

    An order for which nothing was performed has none, also where the table has a value for the procedure.
    """
    if not performed.states_of_order(tx, order_id) and not received_objects.dose_reports(tx, order_id):
        calculated_doses.put(tx, order_id, None)
        return
    found = effective_doses.calculate(tx, orders.require(tx, order_id))
    calculated_doses.put(tx, order_id, found if isinstance(found, CalculatedDose) else None)


def remeasure(tx: Tx, order_id: int) -> None:
    """Calculate an order's effective dose again if it was calculated, and of another dose than was measured by now."""
    known = calculated_doses.get(tx, order_id)
    if known is None:
        return
    if known.quantity == FIXED:
        if not performed.states_of_order(tx, order_id):
            recalculate(tx, order_id)
    elif effective_doses.measured(tx, order_id).of(Quantity(known.quantity)) != known.amount:
        recalculate(tx, order_id)


def type_dose(tx: Tx, order_id: int, millisieverts: float | None, actor: Actor) -> None:
    """Keep the effective dose (mSv) that a person typed, over the calculated one, which is kept; None takes it back.

    What a doctor signs in a report stands over it. Raise NotFound, Invalid, WrongState if nothing was made, Forbidden.
    """
    permit(tx, actor, Permission.DOSE)
    order = orders.require(tx, order_id)
    if order.state not in (OrderState.IN_PROGRESS, OrderState.COMPLETED):
        raise WrongState(f"order {order.accession_number} is {order.state}")
    if millisieverts is not None and not 0 <= millisieverts <= MAX_DOSE:
        raise Invalid({"effective_dose": "range"})
    typed_doses.add(tx, order.id, millisieverts, actor.title or actor.name)
    audit.write(tx, actor, AuditAction.DOSE_TYPED, order.id, millisieverts=millisieverts)
    tx.notify()


def calculate_once(tx: Tx, order: Order) -> None:
    """Keep an order's effective dose by the present table, unless one was calculated before: that stays as it was."""
    if calculated_doses.get(tx, order.id) is None:
        recalculate(tx, order.id)
