"""What a node that MPPS is forwarded to gets beside what devices report from now on."""

from __future__ import annotations

from datetime import datetime

from broker.domain.actors import Actor
from broker.domain.errors import NotFound
from broker.security.permissions import Permission, permit
from broker.store.database import Tx
from broker.store.tables.studies import mpps_nodes


def forward_since(tx: Tx, ae_title: str, since: datetime, actor: Actor) -> int:
    """Let a node get what was taken since an instant (UTC), too; return how many messages wait for it then.

    Raise NotFound for a node that is not forwarded to, Forbidden.
    """
    permit(tx, actor, Permission.MANAGE)
    waiting = mpps_nodes.rewind(tx, ae_title, since)
    if waiting is None:
        raise NotFound(f"node {ae_title}; one is known once the broker has run with it in dicom.forward_mpps")
    return waiting
