"""Password hashes: scrypt with a random salt."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import threading
from functools import cache

SCRYPT = {"n": 2**14, "r": 8, "p": 5}  # OWASP's alternative to n=2**17, p=1 with 16 MiB instead of 128


SHORTEST_PASSWORD = 8


_HASHING = threading.BoundedSemaphore(2)  # at most two at once: a guesser must not take the whole machine


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
def unmatchable() -> str:
    """Return a hash that fits no password: checked for unknown logins, so that the time taken reveals nothing."""
    return hash_password(secrets.token_hex())
