"""Who writes about a study now. Reads only."""

from __future__ import annotations

from datetime import datetime

from broker.domain.reading.leases import Lease, LeasePurpose
from broker.store.database import Reader
from broker.store.tables.reading import leases


def writer(reader: Reader, order_id: int, now: datetime, purpose: LeasePurpose = LeasePurpose.REPORT) -> Lease | None:
    """Return who writes about an order at an instant (UTC), or None.

    Readers who must not know of each other are not to be shown it.
    """
    return leases.of_order(reader, order_id, now, purpose)
