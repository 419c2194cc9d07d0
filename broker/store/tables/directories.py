"""Directories that were imported from official exports or from the clinic's own tables: stored and replaced as a whole.

Orders have copies of code and name, so a deleted entry does not change them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from broker.domain.clinic.directory import Entry, entry_key
from broker.domain.patients import names
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class ImportChange:
    """What an import did to a kind's entries."""

    before: int
    added: int
    changed: int
    gone: int


def several(reader: Reader, kind: str, codes: Collection[str]) -> list[Entry]:
    """Return the entries with these codes; unknown codes are left out."""
    rows = reader.rows(
        "SELECT * FROM directory WHERE kind = ? AND code IN (SELECT value FROM json_each(?))",
        [kind, json.dumps(list(codes))],
    )
    return [entry_from_row(row) for row in rows]


def get(reader: Reader, kind: str, code: str) -> Entry | None:
    """Return an entry, or None."""
    row = reader.one("SELECT * FROM directory WHERE kind = ? AND code = ?", [kind, code])
    return entry_from_row(row) if row else None


def entries(reader: Reader, kind: str) -> list[Entry]:
    """Return all entries of a kind, by code."""
    return [entry_from_row(row) for row in reader.rows("SELECT * FROM directory WHERE kind = ? ORDER BY code", [kind])]


def version(reader: Reader, kind: str) -> str:
    """Return the version of a kind's directory; empty where none is imported or its version is not known."""
    return str(reader.value("SELECT version FROM directory_import WHERE kind = ?", [kind]) or "")


def versions(reader: Reader) -> dict[str, str]:
    """Return the versions of the code systems that are imported: OID -> version."""
    rows = reader.rows("SELECT system, version FROM directory_import WHERE system <> '' AND version <> ''")
    return {row["system"]: row["version"] for row in rows}


def positions(reader: Reader) -> dict[str, tuple[str, str]]:
    """Return the codes of positions: folded title -> (code of position, code of specialty or empty).

    From the directory of positions and the one of doctors; a specialty is known if all doctors with the position have
    the same. «врач-рентгенолог» is found as «рентгенолог» too, unless that is the title of another position.
    """
    found: dict[str, tuple[str, str]] = {}
    short: dict[str, set[str]] = {}
    for entry in entries(reader, "positions"):
        found[names.fold(entry.name)] = entry.code, entry.details.get("specialty_code", "")
    specialties: dict[str, set[str]] = {}
    for doctor in entries(reader, "doctors"):
        title = names.fold(doctor.details.get("position", ""))
        if code := doctor.details.get("position_code"):
            found.setdefault(title, (code, ""))
        if specialty := doctor.details.get("specialty_code"):
            specialties.setdefault(title, set()).add(specialty)
    for title, codes in specialties.items():
        if title in found and not found[title][1] and len(codes) == 1:
            found[title] = found[title][0], next(iter(codes))
    for title in found:
        if rest := re.sub(r"^врач[- ]", "", title):
            short.setdefault(rest, set()).add(title)
    aliases = {rest: found[next(iter(titles))] for rest, titles in short.items() if len(titles) == 1}
    return {title: codes for title, codes in (aliases | found).items() if title}


def replace(tx: Tx, kind: str, system: str, version: str, file: str, new: Iterable[Entry]) -> ImportChange:
    """Replace all entries of a kind; the codes of `new` must be unique."""
    before = _count(tx, kind)
    codes = []
    written = 0
    for entry in new:
        codes.append(entry.code)
        written += tx.change(
            "INSERT INTO directory (kind, code, name, name_key, details) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (kind, code) DO UPDATE SET name = excluded.name, name_key = excluded.name_key,"
            " details = excluded.details WHERE (name, details) IS NOT (excluded.name, excluded.details)",
            [
                kind,
                entry.code,
                entry.name,
                entry_key(entry),
                json.dumps(dict(entry.details), ensure_ascii=False, sort_keys=True),
            ],
        )
    added = _count(tx, kind) - before
    gone = tx.change(
        "DELETE FROM directory WHERE kind = ? AND code NOT IN (SELECT value FROM json_each(?))",
        [kind, json.dumps(codes)],
    )
    tx.run(
        "INSERT INTO directory_import (kind, system, version, file, entries, at) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (kind) DO UPDATE SET system = excluded.system, version = excluded.version,"
        " file = excluded.file, entries = excluded.entries, at = excluded.at",
        [kind, system, version, file, len(codes), tx.now.isoformat()],
    )
    tx.notify()
    return ImportChange(before, added, written - added, gone)


def _count(reader: Reader, kind: str) -> int:
    return int(reader.value("SELECT count(*) FROM directory WHERE kind = ?", [kind]))


def entry_from_row(row: Row) -> Entry:
    """Return the entry of a row of `directory`."""
    return Entry(row["code"], row["name"], json.loads(row["details"]))
