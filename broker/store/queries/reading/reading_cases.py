"""What readers have before them: the studies that each may read, and what can still be taken back. Reads only.

Nothing of what others have found is returned, only whether a study waits for a first, a second or a third reader.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from broker.domain.orders import Order, Priority
from broker.domain.reading import opinions
from broker.domain.reading.opinions import Deferral, Read, ReadingRules, ReadingStage
from broker.domain.reading.report_templates import ReportTemplate
from broker.store.database import Reader
from broker.store.tables import orders
from broker.store.tables.reading import reads, report_templates, reports
from broker.store.tables.studies import archive

MOST = 2000  # studies that are looked at for one list
# How many reads a study needs, of `reading_needed` n and `double_procedure` d.
_NEEDED = "coalesce(n.reads, 1 + (d.code IS NOT NULL))"


@dataclass(frozen=True, slots=True)
class WaitingCase:
    """A study that waits for a reader."""

    order: Order
    since: datetime  # UTC: since when it is completed
    stage: ReadingStage
    needed: int  # reads: 1 or 2
    is_free: bool  # this reader may open it now

    @property
    def queue(self) -> tuple[str, int]:
        """What belongs together when it is read: modality and number of reads."""
        return self.order.modality, self.needed


@dataclass(frozen=True, slots=True)
class HeldRead:
    """A read of this reader that can still be taken back."""

    order: Order
    read: Read


def waiting(reader: Reader, login: str, rules: ReadingRules, now: datetime, since: datetime) -> list[WaitingCase]:
    """Return the studies that this reader may read, urgent ones first, then the oldest; `now` and `since` are UTC.

    Of two that are equally old, the one with a read comes first: it is nearer to its answer. Left out: what waits for
    a person (images in doubt), is put aside, held or referred by this reader, or has an own read.
    """
    rows = reader.rows(
        f"SELECT o.id, o.state_since, {_NEEDED} AS needed, o.referrer_snils,"
        " coalesce(l.reader, '') AS lessee, coalesce(r.state, '') AS report"
        " FROM orders o LEFT JOIN reading_needed n ON n.order_id = o.id"
        " LEFT JOIN double_procedure d ON d.code = o.procedure_code"
        " LEFT JOIN reading_lease l ON l.order_id = o.id AND l.purpose = 'report' AND l.until > :now"
        " LEFT JOIN report r ON r.order_id = o.id AND r.reading = 1"
        f" WHERE {orders.UNREPORTED} AND o.state_since >= :since"
        " AND NOT EXISTS (SELECT 1 FROM reading_deferral f WHERE f.order_id = o.id)"
        " AND NOT EXISTS (SELECT 1 FROM scheduled_step s JOIN performed_step_link k ON k.scheduled_step_id = s.id"
        "  WHERE s.order_id = o.id AND k.conflict <> '')"
        f" AND NOT EXISTS ({archive.DISPUTED.format(order='o.id')})"
        " AND EXISTS (SELECT 1 FROM scheduled_step s JOIN performed_step_link k ON k.scheduled_step_id = s.id"
        "  JOIN performed_step p ON p.id = k.performed_step_id WHERE s.order_id = o.id AND p.state = 'COMPLETED')"
        " ORDER BY o.priority = 'urgent' DESC, o.state_since, o.id LIMIT :most",
        {"now": now.isoformat(), "since": since.isoformat(), "most": MOST},
    )
    snils = str(reader.value("SELECT snils FROM account WHERE login = ?", [login]) or "")
    counting = _counting(reader, [row["id"] for row in rows])
    found = {order.id: order for order in orders.get_many(reader, [row["id"] for row in rows])}
    cases = []
    for row in rows:
        # What one doctor has begun to write is written to its end where it was begun.
        if row["report"] == "signed" or (row["report"] and row["needed"] == 1):
            continue
        if snils and snils == row["referrer_snils"] and not rules.own_referrals:
            continue
        case = opinions.case(counting.get(row["id"], []), row["needed"], rules, now)
        if case.stage is ReadingStage.CONCLUDED or case.held is not None or case.is_reader(login):
            continue
        since_when = datetime.fromisoformat(row["state_since"])
        is_free = row["lessee"] in ("", login)
        cases.append(WaitingCase(found[row["id"]], since_when, case.stage, row["needed"], is_free))
    return sorted(
        cases,
        key=lambda each: (
            each.order.priority is not Priority.URGENT,
            each.since.replace(second=0, microsecond=0),
            each.stage is ReadingStage.FIRST,
        ),
    )


def held(reader: Reader, login: str, now: datetime) -> list[HeldRead]:
    """Return what a reader can still take back, the newest first."""
    rows = reader.rows(
        "SELECT * FROM study_read WHERE given_at IS NOT NULL AND settled = 0 AND reader = ? AND stands_at > ?"
        " ORDER BY given_at DESC, id DESC",
        [login, now.isoformat()],
    )
    found = {order.id: order for order in orders.get_many(reader, [row["order_id"] for row in rows])}
    return [HeldRead(found[row["order_id"]], reads.from_row(row)) for row in rows]


def read_since(reader: Reader, login: str, since: datetime) -> tuple[int, int]:
    """Return how many reads a reader has given since an instant (UTC), and how many of them found nothing."""
    row = reader.one(
        "SELECT count(*) AS given, coalesce(sum(opinion ->> '$.finding' = 'norm'), 0) AS norms FROM study_read"
        " WHERE reader = ? AND given_at >= ?",
        [login, since.isoformat()],
    )
    return (row["given"], row["norms"]) if row else (0, 0)


def deferred(reader: Reader, login: str = "") -> list[tuple[Order, Deferral]]:
    """Return what was put aside, by one reader or by all, the oldest first."""
    found = [each for each in reads.deferrals(reader) if login in ("", each.reader)]
    by_id = {order.id: order for order in orders.get_many(reader, [each.order_id for each in found])}
    return [(by_id[each.order_id], each) for each in found]


def was_recalled(reader: Reader, patient_id: int, except_order: int) -> bool:
    """Return True if a concluded study of a patient led to a further examination, or its readers differed."""
    found = reader.value(
        "SELECT 1 FROM study_read r JOIN orders o ON o.id = r.order_id WHERE o.patient_id = ? AND o.id <> ?"
        " AND o.reported = 1 AND r.settled = 1 AND (r.arbitrates = 1 OR r.opinion ->> '$.finding' = 'recall'"
        "  OR EXISTS (SELECT 1 FROM joint_decision j WHERE j.order_id = o.id AND j.confirmed_at IS NOT NULL)) LIMIT 1",
        [patient_id, except_order],
    )
    return found is not None


def is_any_due(reader: Reader, rules: ReadingRules, now: datetime) -> bool:
    """Return True if a read has come to stand and is not final yet, or a concluded study waits to be signed."""
    if reads.due(reader, now):
        return True
    waits = reads.unsigned(reader)
    counting = _counting(reader, waits)
    return any(
        opinions.case(counting.get(order_id, []), reads.needed(reader, order_id), rules, now).decisive
        for order_id in waits
    )


def made_of_reads(reader: Reader, order_ids: Collection[int]) -> frozenset[int]:
    """Return the studies (ids) whose report is made of reads: those that need two readers, or have a given read."""
    rows = reader.rows(
        "SELECT o.id FROM orders o LEFT JOIN reading_needed n ON n.order_id = o.id"
        " LEFT JOIN double_procedure d ON d.code = o.procedure_code WHERE o.id IN (SELECT value FROM json_each(?))"
        f" AND ({_NEEDED} > 1"
        "  OR EXISTS (SELECT 1 FROM study_read r WHERE r.order_id = o.id AND r.given_at IS NOT NULL))",
        [json.dumps(list(order_ids))],
    )
    return frozenset(row["id"] for row in rows)


def double_procedures(reader: Reader) -> frozenset[str]:
    """Return the codes of the procedures that two doctors read."""
    return reads.double_procedures(reader)


def templates(reader: Reader, procedure_code: str, login: str) -> list[ReportTemplate]:
    """Return the templates that a doctor has for a procedure, the own ones first."""
    return report_templates.of_procedure(reader, procedure_code, login)


def all_templates(reader: Reader, login: str) -> list[ReportTemplate]:
    """Return all templates of the clinic and of a doctor."""
    return report_templates.visible(reader, login)


def _counting(reader: Reader, order_ids: list[int]) -> dict[int, list[Read]]:
    """Return the given reads of the images and patients that orders have now: order id -> reads."""
    rows = reader.rows(
        "SELECT r.* FROM study_read r JOIN orders o ON o.id = r.order_id AND o.patient_id = r.patient_id"
        " WHERE r.given_at IS NOT NULL AND r.order_id IN (SELECT value FROM json_each(?))",
        [json.dumps(order_ids)],
    )
    found = defaultdict(list)
    for row in rows:
        found[row["order_id"]].append(reads.from_row(row))
    for read in reads.decided_together(reader, list(found)):
        found[read.order_id].append(read)
    revisions = reports.image_revisions(reader, list(found))
    return {
        order_id: [read for read in of_order if read.images == revisions[order_id]]
        for order_id, of_order in found.items()
    }
