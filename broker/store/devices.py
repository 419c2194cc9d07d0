"""The registry of modalities, when each was last heard, and the directory of procedures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields

from broker.domain.model import Device, ProcedureType
from broker.store.database import Reader, Row, Tx


def get(reader: Reader, ae_title: str) -> Device | None:
    """Give a device, adopted or only heard of, or None."""
    row = reader.one("SELECT * FROM device WHERE ae_title = ?", [ae_title])
    return from_row(row) if row else None


def all_devices(reader: Reader) -> list[Device]:
    """Give every adopted device, by name."""
    return [from_row(row) for row in reader.rows("SELECT * FROM device WHERE adopted = 1 ORDER BY name, ae_title")]


def put(tx: Tx, device: Device) -> None:
    """Keep a device, over what was known of its AE title."""
    tx.run(
        "INSERT INTO device (ae_title, name, modality, room, address, charset, adopted, fallback_charset, longest,"
        " own_only, days_before, days_after, closed_hours, strict_mpps, mpps_hours, created_at)"
        " VALUES (:ae_title, :name, :modality, :room, :address, :charset, :adopted, :fallback_charset, :longest,"
        " :own_only, :days_before, :days_after, :closed_hours, :strict_mpps, :mpps_hours, :now)"
        " ON CONFLICT (ae_title) DO UPDATE SET name = excluded.name, modality = excluded.modality,"
        " room = excluded.room, address = excluded.address, charset = excluded.charset, adopted = excluded.adopted,"
        " fallback_charset = excluded.fallback_charset, longest = excluded.longest, own_only = excluded.own_only,"
        " days_before = excluded.days_before, days_after = excluded.days_after,"
        " closed_hours = excluded.closed_hours, strict_mpps = excluded.strict_mpps, mpps_hours = excluded.mpps_hours",
        {**asdict(device), "now": tx.now.isoformat()},
    )


def learn(tx: Tx, ae_title: str, address: str) -> None:
    """Keep an unknown caller's AE title and address, not yet adopted; a known one is left alone."""
    tx.run(
        "INSERT OR IGNORE INTO device (ae_title, name, modality, address, adopted, created_at)"
        " VALUES (:ae_title, :ae_title, '', :address, 0, :now)",
        {"ae_title": ae_title, "address": address, "now": tx.now.isoformat()},
    )


def hear(tx: Tx, ae_title: str, service: str, address: str, summary: str) -> None:
    """Note when a known device was last heard on a service, and what it wanted in a few words."""
    tx.run(
        "INSERT INTO device_heard (ae_title, service, at, address, summary)"
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


def procedure(reader: Reader, code: str) -> ProcedureType | None:
    """Give a procedure of the directory, or None."""
    row = reader.one("SELECT * FROM procedure_type WHERE code = ?", [code])
    return _procedure(row) if row else None


def procedures(reader: Reader) -> list[ProcedureType]:
    """Give the directory of procedures in its own order."""
    return [_procedure(row) for row in reader.rows("SELECT * FROM procedure_type ORDER BY position, name")]


def fill_procedures(tx: Tx, starter: Iterable[ProcedureType]) -> None:
    """Put a starter set into an empty directory; one that has anything in it is left alone."""
    if tx.value("SELECT 1 FROM procedure_type LIMIT 1"):
        return
    for position, each in enumerate(starter):
        tx.run(
            "INSERT INTO procedure_type (code, name, modality, minutes, local, body_site, position)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            [each.code, each.name, each.modality, each.minutes, int(each.local), each.body_site, position],
        )


def from_row(row: Row) -> Device:
    """Make a Device of a row of its table."""
    flags = {name: bool(row[name]) for name in ("adopted", "own_only", "strict_mpps")}
    return Device(**{each.name: row[each.name] for each in fields(Device)} | flags)


def _procedure(row: Row) -> ProcedureType:
    return ProcedureType(
        code=row["code"],
        name=row["name"],
        modality=row["modality"],
        minutes=row["minutes"],
        local=bool(row["local"]),
        body_site=row["body_site"],
    )
