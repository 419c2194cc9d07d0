"""The people and machines of the house: accounts, devices, and what a person has typed but not saved."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from broker.domain import names
from broker.domain.errors import Invalid, NotFound, SessionEnded
from broker.domain.model import Actor, Device, Role
from broker.security import SHORTEST_PASSWORD, Permission, hash_password, permit
from broker.store import accounts, audit, devices
from broker.store.accounts import Account
from broker.store.database import Store, Tx

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._-]{1,31}")
# PS3.5 6.2, AE: no backslash, no control characters, not only blanks; kept to ASCII.
_AE_TITLE = re.compile(r"[!-\[\]-~]([ -\[\]-~]{0,14}[!-\[\]-~])?")
_MODALITY = re.compile(r"[A-Z]{2,4}")
CHARSETS = ("auto", "ISO_IR 192", "ISO_IR 144", "latin")


def add_account(store: Store, login: str, full_name: str, roles: frozenset[Role], password: str, actor: Actor) -> None:
    """Make an account. Raise Invalid, Duplicate, Forbidden."""
    login, full_name = login.strip().casefold(), names.tidy(full_name)
    problems = _password_problems(password)
    if not _LOGIN.fullmatch(login):
        problems["login"] = "letters"
    if not full_name:
        problems["full_name"] = "required"
    if not roles:
        problems["roles"] = "required"
    if problems:
        raise Invalid(problems)
    hashed = hash_password(password)

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.MANAGE)
        accounts.add(tx, login, full_name, roles, hashed)
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


def put_device(store: Store, device: Device, actor: Actor) -> None:
    """Register a device, adopt one that was only heard of, or change it. Raise Invalid, Forbidden."""
    problems = {}
    if not _AE_TITLE.fullmatch(device.ae_title):
        problems["ae_title"] = "letters"
    if not device.name.strip():
        problems["name"] = "required"
    if not _MODALITY.fullmatch(device.modality):
        problems["modality"] = "letters"
    if device.charset not in CHARSETS:
        problems["charset"] = "unknown"
    if problems:
        raise Invalid(problems)

    def verb(tx: Tx) -> None:
        permit(tx, actor, Permission.MANAGE)
        devices.put(tx, device)
        audit.write(tx, actor, "device_put", ae_title=device.ae_title, name=device.name)
        tx.announce()

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
