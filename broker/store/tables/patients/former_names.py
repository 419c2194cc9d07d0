"""Names that cards had before: of cards that were merged into others, and of those that corrections have changed."""

from __future__ import annotations

import json
from collections.abc import Collection

from broker.domain.patients import names
from broker.domain.patients.people import PersonName
from broker.store import rows
from broker.store.database import Reader, Tx


def keep(tx: Tx, patient_id: int, former: PersonName, *, same_person: bool = True) -> None:
    """Keep a name that a card had, so that it leads there.

    Without `same_person` the card has become another person's: then no former name of it is that person's.
    """
    if not same_person:
        tx.run("UPDATE patient_former_name SET same_person = 0 WHERE patient_id = ?", [patient_id])
    values = {
        "patient_id": patient_id,
        "family": former.family,
        "given": former.given,
        "middle": former.middle,
        "name_key": names.fold(str(former)),
        "same_person": int(same_person),
        "at": tx.now.isoformat(),
    }
    rows.upsert(tx, "patient_former_name", values, ("patient_id", "name_key"))


def forget(tx: Tx, patient_id: int, name: PersonName) -> None:
    """Forget a former name of a card: it is in force again, or was never this card's."""
    key = names.fold(str(name))
    tx.run("DELETE FROM patient_former_name WHERE patient_id = ? AND name_key = ?", [patient_id, key])


def renamed(tx: Tx, patient_id: int, before: PersonName, after: PersonName, *, same_person: bool = True) -> None:
    """Keep the name that a card had, if it has another one now, which is no former one any more."""
    if names.fold(str(before)) != names.fold(str(after)):
        keep(tx, patient_id, before, same_person=same_person)
        forget(tx, patient_id, after)


def of_cards(reader: Reader, ids: Collection[int], *, same_person: bool = False) -> list[PersonName]:
    """Return the former names of these cards, the latest first; with `same_person` only those of whom it is now."""
    found = reader.rows(
        "SELECT * FROM patient_former_name WHERE patient_id IN (SELECT value FROM json_each(?)) AND same_person >= ?"
        " ORDER BY at DESC, id DESC",
        [json.dumps(list(ids)), int(same_person)],
    )
    return [PersonName(row["family"], row["given"], row["middle"]) for row in found]
