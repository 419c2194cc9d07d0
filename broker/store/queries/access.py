"""Who may sign in, and which programs may call. It changes nothing."""

from __future__ import annotations

from broker.store.database import Reader
from broker.store.tables import accounts as accounts_table
from broker.store.tables import clients as clients_table


def accounts(reader: Reader) -> list[accounts_table.Account]:
    """Give every account, by login."""
    return [accounts_table.from_row(row) for row in reader.rows("SELECT * FROM account ORDER BY login")]


def clients(reader: Reader) -> list[clients_table.Client]:
    """Give all clients by name."""
    return [clients_table.from_row(row) for row in reader.rows("SELECT * FROM client ORDER BY name")]
