"""Who writes about a study now. Reads only."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from broker.domain.reading.leases import Lease, LeasePurpose
from broker.store.database import Reader
from broker.store.tables.reading import leases


def writer(reader: Reader, order_id: int, now: datetime, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease | None:
    """Return who writes about an order at an instant (UTC), or None.

    Readers who must not know of each other are not to be shown it.
    """
    return leases.of_order(reader, order_id, now, purpose)


def writers(reader: Reader, order_ids: Collection[int], now: datetime) -> dict[int, Lease]:
    """Return who writes the reports of these orders at an instant (UTC), as `writer` does: order id -> lease."""
    return {lease.order_id: lease for lease in leases.of_orders(reader, order_ids, now)}
