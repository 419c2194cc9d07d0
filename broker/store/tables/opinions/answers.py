"""Our signed answers to other clinics' requests; the database keeps what was signed."""

from __future__ import annotations

from broker.domain.opinions.requests import OpinionAnswer
from broker.domain.patients.people import PersonName
from broker.store import rows
from broker.store.database import Reader, Tx

_PLAIN = ("incoming_id", "description", "conclusion", "recommendations", "author", "author_snils", "author_position")


def of_request(reader: Reader, incoming_id: int) -> OpinionAnswer | None:
    """Return the answer to an incoming request, or None."""
    row = reader.one("SELECT * FROM opinion_answer WHERE incoming_id = ?", [incoming_id])
    if row is None:
        return None
    signed_at = rows.instant(row["signed_at"])
    assert signed_at is not None  # NOT NULL
    return OpinionAnswer(
        **{name: row[name] for name in _PLAIN},
        author_name=PersonName(row["author_family"], row["author_given"], row["author_middle"]),
        signed_at=signed_at,
    )


def add(tx: Tx, answer: OpinionAnswer) -> None:
    """Store an answer; it cannot be changed afterwards."""
    name = answer.author_name
    values: dict[str, object] = {each: getattr(answer, each) for each in _PLAIN}
    values |= {"author_family": name.family, "author_given": name.given, "author_middle": name.middle}
    rows.insert(tx, "opinion_answer", values | {"signed_at": answer.signed_at.isoformat()})
