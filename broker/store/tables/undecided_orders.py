"""Orders of which it was not known whose they are when two cards were taken apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from broker.store import rows
from broker.store.database import Reader, Tx
from broker.store.tables.patients import patients


@dataclass(frozen=True, slots=True)
class UndecidedOrder:
    """An order, and the two cards in use (ids) that it may be of."""

    order_id: int
    one_id: int  # it stayed with this one
    other_id: int


def put(tx: Tx, order_id: int, one_id: int, other_id: int) -> None:
    """Write down that an order, which stays with one card, may be of the other."""
    values = {"order_id": order_id, "one_id": one_id, "other_id": other_id, "at": tx.now.isoformat()}
    rows.upsert(tx, "undecided_order", values, ("order_id",))


def remove(tx: Tx, order_ids: Iterable[int]) -> None:
    """Forget that it was not known of these orders whose they are."""
    for id in order_ids:
        tx.run("DELETE FROM undecided_order WHERE order_id = ?", [id])


def of_order(reader: Reader, order_id: int) -> UndecidedOrder | None:
    """Return the cards that an order may be of; None if it is known whose it is."""
    return next((each for each in _read(reader, "u.order_id = ?", [order_id])), None)


def waiting(reader: Reader) -> list[UndecidedOrder]:
    """Return the orders that are not cancelled and wait for a person to say whose they are, oldest first."""
    return _read(reader, "o.state <> 'cancelled'", [])


def remove_where_one(tx: Tx) -> list[int]:
    """Forget the orders whose two cards are one again; return them."""
    found = [each.order_id for each in _read(tx, "1", []) if each.one_id == each.other_id]
    remove(tx, found)
    return found


def _read(reader: Reader, condition: str, values: list[int]) -> list[UndecidedOrder]:
    sql = f"SELECT u.* FROM undecided_order u JOIN orders o ON o.id = u.order_id WHERE {condition} ORDER BY u.at, o.id"
    return [
        UndecidedOrder(
            row["order_id"],
            patients.surviving_id(reader, row["one_id"]),
            patients.surviving_id(reader, row["other_id"]),
        )
        for row in reader.rows(sql, values)
    ]
