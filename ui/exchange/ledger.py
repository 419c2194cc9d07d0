"""The rows of the exchange's ledger, outbound and inbound, in words. Pure: nothing is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, tzinfo
from typing import Any

from broker.domain.incoming import ArrivalRecord, ArrivalState
from broker.domain.messages import OutboxState
from broker.store.queries.exchange_state import OutboundLine
from ui.text import bus, words

COLUMNS = (
    ("time", "Время", "c-time nowrap", ""),
    ("number", "Номер", "c-rare mono", "c-rare"),
    ("what", "Сообщение", "c-patient cut", ""),
    ("answer", "Что стало", "c-what", ""),
)
ALL, OUT, IN = "all", "out", "in"
WAYS = {ALL: "Всё", OUT: "Отправлено", IN: "Получено"}


def rows(
    sent: Iterable[OutboundLine], received: Iterable[ArrivalRecord], show: str, zone: tzinfo, today: date, most: int
) -> list[dict[str, Any]]:
    """Return the table's rows, newest first: what was sent, what was received, or both; at most `most`."""
    lines: list[tuple[datetime, dict[str, Any]]] = []
    if show != IN:
        lines += [(sort_instant(message), _sent(message)) for message in sent]
    if show != OUT:
        lines += [(item.at, _received(item)) for item in received]
    lines.sort(key=lambda line: line[0], reverse=True)
    return [{**row, "time": words.moment(at, zone, today)} for at, row in lines[:most]]


def sort_instant(message: OutboundLine) -> datetime:
    """Return the instant by which a message is sorted."""
    return message.row.delivered_at or message.row.created_at


def sent_outcome(message: OutboundLine) -> tuple[str, str, str]:
    """Return the outcome of a sent message: icon, tone, words."""
    row = message.row
    match row.state:
        case OutboxState.DELIVERED:
            return "check", "green", f"Принято с {row.attempts}-й попытки" if row.attempts > 1 else "Принято"
        case OutboxState.NEEDS_ATTENTION if bus.is_incomplete(row.reason):
            return "schedule", "amber", f"Ждёт: {bus.bus_reason(row.reason)}"
        case OutboxState.NEEDS_ATTENTION:
            return "error", "red", bus.bus_reason(row.reason)
        case OutboxState.UNSUPPORTED:
            return "block", "amber", f"Не передано: {bus.bus_reason(row.reason)}"
        case OutboxState.DROPPED:
            return "remove", "slate", "Не понадобилось"
    return "schedule", "slate", f"Ждёт: {bus.bus_reason(row.reason)}" if row.reason else "Ждёт"


def received_outcome(item: ArrivalRecord) -> tuple[str, str, str]:
    """Return the outcome of a received message: icon, tone, words."""
    match item.state:
        case ArrivalState.NEEDS_ATTENTION:
            return "error", "red", f"Отложено: {bus.incoming_reason(item.reason)}"
        case ArrivalState.FAILED:
            return "schedule", "slate", f"Повторим: {bus.bus_reason(item.reason)}"
    return "check", "green", "Принято"


def _sent(message: OutboundLine) -> dict[str, Any]:
    icon, tone, answer = sent_outcome(message)
    row = message.row
    return {
        "id": f"out/{row.seq}",
        "way": "north_east",
        "number": message.accession_number,
        "what": f"{bus.MESSAGES[row.kind]}, {message.patient}",
        "answer": answer,
        "icon": icon,
        "tone": tone,
    }


def _received(item: ArrivalRecord) -> dict[str, Any]:
    icon, tone, answer = received_outcome(item)
    source = "" if item.source == "bus" else f" ({item.source})"
    return {
        "id": f"in/{item.id}",
        "way": "south_west",
        "number": item.accession_number,
        "what": f"{bus.ARRIVALS[item.kind]}{source}",
        "answer": answer,
        "icon": icon,
        "tone": tone,
    }
