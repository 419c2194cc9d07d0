"""What the desk looks up while a person types: patients, procedures, referrers. Reads only."""

from __future__ import annotations

from typing import NamedTuple

from broker.domain.clinic.devices import ProcedureType
from broker.store.database import Reader
from broker.store.tables import devices


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
