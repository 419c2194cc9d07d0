"""Who may sign in, and which programs may call. Reads only."""

from __future__ import annotations

from broker.store.database import Reader
from broker.store.tables import accounts as accounts_table
from broker.store.tables import clients as clients_table
from broker.store.tables.accounts import Account
from broker.store.tables.clients import Client, Deviation

__all__ = ["Account", "Client", "Deviation", "accounts", "clients", "clients_and_deviations"]


def accounts(reader: Reader) -> list[Account]:
    """Return every account, by login."""
    return [accounts_table.from_row(row) for row in reader.rows("SELECT * FROM account ORDER BY login")]


def clients(reader: Reader) -> list[Client]:
    """Return all clients, by name."""
    return [clients_table.from_row(row) for row in reader.rows("SELECT * FROM client ORDER BY name")]


def clients_and_deviations(reader: Reader) -> tuple[tuple[Client, tuple[Deviation, ...]], ...]:
    """Return all clients, by name, each with in what it deviates from the profile."""
    return tuple((each, tuple(clients_table.deviations(reader, each.name))) for each in clients(reader))
