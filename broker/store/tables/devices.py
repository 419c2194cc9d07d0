"""The registry of modalities, their last contacts, notes and samples; and the directory of procedures.

Samples contain no patient's data: they are masked before they are stored (`dicom.devices.samples`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from broker.domain.clinic.devices import Device, ProcedureType
from broker.domain.clinic.turned_away import TurnedAway, TurnedAwayReason
from broker.store import rows
from broker.store.database import Reader, Row, Store, Tx

AFTER_DEFAULTS = 1_000_000  # position of imported procedures, which are thus sorted by name
MAX_UNTITLED = 50  # addresses of callers without an AE title that are stored, those of the latest calls
MAX_UNAPPROVED = 200  # unapproved devices that are stored; then the one with the oldest contact is deleted

TURNED_AWAY = "refused"  # the service of a contact that came to nothing


@dataclass(frozen=True, slots=True)
class DeviceSample:
    """A message of a device (service: worklist, N-CREATE or N-SET): masked attributes in the DICOM JSON model."""

    service: str
    which: str  # first | latest
    attributes: dict[str, Any]
    at: datetime  # UTC


@dataclass(frozen=True, slots=True)
class DeviceNote:
    """A note about a device for people: its kind, how often it was made, and the latest text."""

    kind: str
    text: str
    count: int
    at: datetime  # UTC, the last time


def revision(store: Store) -> int:
    """Return a number that changes when a device is added, changed or deleted, by any process. Cheap."""
    return store.number("SELECT value FROM counter WHERE name = 'devices'")


def get(reader: Reader, ae_title: str) -> Device | None:
    """Return a device, approved or not, or None."""
    row = reader.one("SELECT * FROM device WHERE ae_title = ?", [ae_title])
    return from_row(row) if row else None


def put(tx: Tx, device: Device) -> None:
    """Insert a device, or write it over the one with its AE title."""
    values = {**asdict(device), "created_at": tx.now.isoformat()}
    rows.upsert(tx, "device", values, key=["ae_title"], once=["created_at"])


def learn(tx: Tx, ae_title: str, address: str) -> None:
    """Store the AE title and address of an unknown caller, not approved; an approved device does not change.

    At most MAX_UNAPPROVED are stored, so that invented AE titles cannot fill the table.
    """
    known = get(tx, ae_title)
    if known is not None:
        if not known.approved and known.address != address:
            tx.run("UPDATE device SET address = ? WHERE ae_title = ?", [address, ae_title])
            tx.notify()
        return
    tx.run(
        "INSERT INTO device (ae_title, name, modality, address, approved, created_at)"
        " VALUES (:ae_title, :ae_title, '', :address, 0, :now)",
        {"ae_title": ae_title, "address": address, "now": tx.now.isoformat()},
    )
    tx.run(
        "DELETE FROM device WHERE ae_title IN (SELECT d.ae_title FROM device d WHERE d.approved = 0"
        " ORDER BY max(d.created_at, coalesce((SELECT max(h.at) FROM device_contact h WHERE h.ae_title = d.ae_title),"
        " '')) DESC, d.ae_title = :new DESC LIMIT -1 OFFSET :most)",
        {"most": MAX_UNAPPROVED, "new": ae_title},
    )
    tx.notify()


def note_contact(tx: Tx, ae_title: str, service: str, address: str, summary: str) -> None:
    """Record a known device's last contact on a service, with a short summary of the request."""
    tx.run(
        "INSERT INTO device_contact (ae_title, service, at, address, summary)"
        " SELECT :ae_title, :service, :now, :address, :summary WHERE EXISTS"
        " (SELECT 1 FROM device WHERE ae_title = :ae_title)"
        " ON CONFLICT (ae_title, service) DO UPDATE SET at = excluded.at, address = excluded.address,"
        " summary = excluded.summary",
        {
            "ae_title": ae_title,
            "service": service,
            "now": tx.now.isoformat(),
            "address": address,
            "summary": summary,
        },
    )


def note_turned_away(tx: Tx, ae_title: str, address: str, found: TurnedAway) -> None:
    """Record why a known device, approved or not, was turned away; it is a contact like those on the services."""
    note_contact(tx, ae_title, TURNED_AWAY, address, _summary(found))


def note_untitled(tx: Tx, address: str, found: TurnedAway) -> None:
    """Record a call that was turned away and names no AE title to know the device by, under its address."""
    rows.upsert(
        tx, "untitled_caller", {"address": address, "at": tx.now.isoformat(), "summary": _summary(found)}, ["address"]
    )
    tx.run(
        "DELETE FROM untitled_caller WHERE address IN"
        " (SELECT address FROM untitled_caller ORDER BY at DESC, address = ? DESC LIMIT -1 OFFSET ?)",
        [address, MAX_UNTITLED],
    )
    tx.notify()


def _summary(found: TurnedAway) -> str:
    return json.dumps([found.reason, *found.details], ensure_ascii=False)


def turned_away(summary: str) -> TurnedAway | None:
    """Return the reason that a contact on TURNED_AWAY holds; None of one by an earlier version."""
    try:
        reason, *details = json.loads(summary)
        return TurnedAway(TurnedAwayReason(reason), tuple(details))
    except (ValueError, TypeError):
        return None


def note(tx: Tx, ae_title: str, kind: str, text: str) -> None:
    """Record a note about a known device for people to read, one a kind; `text` must not contain a patient's name."""
    tx.run(
        "INSERT INTO device_note (ae_title, kind, text, at)"
        " SELECT :ae_title, :kind, :text, :now WHERE EXISTS (SELECT 1 FROM device WHERE ae_title = :ae_title)"
        " ON CONFLICT (ae_title, kind) DO UPDATE SET text = excluded.text, at = excluded.at, count = count + 1",
        {"ae_title": ae_title, "kind": kind, "text": text, "now": tx.now.isoformat()},
    )


def keep_sample(tx: Tx, ae_title: str, service: str, attributes: dict[str, Any]) -> None:
    """Store what a known device sent as its latest message on a service, and as its first if there is none."""
    values = {
        "ae_title": ae_title,
        "service": service,
        "attributes": json.dumps(attributes, ensure_ascii=False),
        "now": tx.now.isoformat(),
    }
    for which in ("first", "latest"):
        tx.run(
            "INSERT INTO device_sample (ae_title, service, which, attributes, at)"
            " SELECT :ae_title, :service, :which, :attributes, :now"
            " WHERE EXISTS (SELECT 1 FROM device WHERE ae_title = :ae_title)"
            " ON CONFLICT (ae_title, service, which) DO UPDATE SET attributes = excluded.attributes, at = excluded.at"
            " WHERE which = 'latest'",
            {**values, "which": which},
        )


def samples(reader: Reader, ae_title: str = "") -> dict[str, list[DeviceSample]]:
    """Return the samples of every device, or of one: AE title -> samples, the oldest first."""
    found: dict[str, list[DeviceSample]] = {}
    for row in reader.rows(
        "SELECT * FROM device_sample WHERE :ae_title IN ('', ae_title) ORDER BY ae_title, at, which, service",
        {"ae_title": ae_title},
    ):
        sample = DeviceSample(
            row["service"], row["which"], json.loads(row["attributes"]), datetime.fromisoformat(row["at"])
        )
        found.setdefault(row["ae_title"], []).append(sample)
    return found


def notes(reader: Reader) -> dict[str, list[DeviceNote]]:
    """Return the notes on each device: AE title -> notes, the newest first."""
    found: dict[str, list[DeviceNote]] = {}
    for row in reader.rows("SELECT * FROM device_note ORDER BY ae_title, at DESC, kind"):
        noted = DeviceNote(row["kind"], row["text"], row["count"], datetime.fromisoformat(row["at"]))
        found.setdefault(row["ae_title"], []).append(noted)
    return found


def procedure(reader: Reader, code: str) -> ProcedureType | None:
    """Return a procedure of the directory, offered or not, or None."""
    row = reader.one("SELECT * FROM procedure_type WHERE code = ?", [code])
    return procedure_from_row(row) if row else None


def is_offered(reader: Reader, code: str) -> bool:
    """Return True if a procedure may be chosen; hidden procedures are stored for the orders that have them."""
    return reader.value("SELECT 1 FROM procedure_type WHERE code = ? AND hidden = 0", [code]) is not None


def offer_official(tx: Tx, wanted: Iterable[ProcedureType]) -> None:
    """Offer these official procedures and no others; one that orders have is hidden, any other is deleted."""
    codes = set()
    for each in wanted:
        codes.add(each.code)
        tx.run(
            "INSERT INTO procedure_type (code, name, modality, minutes, local, body_site, position)"
            " VALUES (?, ?, ?, ?, 0, ?, ?) ON CONFLICT (code) DO UPDATE SET name = excluded.name,"
            " modality = excluded.modality, minutes = excluded.minutes, local = 0, body_site = excluded.body_site,"
            " position = excluded.position, hidden = 0",
            [each.code, each.name, each.modality, each.minutes, each.body_site, AFTER_DEFAULTS],
        )
    known = {row["code"] for row in tx.rows("SELECT code FROM procedure_type WHERE local = 0")}
    _withdraw(tx, known - codes)


def withdraw_local(tx: Tx, codes: Iterable[str]) -> None:
    """Withdraw these local procedures, as `offer_official` does."""
    offered = {row["code"] for row in tx.rows("SELECT code FROM procedure_type WHERE local = 1 AND hidden = 0")}
    _withdraw(tx, offered.intersection(codes))


def _withdraw(tx: Tx, codes: Iterable[str]) -> None:
    values = [json.dumps(list(codes))]
    tx.run("UPDATE procedure_type SET hidden = 1 WHERE code IN (SELECT value FROM json_each(?))", values)
    tx.run(
        "DELETE FROM procedure_type WHERE code IN (SELECT value FROM json_each(?))"
        " AND code NOT IN (SELECT procedure_code FROM orders)",
        values,
    )


def place_body_sites(tx: Tx, sites: Mapping[str, str]) -> None:
    """Set the body sites of official procedures: code of procedure -> code of body site."""
    for code, site in sites.items():
        tx.run("UPDATE procedure_type SET body_site = ? WHERE code = ? AND local = 0", [site, code])


def fill_procedures(tx: Tx, defaults: Iterable[ProcedureType]) -> None:
    """Insert default procedures into an empty directory; one with entries is left unchanged."""
    if tx.value("SELECT 1 FROM procedure_type LIMIT 1"):
        return
    for position, each in enumerate(defaults):
        tx.run(
            "INSERT INTO procedure_type (code, name, modality, minutes, local, body_site, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [each.code, each.name, each.modality, each.minutes, int(each.local), each.body_site, position],
        )


def from_row(row: Row) -> Device:
    """Return the Device of a row of its table."""
    flags = {name: bool(row[name]) for name in ("approved", "own_only", "strict_mpps", "for_others", "own_study_uids")}
    return Device(**{each.name: row[each.name] for each in fields(Device)} | flags)


def procedure_from_row(row: Row) -> ProcedureType:
    """Return the procedure of a row of `procedure_type`."""
    return ProcedureType(
        code=row["code"],
        name=row["name"],
        modality=row["modality"],
        minutes=row["minutes"],
        local=bool(row["local"]),
        body_site=row["body_site"],
    )
