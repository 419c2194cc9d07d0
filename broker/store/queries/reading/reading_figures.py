"""Which studies two doctors have read, and what they found: for the figures of agreement. Reads only.

Only concluded studies are returned, so nothing is known of a study that still waits for a reader.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime

from broker.domain.reading.agreement import ReadPair
from broker.domain.reading.opinions import Read
from broker.store.database import Reader
from broker.store.tables.reading import reads


def pairs(reader: Reader, since: datetime, until: datetime) -> dict[str, list[ReadPair]]:
    """Return the pairs of reads whose study was signed between two instants (UTC): modality -> pairs."""
    rows = reader.rows(
        "SELECT r.*, o.modality FROM study_read r JOIN orders o ON o.id = r.order_id AND o.patient_id = r.patient_id"
        " JOIN report p ON p.order_id = o.id AND p.state = 'signed' AND p.signed_at >= ? AND p.signed_at < ?"
        " WHERE r.settled = 1 AND r.images = (SELECT max(l.images) FROM study_read l WHERE l.order_id = o.id"
        "  AND l.settled = 1) ORDER BY r.order_id, r.given_at, r.id",
        [since.isoformat(), until.isoformat()],
    )
    by_order: dict[tuple[str, int], list[Read]] = defaultdict(list)
    for row in rows:
        by_order[row["modality"], row["order_id"]].append(reads.from_row(row))
    modalities = {order_id: modality for modality, order_id in by_order}
    for read in reads.decided_together(reader, list(modalities)):
        made = by_order[modalities[read.order_id], read.order_id]
        if (read.images, read.patient_id) == (made[-1].images, made[-1].patient_id):
            made.append(read)
    found: dict[str, list[ReadPair]] = defaultdict(list)
    for (modality, _), made in by_order.items():
        if pair := _pair(made):
            found[modality].append(pair)
    return dict(found)


def names(reader: Reader) -> dict[str, str]:
    """Return the full names of those who have read: login -> name."""
    rows = reader.rows("SELECT login, full_name FROM account WHERE login IN (SELECT reader FROM study_read)")
    return {row["login"]: row["full_name"] for row in rows}


def _pair(made: list[Read]) -> ReadPair | None:
    both = [read for read in made if not read.arbitrates][:2]
    third = next((read for read in made if read.arbitrates), None)
    if len(both) < 2 or both[0].opinion is None or both[1].opinion is None:
        return None
    decided = third.opinion if third and third.opinion else both[0].opinion
    return ReadPair(
        both[0].reader, both[1].reader, both[0].opinion, both[1].opinion, decided, was_arbitrated=third is not None
    )
