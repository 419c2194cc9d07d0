"""The database of a configuration."""

from __future__ import annotations

from broker.app import clock
from broker.config.configuration import Config
from broker.domain.clinic.default_procedures import PROCEDURES
from broker.store.database import Store
from broker.store.tables import devices


def open_store(config: Config) -> Store:
    """Open the database, with the default procedures if it has none. Raise StoreError."""
    store = Store(config.data.database, clock=clock.utc_now)
    store.write(lambda tx: devices.fill_procedures(tx, PROCEDURES))
    return store
