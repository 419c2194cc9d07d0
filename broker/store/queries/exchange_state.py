"""The state of the exchange with the region, and its ledger. Reads only."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from broker.domain.messages import OutboxRow
from broker.domain.orders import OrderState
from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.store.database import Reader, Row
from broker.store.rows import instant
from broker.store.tables import (
    outbox,
)


@dataclass(frozen=True, slots=True)
class OutboundLine:
    """An outbound message in the ledger of the exchange."""

    row: OutboxRow
    accession_number: str  # empty if it is about an incoming referral
    patient: str  # «Фамилия И. О.»
    patient_id: str
    answer: str  # the bus's last answer, truncated
    state: OrderState | None  # of its order


@dataclass(frozen=True, slots=True)
class ExchangeState:
    """The state of the exchange with the region."""

    waiting: int
    oldest: datetime | None
    channel: str  # ok | waiting | paused
    reason: str
    since: datetime | None
    retry_at: datetime | None
    answered_at: datetime | None
    needs_attention: tuple[OutboundLine, ...]
    ledger: tuple[OutboundLine, ...]  # newest first


_LINES = (
    "SELECT b.*, o.accession_number, o.state AS order_state, coalesce(p.patient_id, '') AS card,"
    " coalesce(p.family, json_extract(r.content, '$.patient.name.family')) AS family,"
    " coalesce(p.given, json_extract(r.content, '$.patient.name.given')) AS given,"
    " coalesce(p.middle, json_extract(r.content, '$.patient.name.middle')) AS middle,"
    " (SELECT answer FROM outbox_attempt a WHERE a.seq = b.seq ORDER BY a.id DESC LIMIT 1) AS answer"
    " FROM outbox b LEFT JOIN opinion_request q ON q.id = b.opinion_id"
    " LEFT JOIN orders o ON o.id = coalesce(b.order_id, q.order_id) LEFT JOIN patient p ON p.id = o.patient_id"
    " LEFT JOIN incoming_referral r ON r.id = b.incoming_id "
)


def line(reader: Reader, seq: int) -> OutboundLine | None:
    """Return an outbound message of the ledger, or None."""
    row = reader.one(_LINES + "WHERE b.seq = ?", [seq])
    return _line(row) if row else None


def current(reader: Reader, ledger: int = 100) -> ExchangeState:
    """Return the state of the exchange: messages that wait or need attention, and the newest `ledger` ones."""
    queue = reader.one(
        "SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox"
        " WHERE state IN ('pending', 'needs_attention') AND state = 'pending'"  # the partial index's condition first
    )
    channel = reader.one("SELECT * FROM bus_channel") or {}
    assert queue is not None
    return ExchangeState(
        waiting=queue["waiting"],
        oldest=instant(queue["oldest"]),
        channel=channel.get("state", "ok"),
        reason=channel.get("reason", ""),
        since=instant(channel.get("since")),
        retry_at=instant(channel.get("retry_at")),
        answered_at=instant(channel.get("answered_at")),
        needs_attention=tuple(
            _line(row) for row in reader.rows(_LINES + "WHERE b.state = 'needs_attention' ORDER BY b.seq")
        ),
        ledger=tuple(_line(row) for row in reader.rows(_LINES + "ORDER BY b.seq DESC LIMIT ?", [ledger])),
    )


class DeliveryAttempt(NamedTuple):
    """One attempt at sending a message."""

    at: datetime  # UTC
    outcome: str
    reason: str
    answer: str  # of the bus, truncated


def attempts(reader: Reader, seq: int) -> list[DeliveryAttempt]:
    """Return the attempts at one message, oldest first."""
    return [
        DeliveryAttempt(datetime.fromisoformat(row["at"]), row["outcome"], row["reason"], row["answer"])
        for row in reader.rows("SELECT * FROM outbox_attempt WHERE seq = ? ORDER BY id", [seq])
    ]


def _line(row: Row) -> OutboundLine:
    patient = names.short(PersonName(row["family"], row["given"], row["middle"]))
    state = OrderState(row["order_state"]) if row["order_state"] else None
    number, answer = row["accession_number"] or "", row["answer"] or ""
    return OutboundLine(outbox.from_row(row), number, patient, row["card"], answer, state)


def sent_json(reader: Reader, seq: int) -> str:
    """Return the exact JSON of the last attempt at a row; empty if it was not sent or was deleted."""
    packed = reader.value("SELECT sent FROM outbox WHERE seq = ?", [seq])
    return zlib.decompress(packed).decode("utf-8") if packed else ""
