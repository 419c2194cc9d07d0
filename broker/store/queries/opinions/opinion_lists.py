"""Opinions that are asked: of us by other clinics, and by us of them. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from broker.domain.incoming import IncomingReferral
from broker.domain.opinions.requests import OpinionAnswer, OpinionRequest, OpinionRules
from broker.domain.orders import Order, Priority
from broker.store.database import Reader
from broker.store.queries import directory_search
from broker.store.tables import incoming, orders
from broker.store.tables.opinions import answers, requests

ASKS = "coalesce(json_extract(content, '$.asks_opinion'), 0)"  # of a row of incoming_referral
SHOWN = 50  # requests that were answered or ended


class AskedOfUs(NamedTuple):
    """A request of another clinic, its name, and our answer."""

    referral: IncomingReferral
    clinic: str  # as the directory has it; empty where it has none
    answer: OpinionAnswer | None = None


class AskedByUs(NamedTuple):
    """A request of ours, and the name of the clinic that is asked."""

    request: OpinionRequest
    order: Order
    clinic: str


def waiting_for_us(reader: Reader) -> list[AskedOfUs]:
    """Return the requests of other clinics that wait for an answer: the urgent ones first, then as they came."""
    rows = reader.rows(
        "SELECT * FROM incoming_referral WHERE state IN ('waiting', 'needs_attention')"
        f" AND {ASKS} ORDER BY received_at, id"
    )
    found = [_asked_of_us(reader, incoming.referral_from_row(row)) for row in rows]
    return sorted(found, key=lambda each: each.referral.priority is not Priority.URGENT)


def count_for_us(reader: Reader) -> int:
    """Return how many requests of other clinics wait for an answer."""
    sql = f"SELECT count(*) FROM incoming_referral WHERE state IN ('waiting', 'needs_attention') AND {ASKS}"
    return int(reader.value(sql) or 0)


def count_of_ours(reader: Reader, now: datetime, rules: OpinionRules) -> int:
    """Return how many requests of ours a doctor has to look at: they have ended unseen, or hang; `now` is UTC."""
    hanging = sum(each.hangs(now, rules) for each in requests.all_open(reader))
    return len(requests.unheeded(reader)) + hanging


def is_used(reader: Reader) -> bool:
    """Return True if an opinion was asked of anyone, by anyone."""
    return bool(
        reader.value("SELECT 1 FROM opinion_request LIMIT 1")
        or reader.value(f"SELECT 1 FROM incoming_referral WHERE {ASKS} LIMIT 1")
    )


def ended_for_us(reader: Reader) -> list[AskedOfUs]:
    """Return the newest requests of other clinics that were answered, declined or taken back, the newest first."""
    rows = reader.rows(
        "SELECT * FROM incoming_referral WHERE state NOT IN ('waiting', 'needs_attention')"
        f" AND {ASKS} ORDER BY changed_at DESC, id DESC LIMIT ?",
        [SHOWN],
    )
    return [_asked_of_us(reader, incoming.referral_from_row(row)) for row in rows]


def of_us(reader: Reader, incoming_id: int) -> AskedOfUs | None:
    """Return one request of another clinic; None if there is none, or it is a referral."""
    row = reader.one("SELECT * FROM incoming_referral WHERE id = ?", [incoming_id])
    referral = incoming.referral_from_row(row) if row else None
    return _asked_of_us(reader, referral) if referral and referral.asks_opinion else None


def asked_by_us(reader: Reader) -> list[AskedByUs]:
    """Return the requests of ours that wait, and those whose end no doctor has seen; the answered ones first."""
    return _with_orders(reader, [*requests.unheeded(reader), *requests.all_open(reader)])


def of_report(reader: Reader, order_id: int) -> tuple[AskedByUs, ...]:
    """Return all requests about an order's report, the newest first; for doctors only."""
    return tuple(_with_orders(reader, requests.of_order(reader, order_id)))


def _asked_of_us(reader: Reader, referral: IncomingReferral) -> AskedOfUs:
    clinic = directory_search.organisation_name(reader, referral.requester) if referral.requester else ""
    return AskedOfUs(referral, clinic, answers.of_request(reader, referral.stored_id))


def _with_orders(reader: Reader, found: Sequence[OpinionRequest]) -> list[AskedByUs]:
    by_id = {order.id: order for order in orders.get_many(reader, [each.order_id for each in found])}
    return [
        AskedByUs(each, by_id[each.order_id], directory_search.organisation_name(reader, each.partner))
        for each in found
    ]
