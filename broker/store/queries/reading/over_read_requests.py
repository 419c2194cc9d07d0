"""Requests to read a signed report over: of one report, those that wait for a doctor, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence

from broker.domain.actors import Role
from broker.domain.orders import Order
from broker.domain.reading.over_reads import OverRead
from broker.store.database import Reader
from broker.store.tables import accounts, orders
from broker.store.tables.reading import over_reads, reads, reports


def of_report(reader: Reader, order_id: int) -> tuple[OverRead, ...]:
    """Return all over-reads of an order's report, the newest first; for doctors only."""
    return tuple(over_reads.of_order(reader, order_id))


def open_of(reader: Reader, order_id: int) -> OverRead | None:
    """Return the request that waits for an answer, or None: that there is one, others than doctors may see, too."""
    return over_reads.open_of(reader, order_id)


def all_open(reader: Reader) -> list[tuple[Order, OverRead]]:
    """Return all requests that wait for an answer, the oldest first."""
    return _with_orders(reader, over_reads.all_open(reader))


def waiting_for(reader: Reader, login: str) -> list[tuple[Order, OverRead]]:
    """Return the requests that a doctor may answer, the oldest first."""
    return _with_orders(reader, [each for each in over_reads.all_open(reader) if may_answer(reader, each, login)])


def asked_by(reader: Reader, login: str) -> list[tuple[Order, OverRead]]:
    """Return what a doctor has asked: what waits for a colleague, and what became of others if it was not seen yet."""
    waits = [each for each in over_reads.all_open(reader) if each.asked_by == login]
    return _with_orders(reader, [*over_reads.unheeded(reader, login), *waits])


def colleagues(reader: Reader, order_id: int, asks: str) -> dict[str, str]:
    """Return whom a doctor may ask to read an order's report over: login -> full name.

    All who report, but who asks, who has signed a version, and whose read it was made of.
    """
    known = _who_knows(reader, order_id) | {asks}
    return {
        each.login: each.full_name
        for each in accounts.active(reader)
        if Role.RADIOLOGIST in each.roles and each.login not in known
    }


def may_answer(reader: Reader, asked: OverRead, login: str) -> bool:
    """Return True if a doctor may answer a request."""
    if not asked.is_open or asked.asked_of not in ("", login):
        return False
    return login not in _who_knows(reader, asked.order_id) | {asked.asked_by}


def _who_knows(reader: Reader, order_id: int) -> set[str]:
    signed = {each.author for each in reports.versions(reader, order_id)}
    return signed | {each.reader for each in reads.of_report(reader, order_id)}


def _with_orders(reader: Reader, found: Sequence[OverRead]) -> list[tuple[Order, OverRead]]:
    by_id = {order.id: order for order in orders.get_many(reader, [each.order_id for each in found])}
    return [(by_id[each.order_id], each) for each in found]
