"""Imported directories for screens and commands: what a person may choose from. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from broker.domain.clinic.directory import Entry, search_key
from broker.store.database import Reader
from broker.store.tables import (
    directories,
)

MAX_WORDS = 8  # of what is typed into a search


_LAST = chr(0x10FFFF)


# Cyrillic look-alikes of the Latin letters of ICD-10: typed with the wrong keyboard layout.
_LATIN = str.maketrans("АВЕКМНОРСТХавекмнорстх", "ABEKMHOPCTXabekmhopctx")


@dataclass(frozen=True, slots=True)
class DirectoryImport:
    """Where a kind's entries come from. `system` is an OID or empty, `version` is the register's or empty."""

    kind: str
    system: str
    version: str
    file: str
    entries: int
    at: datetime  # UTC


def search(reader: Reader, kind: str, typed: str, limit: int = 20) -> list[Entry]:
    """Find entries whose code begins so, then those whose name has words that begin so, names that begin so first."""
    typed = typed.strip()
    latin = typed.translate(_LATIN)
    # Codes are stored in one case: upper (ICD-10) or lower (GUID).
    codes = [
        str(row["code"])
        for prefix in dict.fromkeys((typed, latin.upper(), latin.lower()))
        for row in reader.rows(
            "SELECT code FROM directory WHERE kind = ? AND code >= ? AND code < ? ORDER BY code LIMIT ?",
            [kind, prefix, prefix + _LAST, limit if typed else 0],
        )
    ]
    words = [f" {word}" for word in search_key(typed).split()[:MAX_WORDS]]
    if len(codes) < limit and (words or not typed):
        # A covering index: rows are read only for the entries that are found.
        found = reader.rows(
            "SELECT code FROM directory INDEXED BY directory_name WHERE kind = :kind"
            + "".join(f" AND instr(name_key, :word{place})" for place in range(len(words)))
            + " ORDER BY instr(name_key, :phrase) <> 1, CASE WHEN :kind = 'diagnoses' THEN code ELSE name_key END, code"
            " LIMIT :limit",
            {
                "kind": kind,
                "limit": limit,
                "phrase": "".join(words),
                **{f"word{place}": word for place, word in enumerate(words)},
            },
        )
        codes += [str(row["code"]) for row in found]
    wanted = list(dict.fromkeys(codes))[:limit]
    entries = {entry.code: entry for entry in directories.several(reader, kind, wanted)}
    return [entries[code] for code in wanted]


def imported(reader: Reader) -> list[DirectoryImport]:
    """Return what has been imported, by kind."""
    return [
        DirectoryImport(
            row["kind"],
            row["system"],
            row["version"],
            row["file"],
            row["entries"],
            datetime.fromisoformat(row["at"]),
        )
        for row in reader.rows("SELECT * FROM directory_import ORDER BY kind")
    ]


def insurers(reader: Reader) -> dict[str, str]:
    """Return the insurers of the directory: code -> name."""
    return {entry.code: entry.name for entry in directories.entries(reader, "insurers")}


def insurer_name(reader: Reader, insurer: str) -> str:
    """Return an insurer's code with its name; as it is stored where the directory does not have it."""
    entry = directories.get(reader, "insurers", insurer) if insurer else None
    return f"{entry.code} {entry.name}" if entry else insurer


def organisation_name(reader: Reader, guid: str) -> str:
    """Return an organisation's name; empty where its GUID is not in the directory."""
    entry = directories.get(reader, "organisations", guid.casefold())
    return entry.name if entry else ""
