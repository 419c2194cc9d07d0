"""Use cases of writing about a study: while one person writes, no other does, and everybody sees who it is."""

from __future__ import annotations

from datetime import timedelta

from broker.domain.actors import Actor
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Occupied
from broker.domain.reading.leases import Lease, LeasePurpose
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables import orders
from broker.store.tables.reading import leases


def begin(tx: Tx, order_id: int, actor: Actor, clinic: Clinic, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease:
    """Note that somebody begins to write, and return their lease; all windows of a person share it.

    Raise Occupied while another writes, NotFound, Forbidden.
    """
    permit(tx, actor, Permission.REPORT)
    orders.require(tx, order_id)
    check_is_free(tx, order_id, actor, purpose)
    before = leases.of_order(tx, order_id, tx.now, purpose)
    lease = prolong(tx, order_id, actor, clinic, purpose)
    if before is None:
        tx.notify()
    return lease


def leave(tx: Tx, order_id: int, actor: Actor, purpose: LeasePurpose = LeasePurpose.REPORT) -> None:
    """End a person's lease: they write no more; what they have written stays."""
    if end(tx, order_id, actor, purpose):
        tx.notify()


def prolong(tx: Tx, order_id: int, actor: Actor, clinic: Clinic, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease:
    """Let a lease last from now on; part of use cases that have made sure that no other person writes."""
    return leases.take(tx, order_id, actor, tx.now + timedelta(minutes=clinic.reading.lease_minutes), purpose)


def end(tx: Tx, order_id: int, actor: Actor, purpose: LeasePurpose = LeasePurpose.REPORT) -> bool:
    """End a person's lease, as part of a use case; return False if there was none."""
    return leases.free(tx, order_id, actor.name, purpose)


def check_is_free(tx: Tx, order_id: int, actor: Actor, purpose: LeasePurpose = LeasePurpose.REPORT) -> None:
    """Raise Occupied while another person writes."""
    lease = leases.of_order(tx, order_id, tx.now, purpose)
    if lease is not None and lease.reader != actor.name:
        raise Occupied(f"order {order_id} is open for another reader")
