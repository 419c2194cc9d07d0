"""Who may sign in, and which programs may call. Reads only."""

from __future__ import annotations

from broker.store.database import Reader
from broker.store.tables import accounts as accounts_table
from broker.store.tables import clients as clients_table
from broker.store.tables.accounts import Account
from broker.store.tables.clients import Client

__all__ = ["Account", "Client", "accounts", "clients"]


def accounts(reader: Reader) -> list[Account]:
    """Return every account, by login."""
    return [accounts_table.from_row(row) for row in reader.rows("SELECT * FROM account ORDER BY login")]


def clients(reader: Reader) -> list[Client]:
    """Return all clients, by name."""
    return [clients_table.from_row(row) for row in reader.rows("SELECT * FROM client ORDER BY name")]
