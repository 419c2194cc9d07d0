"""What the region has to learn when an order that it has, or its patient, is another one now.

Called inside the transactions of the use cases that change orders and cards, which have checked the permission.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace

from broker.domain.messages import OutboxKind
from broker.domain.orders import BusRole, Order, OrderState
from broker.domain.patients.identifiers import is_insurer_code
from broker.store.database import Tx
from broker.store.tables import orders, outbox


def queue_for_orders(tx: Tx, before: Iterable[Order]) -> None:
    """Queue what the region has to learn of orders whose patient is another one now, or has other data.

    `before` are the orders as they were.
    """
    for old in before:
        new = orders.require(tx, old.id)
        if old.state is OrderState.CANCELLED or replace(old.patient, revision=0) == replace(new.patient, revision=0):
            continue
        if outbox.may_be_known(tx, old.id, OutboxKind.ORDER):
            orders.count_up(tx, old.id)  # what is being sent just now is not what it is any more
        outbox.resume(tx, old.id)  # what the bus refused has another content now
        queue_amendment(tx, old, orders.require(tx, old.id))


def queue_amendment(tx: Tx, before: Order, after: Order) -> None:
    """Queue an amendment for the region, if that may have the old content and something that it gets has changed."""
    if before.bus_role is not BusRole.PLACER or not outbox.may_be_known(tx, before.id, OutboxKind.ORDER):
        return
    if _sent_fields(before) != _sent_fields(after):
        outbox.add_amendment(tx, after.id, after.revision)


def _sent_fields(order: Order) -> tuple[object, ...]:
    """Return what the region is sent of an order: not where and when it is performed here."""
    insurer = order.patient.insurer if is_insurer_code(order.patient.insurer) else ""  # a name alone is not sent
    patient = replace(order.patient, insurer=insurer, phone="", allergies="", pregnancy="", revision=0)
    own = {"patient", "steps", "state", "revision", "attributes", "accession_number"}
    own |= {"bus_accession_number", "request_bus_number"}
    return (patient, *(getattr(order, field.name) for field in fields(order) if field.name not in own))
