"""Use cases of the exchange with the region: resend what needs attention, resume after a pause."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import audit, outbox


def resend(tx: Tx, order_id: int, actor: Actor) -> int:
    """Put an order's messages that need attention back into the queue; return their number. Raise Forbidden."""
    permit(tx, actor, Permission.RESEND)
    count = outbox.resume(tx, order_id)
    audit.write(tx, actor, AuditAction.RESEND, order_id, messages=count)
    tx.notify()
    return count


def resume_exchange(tx: Tx, actor: Actor) -> None:
    """Have the exchange try again now, after a pause (the token was refused) or before a wait is over.

    Raise Forbidden.
    """
    permit(tx, actor, Permission.RESEND)
    outbox.set_channel(tx, "ok", "", None, answered=False)
    audit.write(tx, actor, AuditAction.EXCHANGE_GO_ON)
    tx.notify()
