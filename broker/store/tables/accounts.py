"""Accounts, web sessions and unfinished forms."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.actors import Role
from broker.domain.errors import Duplicate
from broker.store.database import Reader, Row, Tx


@dataclass(frozen=True, slots=True)
class Account:
    """A person who may sign in; `password` is a hash."""

    id: int
    login: str
    full_name: str
    roles: frozenset[Role]
    password: str
    disabled: bool = False
    snils: str = ""  # 11 digits
    position: str = ""  # «врач-рентгенолог»


def by_login(reader: Reader, login: str) -> Account | None:
    """Return an account by its login (lower case), or None."""
    row = reader.one("SELECT * FROM account WHERE login = ?", [login])
    return from_row(row) if row else None


def active(reader: Reader) -> list[Account]:
    """Return the accounts of those who may sign in, by their names."""
    return [from_row(row) for row in reader.rows("SELECT * FROM account WHERE disabled = 0 ORDER BY full_name, login")]


def add(
    tx: Tx,
    login: str,
    full_name: str,
    roles: frozenset[Role],
    password: str,
    snils: str = "",
    position: str = "",
) -> int:
    """Insert a new account; raise Duplicate when the login is taken."""
    if by_login(tx, login):
        raise Duplicate(f"account {login}")
    return tx.run(
        "INSERT INTO account (login, full_name, roles, password, snils, position, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [login, full_name, " ".join(sorted(roles)), password, snils, position, tx.now.isoformat()],
    )


def set_password(tx: Tx, account_id: int, password: str) -> None:
    """Change a password's hash and end all sessions of the account."""
    tx.run("UPDATE account SET password = ? WHERE id = ?", [password, account_id])
    tx.run("DELETE FROM session WHERE account_id = ?", [account_id])


def set_disabled(tx: Tx, account_id: int, disabled: bool) -> None:
    """Disable or enable an account; a disabled one loses its sessions at once."""
    tx.run("UPDATE account SET disabled = ? WHERE id = ?", [int(disabled), account_id])
    if disabled:
        tx.run("DELETE FROM session WHERE account_id = ?", [account_id])


def start_session(tx: Tx, token_hash: str, account_id: int, expires_at: datetime, address: str) -> None:
    """Insert a new session under the hash of its token; delete expired ones."""
    tx.run("DELETE FROM session WHERE expires_at < ?", [tx.now.isoformat()])
    tx.run(
        "INSERT INTO session (token, account_id, created_at, expires_at, address) VALUES (?, ?, ?, ?, ?)",
        [token_hash, account_id, tx.now.isoformat(), expires_at.isoformat(), address],
    )


def end_session(tx: Tx, token_hash: str) -> None:
    """Delete a session."""
    tx.run("DELETE FROM session WHERE token = ?", [token_hash])


def session_account(reader: Reader, token_hash: str, now: datetime) -> Account | None:
    """Return the account behind a live session, or None."""
    row = reader.one(
        "SELECT a.* FROM session s JOIN account a ON a.id = s.account_id"
        " WHERE s.token = ? AND s.expires_at > ? AND a.disabled = 0",
        [token_hash, now.isoformat()],
    )
    return from_row(row) if row else None


def save_draft(tx: Tx, account_id: int, form: str, content: dict[str, Any]) -> None:
    """Store what a person has typed so far; one draft per person and form."""
    tx.run(
        "INSERT INTO draft (account_id, form, content, saved_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (account_id, form) DO UPDATE SET content = excluded.content, saved_at = excluded.saved_at",
        [account_id, form, json.dumps(content, ensure_ascii=False), tx.now.isoformat()],
    )


def load_draft(reader: Reader, account_id: int, form: str) -> tuple[dict[str, Any], datetime] | None:
    """Return a person's draft and when it was saved (UTC), or None."""
    row = reader.one("SELECT content, saved_at FROM draft WHERE account_id = ? AND form = ?", [account_id, form])
    return (json.loads(row["content"]), datetime.fromisoformat(row["saved_at"])) if row else None


def drop_draft(tx: Tx, account_id: int, form: str) -> None:
    """Delete a draft."""
    tx.run("DELETE FROM draft WHERE account_id = ? AND form = ?", [account_id, form])


def from_row(row: Row) -> Account:
    """Return the account of a row of `account`."""
    return Account(
        id=row["id"],
        login=row["login"],
        full_name=row["full_name"],
        roles=frozenset(Role(role) for role in row["roles"].split()),
        password=row["password"],
        disabled=bool(row["disabled"]),
        snils=row["snils"],
        position=row["position"],
    )
