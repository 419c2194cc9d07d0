"""Signing in and out, and the person behind a session token."""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.domain.errors import BrokerError
from broker.security.passwords import password_matches, unmatchable
from broker.security.permissions import person
from broker.security.throttle import Throttle
from broker.store.database import Store, Tx
from broker.store.tables import accounts, audit
from broker.store.tables.accounts import Account


class WrongPassword(BrokerError):
    """Login or password do not match."""

    code = "wrong_password"


class TooManyAttempts(BrokerError):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds} s")
        self.seconds = seconds


def sign_in(store: Store, throttle: Throttle, login: str, password: str, address: str, hours: float) -> str:
    """Check a login and password and start a session; return its secret token.

    Not one transaction but two short ones around the hashing: scrypt takes a tenth of a second by design, and the one
    writer thread must not stand still for it. Raise WrongPassword or TooManyAttempts. Failures are written into the
    audit trail.
    """
    login = login.strip().casefold()
    if seconds := throttle.wait(login, address):
        raise TooManyAttempts(seconds)
    throttle.miss(login, address)  # counted before the slow hash, so that parallel guesses are counted too
    with store.read() as reader:
        account = accounts.by_login(reader, login)
    fits = password_matches(password, account.password if account else unmatchable())
    if account is None or not fits or account.disabled:
        unknown = Actor(ActorKind.PERSON, login[:64], title=address)
        store.write(audit.write, unknown, AuditAction.SIGN_IN_FAILED, address=address)
        raise WrongPassword
    throttle.forget(login, address)
    token = secrets.token_urlsafe(32)
    store.write(_start_session, account, token, address, hours)
    return token


def _start_session(tx: Tx, account: Account, token: str, address: str, hours: float) -> None:
    accounts.start_session(tx, token_hash(token), account.id, tx.now + timedelta(hours=hours), address)
    audit.write(tx, person(account, ""), AuditAction.SIGN_IN, address=address)


def sign_out(tx: Tx, actor: Actor) -> None:
    """End the actor's session; a second time does no harm."""
    accounts.end_session(tx, actor.session)
    audit.write(tx, actor, AuditAction.SIGN_OUT)


def actor_of(store: Store, token: str) -> Actor | None:
    """Return the person behind a session token, or None if it is not (or no longer) valid."""
    hashed = token_hash(token)
    with store.read() as reader:
        account = accounts.session_account(reader, hashed, store.clock())
    return person(account, hashed) if account else None


def token_hash(token: str) -> str:
    """Hash a session token: a stolen database gives no sessions away."""
    return hashlib.sha256(token.encode()).hexdigest()
