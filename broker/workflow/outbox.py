"""Use cases of the exchange with the region: resend what needs attention, resume after a pause."""

from __future__ import annotations

from broker.domain.actors import Actor
from broker.domain.audit import AuditAction
from broker.domain.errors import NotFound
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


def resend_message(tx: Tx, seq: int, actor: Actor) -> int:
    """Put a message that needs attention back into the queue, with the others of its order; return their number.

    Raise NotFound, Forbidden.
    """
    row = outbox.get(tx, seq)
    if row is None:
        raise NotFound(f"message {seq}")
    if row.order_id is not None:
        return resend(tx, row.order_id, actor)
    permit(tx, actor, Permission.RESEND)
    count = outbox.resume_for_referral(tx, row.incoming_id or 0)
    audit.write(tx, actor, AuditAction.RESEND, messages=count, incoming=row.incoming_id)
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
