"""Who may do what: password hashes, sessions, roles and their permissions.

Every verb calls `permit` inside its own transaction: a page that was opened before a sign-out cannot save after it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from functools import cache

from broker.domain.errors import BrokerError, Forbidden, SessionEnded
from broker.domain.model import Actor, ActorKind, Role
from broker.store import accounts, audit
from broker.store.accounts import Account
from broker.store.database import Store, Tx


class Permission(StrEnum):
    """What the verbs ask for."""

    VIEW = "view"
    REGISTER = "register"
    AMEND = "amend"
    CANCEL = "cancel"
    LINK = "link"
    CLOSE = "close"
    RESEND = "resend"
    PERFORM = "perform"
    REPORT = "report"
    MANAGE = "manage"


P = Permission
PERMISSIONS: dict[Role, frozenset[Permission]] = {
    Role.REGISTRAR: frozenset({P.VIEW, P.REGISTER, P.AMEND, P.CANCEL, P.LINK, P.CLOSE, P.RESEND}),
    Role.TECHNOLOGIST: frozenset({P.VIEW, P.REGISTER, P.AMEND, P.LINK, P.CLOSE}),
    Role.RADIOLOGIST: frozenset({P.VIEW, P.REPORT}),
    Role.ADMINISTRATOR: frozenset({P.VIEW, P.RESEND, P.MANAGE}),
}
OF_KIND: dict[ActorKind, frozenset[Permission]] = {
    ActorKind.PERSON: frozenset(),
    ActorKind.DEVICE: frozenset({P.PERFORM}),
    ActorKind.BUS: frozenset({P.REGISTER, P.CANCEL}),  # as incoming referrals ask for it
    ActorKind.SYSTEM: frozenset(Permission),
}
del P

SCRYPT = {"n": 2**14, "r": 8, "p": 5}  # OWASP's alternative to n=2**17, p=1 with 16 MiB instead of 128
SHORTEST_PASSWORD = 8
_HASHING = threading.BoundedSemaphore(2)  # at most two at once: a guesser must not take the whole machine


def may(actor: Actor, permission: Permission) -> bool:
    """Say whether an actor's roles allow it; the screens show or hide their buttons by it."""
    allowed = OF_KIND[actor.kind].union(*(PERMISSIONS[role] for role in actor.roles))
    return permission in allowed


def permit(tx: Tx, actor: Actor, permission: Permission) -> None:
    """Raise Forbidden or SessionEnded unless the actor may do this now; a person's session is looked up again."""
    if actor.session:
        account = accounts.session_account(tx, actor.session, tx.now)
        if account is None:
            raise SessionEnded
        actor = _actor(account, actor.session)
    if not may(actor, permission):
        raise Forbidden(f"{permission} by {actor.name}")


# ---- passwords ----


def hash_password(password: str) -> str:
    """Hash with scrypt and a random salt; the text names its parameters, so that they can be raised later."""
    salt = secrets.token_bytes(16)
    return "scrypt${n}${r}${p}$".format(**SCRYPT) + f"{_b64(salt)}${_b64(_scrypt(password, salt, **SCRYPT))}"


def password_matches(password: str, hashed: str) -> bool:
    """Compare in constant time."""
    _, n, r, p, salt, expected = hashed.split("$")
    made = _scrypt(password, base64.b64decode(salt), n=int(n), r=int(r), p=int(p))
    return hmac.compare_digest(made, base64.b64decode(expected))


def _scrypt(password: str, salt: bytes, *, n: int, r: int, p: int) -> bytes:
    with _HASHING:
        return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=64 * 1024 * 1024)


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@cache
def _nobody() -> str:
    """Give a hash that fits no password: checked for unknown logins, so that the time taken tells nothing."""
    return hash_password(secrets.token_hex())


# ---- signing in ----


class WrongPassword(BrokerError):
    """Login or password do not match."""

    code = "wrong_password"


class TooManyAttempts(BrokerError):
    """Too many attempts; wait before the next one."""

    code = "too_many_attempts"

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds} s")
        self.seconds = seconds


class Throttle:
    """Slows guessing down: after some misses every further one doubles the wait, up to a longest one.

    Strict for one login from one address, gentle for a login from anywhere and for an address with any login: nobody
    can lock somebody else out, nor everybody behind one proxy. Misses are forgotten with time. Kept in memory on the
    monotonic clock: bounded, and no use to somebody who sets the clock.
    """

    LIMITS = ((3, 300.0), (10, 5.0), (20, 5.0))  # (free misses, longest wait in seconds) of pair, login, address
    HALVED_EVERY = 600.0  # seconds in which half of the misses are forgotten
    KEPT = 10_000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._misses: OrderedDict[tuple[str, ...], tuple[float, float]] = OrderedDict()  # key -> (misses, when last)

    def wait(self, login: str, address: str) -> int:
        """Give the whole seconds that must still pass before another attempt; 0 when it is free."""
        with self._lock:
            waits = (self._left(key, *limit) for key, limit in zip(_keys(login, address), self.LIMITS, strict=True))
            return max(0, math.ceil(max(waits)))

    def miss(self, login: str, address: str) -> None:
        """Count a failed attempt."""
        with self._lock:
            for key in _keys(login, address):
                misses = self._remembered(key)
                self._misses.pop(key, None)
                self._misses[key] = (misses + 1, self._clock())
            while len(self._misses) > self.KEPT:
                self._misses.popitem(last=False)

    def forget(self, login: str, address: str) -> None:
        """Forgive after a success; the address keeps its misses with other logins."""
        pair, anywhere, everybody = _keys(login, address)
        with self._lock:
            misses = self._remembered(pair)
            self._misses.pop(pair, None)
            for key in (anywhere, everybody):
                if key in self._misses:
                    left = self._remembered(key) - misses
                    self._misses[key] = (max(left, 0.0), self._misses[key][1])

    def _left(self, key: tuple[str, ...], free: int, longest: float) -> float:
        misses = self._remembered(key)
        if misses < free:
            return 0.0
        return self._misses[key][1] + min(float(2 ** (misses - free)), longest) - self._clock()

    def _remembered(self, key: tuple[str, ...]) -> float:
        misses, at = self._misses.get(key, (0.0, 0.0))
        halvings = int((self._clock() - at) // self.HALVED_EVERY)
        return misses * float(0.5**halvings)


def _keys(login: str, address: str) -> tuple[tuple[str, ...], ...]:
    return ("pair", login, address), ("login", login), ("address", address)


def sign_in(store: Store, throttle: Throttle, login: str, password: str, address: str, hours: float) -> str:
    """Check a login and password and start a session; give its secret token.

    Raise WrongPassword or TooManyAttempts. Failures are written into the audit trail.
    """
    login = login.strip().casefold()
    if seconds := throttle.wait(login, address):
        raise TooManyAttempts(seconds)
    throttle.miss(login, address)  # counted before the slow hash, so that parallel guesses are counted too
    with store.read() as reader:
        account = accounts.by_login(reader, login)
    fits = password_matches(password, account.password if account else _nobody())
    if account is None or not fits or account.disabled:
        nobody = Actor(ActorKind.PERSON, login[:64], title=address)
        store.write(lambda tx: audit.write(tx, nobody, "sign_in_failed", address=address))
        raise WrongPassword
    throttle.forget(login, address)
    token = secrets.token_urlsafe(32)

    def start(tx: Tx) -> None:
        expires_at = tx.now + timedelta(hours=hours)
        accounts.start_session(tx, token_hash(token), account.id, expires_at, address)
        audit.write(tx, _actor(account, ""), "sign_in", address=address)

    store.write(start)
    return token


def sign_out(store: Store, actor: Actor) -> None:
    """End the actor's session; a second time does no harm."""

    def end(tx: Tx) -> None:
        accounts.end_session(tx, actor.session)
        audit.write(tx, actor, "sign_out")

    store.write(end)


def actor_of(store: Store, token: str) -> Actor | None:
    """Give the person behind a session token, or None when it is not (or no longer) good."""
    hashed = token_hash(token)
    with store.read() as reader:
        account = accounts.session_account(reader, hashed, store.clock())
    return _actor(account, hashed) if account else None


def token_hash(token: str) -> str:
    """Hash a session token: a stolen database gives no sessions away."""
    return hashlib.sha256(token.encode()).hexdigest()


def _actor(account: Account, session: str) -> Actor:
    return Actor(ActorKind.PERSON, account.login, account.full_name, account.roles, session)
