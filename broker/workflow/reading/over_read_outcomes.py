"""What becomes of requests to read a signed report over, as part of use cases."""

from __future__ import annotations

from dataclasses import replace

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.store.database import Tx
from broker.store.tables import audit
from broker.store.tables.reading import leases, over_reads


def end(
    tx: Tx,
    asked: OverRead,
    outcome: OverReadOutcome,
    actor: Actor,
    *,
    reason: str = "",
    said: OverReadText | None = None,
) -> OverRead:
    """Write down what became of a request, and return it; nothing that was found stands in the audit trail."""
    after = replace(
        asked,
        outcome=outcome,
        reason=reason,
        said=said or asked.said,
        ended_by=actor.name,
        ended_by_title=actor.title or actor.name,
        ended_at=tx.now,
    )
    leases.free(tx, asked.order_id, purpose=LeasePurpose.OVER_READ)
    audit.write(tx, actor, _ACTIONS[outcome], asked.order_id, **({"reason": reason} if reason else {}))
    return over_reads.put(tx, after)


def end_open(tx: Tx, order_id: int, reason: str, actor: Actor) -> None:
    """Withdraw the request that is open about a report that is withdrawn, if there is one."""
    if asked := over_reads.open_of(tx, order_id):
        end(tx, asked, OverReadOutcome.WITHDRAWN, actor, reason=reason)


_ACTIONS = {
    OverReadOutcome.AGREES: AuditAction.OVER_READ_ANSWER,
    OverReadOutcome.DIFFERS: AuditAction.OVER_READ_ANSWER,
    OverReadOutcome.DECLINED: AuditAction.OVER_READ_DECLINE,
    OverReadOutcome.WITHDRAWN: AuditAction.OVER_READ_WITHDRAW,
}
