"""What the desk looks up while a person types: patients, procedures, referrers. Reads only."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

from broker.domain import identifiers, names
from broker.domain.devices import ProcedureType
from broker.domain.people import Patient
from broker.store.database import Reader
from broker.store.tables import devices, patient_merges
from broker.store.tables import patients as patients_table


def patients(reader: Reader, typed: str, limit: int = 8) -> list[Patient]:
    """Return patients by what a registrar types: beginnings of names, СНИЛС, policy, card number, date of birth.

    Words and a date may be mixed («куз мар 12.03.1961»). Every lookup is a range of an index.
    """
    words, born = [], None
    for word in names.fold(typed).split():
        day = _date(word)
        if day:
            born = day
        else:
            words.append(word)
    number = identifiers.digits(" ".join(words))
    if number and number.isdigit():
        return _by_number(reader, number, born, limit)
    if words:
        return _by_name(reader, words, born, limit)
    if born:
        rows = reader.rows(
            "SELECT * FROM patient WHERE birth_date = ? AND merged_into IS NULL ORDER BY name_key LIMIT ?",
            [born.isoformat(), limit],
        )
        return [patients_table.from_row(row) for row in rows]
    return []


class Referrer(NamedTuple):
    """A doctor who refers patients."""

    name: str  # full
    position: str
    snils: str  # 11 digits, or ""


def referrers(reader: Reader) -> list[Referrer]:
    """Return the doctors who referred lately, most frequent first."""
    rows = reader.rows(
        "SELECT trim(referrer_family || ' ' || referrer_given || ' ' || referrer_middle) AS name,"
        " referrer_position AS position, referrer_snils AS snils FROM orders"
        " WHERE referrer_family <> '' AND id > (SELECT coalesce(max(id), 0) - 2000 FROM orders)"
        " GROUP BY 1, 2, 3 ORDER BY count(*) DESC LIMIT 200"
    )
    return [Referrer(row["name"], row["position"], row["snils"]) for row in rows]


def procedures(reader: Reader) -> list[ProcedureType]:
    """Return the procedures that are offered, in the directory's own order."""
    rows = reader.rows("SELECT * FROM procedure_type WHERE hidden = 0 ORDER BY position, name")
    return [devices.procedure_from_row(row) for row in rows]


def _by_name(reader: Reader, words: list[str], born: date | None, limit: int) -> list[Patient]:
    """Search by the first word as the beginning of the family or given name, the rest as beginnings of words."""
    found: list[Patient] = []
    for column in ("name_key", "given_key"):
        rows = reader.rows(
            f"SELECT * FROM patient WHERE {column} >= :low AND {column} < :high"
            " AND merged_into IS NULL AND (:born = '' OR birth_date = :born) ORDER BY name_key LIMIT 500",
            {"low": words[0], "high": words[0] + patients_table.PREFIX_END, "born": born.isoformat() if born else ""},
        )
        for row in rows:
            key = row["name_key"].split(" ")
            if row["id"] not in {each.id for each in found} and all(
                any(part.startswith(word) for part in key) for word in words
            ):
                found.append(patients_table.from_row(row))
                if len(found) == limit:
                    return found
    return found


def _by_number(reader: Reader, number: str, born: date | None, limit: int) -> list[Patient]:
    found: dict[int, Patient] = {}
    for column in ("snils", "policy", "patient_id"):
        for row in reader.rows(
            f"SELECT * FROM patient WHERE {column} >= :low AND {column} < :high"
            " AND (:born = '' OR birth_date = :born) LIMIT :limit",
            {
                "low": number,
                "high": number + patients_table.PREFIX_END,
                "born": born.isoformat() if born else "",
                "limit": limit,
            },
        ):
            known = patients_table.get(reader, patients_table.surviving_id(reader, row["id"]))
            if known is not None:  # a merged card's number leads to the card that stayed
                found.setdefault(known.stored_id, known)
    for known in patient_merges.by_former_number(reader, number, limit):
        if born in (None, known.birth_date):
            found.setdefault(known.stored_id, known)
    return list(found.values())[:limit]


def _date(word: str) -> date | None:
    day, _, rest = word.partition(".")
    month, _, year = rest.partition(".")
    if not (day.isdigit() and month.isdigit() and year.isdigit() and len(year) == 4):
        return None
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None
