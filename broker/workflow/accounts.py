"""The people of the house: their accounts, and what a person has typed but not saved."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from broker.domain import identifiers, names
from broker.domain.actors import Actor, Role
from broker.domain.errors import Invalid, NotFound, SessionEnded
from broker.security.passwords import SHORTEST_PASSWORD, hash_password
from broker.security.permissions import Permission, permit
from broker.store.database import Store, Tx
from broker.store.tables import accounts, audit
from broker.store.tables.accounts import Account

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")


def add_account(
    store: Store,
    login: str,
    full_name: str,
    roles: frozenset[Role],
    password: str,
    actor: Actor,
    *,
    snils: str = "",
    position: str = "",
) -> None:
    """Make an account; СНИЛС and position are what a doctor signs with. Raise Invalid, Duplicate, Forbidden."""
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
    hashed = hash_password(password)

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.MANAGE)
        accounts.add(tx, login, full_name, roles, hashed, snils, position)
        audit.write(tx, actor, "account_add", login=login, roles=sorted(roles))

    store.write(verb)


def set_password(store: Store, login: str, password: str, actor: Actor) -> None:
    """Change a password and end the account's sessions. Raise Invalid, NotFound, Forbidden."""
    if problems := _password_problems(password):
        raise Invalid(problems)
    hashed = hash_password(password)

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.MANAGE)
        accounts.set_password(tx, _account(tx, login).id, hashed)
        audit.write(tx, actor, "account_password", login=login)

    store.write(verb)


def disable_account(store: Store, login: str, actor: Actor, *, disabled: bool = True) -> None:
    """Disable an account, which ends its sessions at once, or enable it. Raise NotFound, Forbidden."""

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.MANAGE)
        accounts.set_disabled(tx, _account(tx, login).id, disabled)
        audit.write(tx, actor, "account_disable" if disabled else "account_enable", login=login)

    store.write(verb)


def save_draft(store: Store, form: str, content: dict[str, Any], actor: Actor) -> datetime:
    """Keep what a person has typed so far; give the instant (UTC). Raise SessionEnded."""

    def verb(tx: Tx) -> datetime:
        accounts.save_draft(tx, _own(tx, actor).id, form, content)
        return tx.now

    return store.write(verb)


def load_draft(store: Store, form: str, actor: Actor) -> tuple[dict[str, Any], datetime] | None:
    """Give what a person had typed and when it was kept, or None."""
    with store.read() as reader:
        account = accounts.by_login(reader, actor.name)
        return accounts.load_draft(reader, account.id, form) if account else None


def drop_draft(store: Store, form: str, actor: Actor) -> None:
    """Forget a person's draft. Raise SessionEnded."""
    store.write(lambda tx: accounts.drop_draft(tx, _own(tx, actor).id, form))


def _own(tx: Tx, actor: Actor) -> Account:
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
