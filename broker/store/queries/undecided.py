"""Orders of which a person has to say whose they are: their cards were taken apart. Reads only."""

from __future__ import annotations

from dataclasses import dataclass

from broker.domain.orders import Order
from broker.domain.patients.people import Patient
from broker.store.database import Reader
from broker.store.tables import orders, undecided_orders
from broker.store.tables.patients import patients
from broker.store.tables.undecided_orders import UndecidedOrder


@dataclass(frozen=True, slots=True)
class OrderOfTwo:
    """An order that may be of either card."""

    order: Order
    cards: tuple[Patient, Patient]  # the first is that with which it stands now


def waiting(reader: Reader) -> list[OrderOfTwo]:
    """Return the orders that wait for a person, the longest first."""
    return [_read(reader, each) for each in undecided_orders.waiting(reader)]


def of_order(reader: Reader, order_id: int) -> OrderOfTwo | None:
    """Return the cards that an order may be of; None if it is known whose it is."""
    found = undecided_orders.of_order(reader, order_id)
    return _read(reader, found) if found else None


def of_card(reader: Reader, patient_id: int) -> tuple[OrderOfTwo, ...]:
    """Return the orders that wait for a person and may be of this card."""
    found = undecided_orders.waiting(reader)
    return tuple(_read(reader, each) for each in found if patient_id in (each.one_id, each.other_id))


def _read(reader: Reader, found: UndecidedOrder) -> OrderOfTwo:
    cards = patients.get(reader, found.one_id), patients.get(reader, found.other_id)
    assert cards[0] is not None
    assert cards[1] is not None
    return OrderOfTwo(orders.require(reader, found.order_id), (cards[0], cards[1]))
