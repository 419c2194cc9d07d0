"""The read side for the screens: plain rows for the day, a study's card, the exchange. It changes nothing.

Dates and times of the clinic's work are local; instants are aware UTC datetimes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from broker.domain import names
from broker.domain.devices import Device, ProcedureType
from broker.domain.messages import OutboxRow
from broker.domain.orders import Order, OrderState
from broker.domain.people import Patient, PersonName
from broker.domain.performed import PerformedStep
from broker.domain.reports import Report
from broker.store.database import Reader, Row
from broker.store.tables import devices, orders, outbox, patients, performed, reports
from broker.store.tables.devices import Note, Sample


@dataclass(frozen=True, slots=True)
class Visit:
    """A line of the day: one scheduled step and how it stands."""

    order: Order
    start: datetime
    station_ae_titles: tuple[str, ...]
    since: datetime  # UTC: since when the order is in its state
    seen_at: datetime | None  # UTC: when a device first got it on its list
    bus: str  # '' (nothing to send), 'pending', 'needs_attention' or 'delivered'
    reported: bool = False  # its report is signed


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A study that a modality made without an order."""

    step: PerformedStep
    device_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Orphan:
    """A modality's message that no step is known for: of one that was never begun here, or one that was refused."""

    sop_instance_uid: str
    ae_title: str
    device_name: str
    operation: str  # N-CREATE | N-SET
    outcome: str  # unknown | refused
    state: str  # the status that it tells, as it came
    at: datetime  # UTC


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A study whose patient contradicts the order that it is linked to; nothing of it goes to the region yet."""

    step: PerformedStep
    order: Order
    device_name: str


@dataclass(frozen=True, slots=True)
class Happening:
    """A line of a study's life. `what` is an audit action or one of seen, delivered, retry, needs_attention."""

    at: datetime
    what: str
    actor: str
    actor_kind: str
    details: dict[str, Any] = field(default_factory=dict)
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """Everything about one study."""

    order: Order
    since: datetime
    seen_at: datetime | None
    bus: str
    attention_reason: str
    performed: tuple[PerformedStep, ...]
    happenings: tuple[Happening, ...]  # newest first
    conflicts: dict[str, str] = field(default_factory=dict)  # SOP Instance UID -> what of the patient contradicts
    report: Report | None = None  # draft or signed
    report_doubted: bool = False  # images were taken away from the order after it was signed


@dataclass(frozen=True, slots=True)
class Message:
    """A line of the exchange's ledger."""

    row: OutboxRow
    accession_number: str
    patient: str  # «Фамилия И. О.»
    answer: str  # the bus's last answer as it came, cut
    state: OrderState  # of the order that it tells of


@dataclass(frozen=True, slots=True)
class Exchange:
    """How the exchange with the region stands."""

    waiting: int
    oldest: datetime | None
    channel: str  # ok | waiting | paused
    reason: str
    since: datetime | None
    retry_at: datetime | None
    answered_at: datetime | None
    needs_attention: tuple[Message, ...]
    ledger: tuple[Message, ...]  # newest first


@dataclass(frozen=True, slots=True)
class Heard:
    """A device, when it was last heard on each service, what it sent there, and what was noted of it."""

    device: Device
    services: dict[str, tuple[datetime, str, str]]  # service -> (UTC instant, address, summary)
    samples: tuple[Sample, ...] = ()  # oldest first
    notes: tuple[Note, ...] = ()  # newest first


_VISITS = (
    "SELECT s.order_id, s.start, o.state_since, o.reported,"
    " (SELECT min(d.at) FROM worklist_delivery d JOIN scheduled_step_station t ON t.step_id = d.step_id"
    " AND t.ae_title = d.ae_title WHERE d.step_id = s.id) AS seen,"  # by its own device, not by whoever asked
    " (SELECT group_concat(ae_title, char(10)) FROM"
    " (SELECT ae_title FROM scheduled_step_station WHERE step_id = s.id ORDER BY position)) AS stations,"
    " (SELECT CASE WHEN sum(state = 'needs_attention') THEN 'needs_attention'"
    " WHEN sum(state = 'pending') THEN 'pending'"
    " WHEN sum(state = 'delivered') THEN 'delivered' ELSE '' END FROM outbox b WHERE b.order_id = s.order_id) AS bus"
    " FROM scheduled_step s JOIN orders o ON o.id = s.order_id "
)


def day(reader: Reader, on: date, ae_title: str = "") -> list[Visit]:
    """Give everything planned for a day, on one device or on all, by time, the cancelled too."""
    rows = reader.rows(
        _VISITS + "WHERE s.start >= ?1 AND s.start < ?2 AND (?3 = '' OR EXISTS"
        " (SELECT 1 FROM scheduled_step_station t WHERE t.step_id = s.id AND t.ae_title = ?3))"
        " ORDER BY s.start, s.id",
        [on.isoformat(), (on + timedelta(days=1)).isoformat(), ae_title],
    )
    return _visits(reader, rows)


def recent(reader: Reader, created_since: datetime, limit: int = 5) -> list[Visit]:
    """Give what was registered last, newest first."""
    rows = reader.rows(
        _VISITS + "WHERE o.id > (SELECT coalesce(max(id), 0) - 500 FROM orders) AND o.authored_on >= ?"
        " ORDER BY o.id DESC LIMIT ?",
        [created_since.isoformat(), limit],
    )
    return _visits(reader, rows)


def history(reader: Reader, patient_id: int, limit: int = 8) -> list[Visit]:
    """Give what was planned or made for a patient here, newest first, without the cancelled."""
    rows = reader.rows(
        _VISITS + "WHERE o.patient_id = ? AND o.state <> 'cancelled' ORDER BY s.start DESC LIMIT ?", [patient_id, limit]
    )
    return _visits(reader, rows)


def studies(reader: Reader, typed: str, on: date, limit: int = 100) -> list[Visit]:
    """Find studies by accession number or by the beginnings of a patient's names; nothing typed gives the day."""
    typed = typed.strip()
    if not typed:
        return day(reader, on)
    exact = reader.rows(_VISITS + f"WHERE o.{orders.BEARS_NUMBER} ORDER BY s.id", [typed.upper()])
    if exact:
        return _visits(reader, exact)
    people = json.dumps([patient.id for patient in patients.search(reader, typed, 50)])
    rows = reader.rows(
        _VISITS + "WHERE o.patient_id IN (SELECT value FROM json_each(?)) ORDER BY s.start DESC LIMIT ?",
        [people, limit],
    )
    return _visits(reader, rows)


def find_patients(reader: Reader, typed: str, limit: int = 6) -> list[Patient]:
    """Find patients as a registrar types."""
    return patients.search(reader, typed, limit)


def procedures(reader: Reader) -> list[ProcedureType]:
    """Give the directory of procedures."""
    return devices.procedures(reader)


def stations(reader: Reader) -> list[Device]:
    """Give the approved devices."""
    return devices.all_devices(reader)


def heard(reader: Reader) -> list[Heard]:
    """Give every device, those only heard of too, and what is known of each."""
    services: dict[str, dict[str, tuple[datetime, str, str]]] = {}
    for row in reader.rows("SELECT * FROM device_contact"):
        services.setdefault(row["ae_title"], {})[row["service"]] = (
            datetime.fromisoformat(row["at"]),
            row["address"],
            row["summary"],
        )
    rows = reader.rows("SELECT * FROM device ORDER BY approved, name, ae_title")
    samples, notes = devices.samples(reader), devices.notes(reader)
    return [
        Heard(
            devices.from_row(row),
            services.get(row["ae_title"], {}),
            tuple(samples.get(row["ae_title"], ())),
            tuple(notes.get(row["ae_title"], ())),
        )
        for row in rows
    ]


def referrers(reader: Reader) -> list[tuple[str, str, str]]:
    """Give the doctors who referred lately, most frequent first: (full name, position, СНИЛС)."""
    rows = reader.rows(
        "SELECT trim(referrer_family || ' ' || referrer_given || ' ' || referrer_middle) AS name,"
        " referrer_position AS position, referrer_snils AS snils FROM orders"
        " WHERE referrer_family <> '' AND id > (SELECT coalesce(max(id), 0) - 2000 FROM orders)"
        " GROUP BY 1, 2, 3 ORDER BY count(*) DESC LIMIT 200"
    )
    return [(row["name"], row["position"], row["snils"]) for row in rows]


def unlinked(reader: Reader, since: datetime) -> list[Unlinked]:
    """Give the studies made without an order since an instant, newest first.

    One that was given up is none if its device told of its series and no image was in them: then nobody's images wait.
    """
    rows = reader.rows(
        "SELECT p.*, coalesce(d.name, p.ae_title) AS device_name FROM performed_step p"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE p.created_at >= ? AND p.source = 'modality'"
        " AND NOT EXISTS (SELECT 1 FROM performed_step_link l WHERE l.performed_step_id = p.id)"
        " AND NOT (p.state = 'DISCONTINUED' AND p.images = 0"
        " AND EXISTS (SELECT 1 FROM performed_series e WHERE e.performed_step_id = p.id)) ORDER BY p.id DESC",
        [since.isoformat()],
    )
    return [
        Unlinked(performed.from_row(row), row["device_name"], datetime.fromisoformat(row["created_at"])) for row in rows
    ]


def doubtful(reader: Reader) -> list[Doubtful]:
    """Give the studies whose patient, as the device named it, is perhaps not the order's; oldest first."""
    rows = reader.rows(
        "SELECT DISTINCT p.*, s.order_id, coalesce(d.name, p.ae_title) AS device_name FROM performed_step_link l"
        " JOIN performed_step p ON p.id = l.performed_step_id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " LEFT JOIN device d ON d.ae_title = p.ae_title WHERE l.conflict <> '' ORDER BY p.id"
    )
    found = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    return [Doubtful(performed.from_row(row), found[row["order_id"]], row["device_name"]) for row in rows]


def orphans(reader: Reader, since: datetime) -> list[Orphan]:
    """Give the messages since an instant that no step is known for, the newest of every step, newest first."""
    rows = reader.rows(
        "SELECT m.sop_instance_uid, m.ae_title, coalesce(d.name, m.ae_title) AS device_name, m.operation, m.outcome,"
        " m.status, m.at, max(m.id) AS newest"
        " FROM performed_step_message m LEFT JOIN device d ON d.ae_title = m.ae_title"
        " WHERE m.outcome IN ('unknown', 'refused') AND m.at >= ? AND NOT EXISTS"
        " (SELECT 1 FROM performed_step p WHERE p.sop_instance_uid = m.sop_instance_uid)"
        " GROUP BY m.sop_instance_uid ORDER BY newest DESC",
        [since.isoformat()],
    )
    return [
        Orphan(
            sop_instance_uid=row["sop_instance_uid"],
            ae_title=row["ae_title"],
            device_name=row["device_name"],
            operation=row["operation"],
            outcome=row["outcome"],
            state=row["status"],
            at=datetime.fromisoformat(row["at"]),
        )
        for row in rows
    ]


def performed_for(reader: Reader, order_ids: Iterable[int]) -> dict[int, list[PerformedStep]]:
    """Give what modalities did for these orders, oldest first; an order for which nothing was done is left out."""
    rows = reader.rows(
        "SELECT DISTINCT s.order_id, p.* FROM performed_step p JOIN performed_step_link l"
        " ON l.performed_step_id = p.id JOIN scheduled_step s ON s.id = l.scheduled_step_id"
        " WHERE s.order_id IN (SELECT value FROM json_each(?)) ORDER BY p.id",
        [json.dumps(list(order_ids))],
    )
    found: dict[int, list[PerformedStep]] = {}
    for row in rows:
        found.setdefault(row["order_id"], []).append(performed.from_row(row))
    return found


def card(reader: Reader, accession_number: str) -> Card | None:
    """Give everything about the study with this number, or None."""
    order = orders.by_accession_number(reader, accession_number)
    if order is None:
        return None
    visit = _visits(reader, reader.rows(_VISITS + "WHERE s.order_id = ? ORDER BY s.id", [order.id]))[0]
    steps = reader.rows(
        "SELECT DISTINCT p.* FROM performed_step p JOIN performed_step_link l ON l.performed_step_id = p.id"
        " JOIN scheduled_step s ON s.id = l.scheduled_step_id WHERE s.order_id = ? ORDER BY p.id",
        [order.id],
    )
    reason = reader.value("SELECT reason FROM outbox WHERE order_id = ? AND state = 'needs_attention'", [order.id])
    return Card(
        order=order,
        since=visit.since,
        seen_at=visit.seen_at,
        bus=visit.bus,
        attention_reason=reason or "",
        performed=tuple(performed.from_row(row) for row in steps),
        happenings=tuple(_happenings(reader, order.id)),
        conflicts=performed.conflicts(reader, order.id),
        report=reports.of_order(reader, order.id),
        report_doubted=reports.doubted(reader, order.id),
    )


_MESSAGES = (
    "SELECT b.*, o.accession_number, o.state AS order_state, p.family, p.given, p.middle,"
    " (SELECT answer FROM outbox_attempt a WHERE a.seq = b.seq ORDER BY a.id DESC LIMIT 1) AS answer"
    " FROM outbox b JOIN orders o ON o.id = b.order_id JOIN patient p ON p.id = o.patient_id "
)


def message(reader: Reader, seq: int) -> Message | None:
    """Give a line of the exchange's ledger, or None."""
    row = reader.one(_MESSAGES + "WHERE b.seq = ?", [seq])
    return _message(row) if row else None


def exchange(reader: Reader, ledger: int = 100) -> Exchange:
    """Give the state of the exchange: what waits, what was refused, what went lately."""
    queue = reader.one(
        "SELECT count(*) AS waiting, min(created_at) AS oldest FROM outbox"
        " WHERE state IN ('pending', 'needs_attention') AND state = 'pending'"  # the first condition is the index's own
    )
    channel = reader.one("SELECT * FROM bus_channel") or {}
    assert queue is not None
    return Exchange(
        waiting=queue["waiting"],
        oldest=_instant(queue["oldest"]),
        channel=channel.get("state", "ok"),
        reason=channel.get("reason", ""),
        since=_instant(channel.get("since")),
        retry_at=_instant(channel.get("retry_at")),
        answered_at=_instant(channel.get("answered_at")),
        needs_attention=tuple(
            _message(row) for row in reader.rows(_MESSAGES + "WHERE b.state = 'needs_attention' ORDER BY b.seq")
        ),
        ledger=tuple(_message(row) for row in reader.rows(_MESSAGES + "ORDER BY b.seq DESC LIMIT ?", [ledger])),
    )


def bus_content(reader: Reader, seq: int) -> str:
    """Give the exact JSON that was sent last; empty where nothing was, or it is not kept any more."""
    return outbox.sent_json(reader, seq)


def bus_evidence(reader: Reader, seq: int) -> list[tuple[datetime, str, str, str]]:
    """Give the attempts at one message, oldest first: (instant, outcome, reason, answer)."""
    return [
        (datetime.fromisoformat(row["at"]), row["outcome"], row["reason"], row["answer"])
        for row in reader.rows("SELECT * FROM outbox_attempt WHERE seq = ? ORDER BY id", [seq])
    ]


def _visits(reader: Reader, rows: list[Row]) -> list[Visit]:
    found = {order.id: order for order in orders.get_many(reader, list({row["order_id"] for row in rows}))}
    return [
        Visit(
            order=found[row["order_id"]],
            start=datetime.fromisoformat(row["start"]),
            station_ae_titles=tuple(row["stations"].split("\n")) if row["stations"] else (),
            since=datetime.fromisoformat(row["state_since"]),
            seen_at=_instant(row["seen"]),
            bus=row["bus"],
            reported=bool(row["reported"]),
        )
        for row in rows
    ]


def _happenings(reader: Reader, order_id: int) -> list[Happening]:
    """Join what people and devices did (audit), what devices were given, and what the bus answered."""
    lines = []
    for row in reader.rows("SELECT * FROM audit WHERE order_id = ?", [order_id]):
        details = json.loads(row["details"])
        lines.append(
            Happening(
                at=datetime.fromisoformat(row["at"]),
                what=row["action"],
                actor=row["actor_title"] or row["actor"],
                actor_kind=row["actor_kind"],
                details=details,
                evidence=_mpps_evidence(reader, row, details),
            )
        )
    for row in reader.rows(
        "SELECT d.at, d.ae_title, coalesce(v.name, d.ae_title) AS name FROM worklist_delivery d"
        " JOIN scheduled_step s ON s.id = d.step_id LEFT JOIN device v ON v.ae_title = d.ae_title WHERE s.order_id = ?",
        [order_id],
    ):
        lines.append(Happening(datetime.fromisoformat(row["at"]), "seen", row["name"], "device"))
    for row in reader.rows(
        "SELECT a.*, b.kind FROM outbox_attempt a JOIN outbox b ON b.seq = a.seq WHERE b.order_id = ?", [order_id]
    ):
        at, details = datetime.fromisoformat(row["at"]), {"kind": row["kind"], "reason": row["reason"]}
        lines.append(Happening(at, row["outcome"], "", "bus", details, row["answer"]))
    return sorted(lines, key=lambda line: line.at)[::-1]  # of one instant, what was written last comes first


def _mpps_evidence(reader: Reader, row: Row, details: dict[str, Any]) -> str:
    """Give the modality's message behind an audit line, as DICOM JSON; empty for what people did."""
    operation = {"start": "N-CREATE", "progress": "N-SET", "finish": "N-SET"}.get(row["action"])
    if operation is None:
        return ""
    text = reader.value(
        "SELECT attributes FROM performed_step_message WHERE sop_instance_uid = ? AND operation = ? AND at <= ?"
        " ORDER BY id DESC LIMIT 1",
        [details.get("sop_instance_uid", ""), operation, row["at"]],
    )
    return json.dumps(json.loads(text), ensure_ascii=False, indent=1) if text else ""


def _message(row: Row) -> Message:
    patient = names.short(PersonName(row["family"], row["given"], row["middle"]))
    state = OrderState(row["order_state"])
    return Message(outbox.from_row(row), row["accession_number"], patient, row["answer"] or "", state)


def _instant(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
