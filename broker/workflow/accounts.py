"""Use cases of accounts, and of drafts: what a person has typed but not saved."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from broker.domain.actors import Actor, Role
from broker.domain.audit import AuditAction
from broker.domain.errors import Invalid, NotFound, SessionEnded
from broker.domain.patients import identifiers, names
from broker.security.passwords import SHORTEST_PASSWORD, hash_password
from broker.security.permissions import Permission, permit
from broker.store.database import Reader, Tx
from broker.store.tables import accounts, audit
from broker.store.tables.accounts import Account

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")


@dataclass(frozen=True, slots=True)
class NewAccount:
    """An account as it is to be stored: checked, its password hashed."""

    login: str
    full_name: str
    roles: frozenset[Role]
    password_hash: str
    snils: str
    position: str


def new_account(
    login: str, full_name: str, roles: frozenset[Role], password: str, *, snils: str = "", position: str = ""
) -> NewAccount:
    """Validate a new account and hash its password; a doctor's reports are signed with СНИЛС and position.

    Call it outside the transaction: scrypt takes a tenth of a second by design, which would block the writer thread.
    Raise Invalid.
    """
    login, full_name = login.strip().casefold(), names.tidy(full_name)
    snils, position = identifiers.digits(snils), names.tidy(position)
    problems = _password_problems(password)
    if not _LOGIN.fullmatch(login):
        problems["login"] = "letters"
    if not full_name:
        problems["full_name"] = "required"
    if not roles:
        problems["roles"] = "required"
    if snils and (problem := identifiers.snils_problem(snils)):
        problems["snils"] = problem
    if problems:
        raise Invalid(problems)
    return NewAccount(login, full_name, roles, hash_password(password), snils, position)


def new_password(password: str) -> str:
    """Validate a password and return its hash; call it outside the transaction (see `new_account`). Raise Invalid."""
    if problems := _password_problems(password):
        raise Invalid(problems)
    return hash_password(password)


def add_account(tx: Tx, account: NewAccount, actor: Actor) -> None:
    """Add an account. Raise Duplicate, Forbidden, SessionEnded."""
    permit(tx, actor, Permission.MANAGE)
    accounts.add(
        tx, account.login, account.full_name, account.roles, account.password_hash, account.snils, account.position
    )
    audit.write(tx, actor, AuditAction.ACCOUNT_ADD, login=account.login, roles=sorted(account.roles))


def set_password(tx: Tx, login: str, password_hash: str, actor: Actor) -> None:
    """Change a password, given as `new_password` returns it, and end the account's sessions.

    Raise NotFound, Forbidden.
    """
    permit(tx, actor, Permission.MANAGE)
    accounts.set_password(tx, _account(tx, login).id, password_hash)
    audit.write(tx, actor, AuditAction.ACCOUNT_PASSWORD, login=login)


def disable_account(tx: Tx, login: str, actor: Actor, *, disabled: bool = True) -> None:
    """Disable an account, which ends its sessions at once, or enable it. Raise NotFound, Forbidden."""
    permit(tx, actor, Permission.MANAGE)
    accounts.set_disabled(tx, _account(tx, login).id, disabled)
    audit.write(tx, actor, AuditAction.ACCOUNT_DISABLE if disabled else AuditAction.ACCOUNT_ENABLE, login=login)


def save_draft(tx: Tx, form: str, content: dict[str, Any], actor: Actor) -> datetime:
    """Save what a person has typed so far; return the instant (UTC). Raise SessionEnded."""
    accounts.save_draft(tx, _session_account(tx, actor).id, form, content)
    return tx.now


def load_draft(reader: Reader, form: str, actor: Actor) -> tuple[dict[str, Any], datetime] | None:
    """Return what a person had typed and when it was saved (UTC), or None."""
    account = accounts.by_login(reader, actor.name)
    return accounts.load_draft(reader, account.id, form) if account else None


def drop_draft(tx: Tx, form: str, actor: Actor) -> None:
    """Delete a person's draft. Raise SessionEnded."""
    accounts.drop_draft(tx, _session_account(tx, actor).id, form)


def _session_account(tx: Tx, actor: Actor) -> Account:
    account = accounts.session_account(tx, actor.session, tx.now)
    if account is None:
        raise SessionEnded
    return account


def _account(tx: Tx, login: str) -> Account:
    account = accounts.by_login(tx, login.strip().casefold())
    if account is None:
        raise NotFound(f"account {login}")
    return account


def _password_problems(password: str) -> dict[str, str]:
    return {} if len(password) >= SHORTEST_PASSWORD else {"password": "too_short"}
