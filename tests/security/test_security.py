"""Passwords are hashed, guesses are slowed, sessions can be ended by the server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Duplicate, Forbidden, Invalid, NotFound, SessionEnded
from broker.security import passwords, permissions, sessions
from broker.security.permissions import PERMISSIONS, Permission
from broker.security.sessions import TooManyAttempts, WrongPassword
from broker.security.throttle import SIGN_IN_HALF_LIFE, Throttle
from broker.store.database import Store
from broker.workflow import accounts
from tests.support import factory
from tests.support.factory import SYSTEM


@pytest.fixture
def orlova(store: Store) -> Store:
    store.write(
        accounts.add_account,
        accounts.new_account("orlova", "Орлова Н. В.", frozenset({Role.REGISTRAR}), "right password"),
        SYSTEM,
    )
    return store


def sign_in(store: Store, password: str, throttle: Throttle | None = None) -> str:
    return sessions.sign_in(store, throttle or Throttle(), "orlova", password, "10.0.0.1", 12)


@pytest.mark.slow
def test_a_hash_fits_its_password_only_and_differs_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(passwords.SCRYPT, "n", 2**14)  # tests make it cheap
    one, other = passwords.hash_password("пароль"), passwords.hash_password("пароль")
    assert one != other
    assert one.startswith("scrypt$16384$8$5$")
    assert passwords.password_matches("пароль", one)
    assert not passwords.password_matches("Пароль", one)


def test_signing_in_gives_a_session_that_the_server_can_end(orlova: Store) -> None:
    token = sign_in(orlova, "right password")
    actor = sessions.actor_of(orlova, token)
    assert actor is not None
    assert (actor.name, actor.roles) == ("orlova", frozenset({Role.REGISTRAR}))
    with orlova.read() as reader:
        assert token not in str(reader.rows("SELECT * FROM session"))  # a stolen database opens no doors
    orlova.write(accounts.disable_account, "orlova", SYSTEM)
    assert sessions.actor_of(orlova, token) is None
    with pytest.raises(WrongPassword):
        sign_in(orlova, "right password")


def test_a_changed_password_ends_the_sessions(orlova: Store) -> None:
    token = sign_in(orlova, "right password")
    orlova.write(accounts.set_password, "orlova", accounts.new_password("another password"), SYSTEM)
    assert sessions.actor_of(orlova, token) is None
    assert sessions.actor_of(orlova, sign_in(orlova, "another password")) is not None


def test_a_session_expires(tmp_path: Path) -> None:
    moment = [datetime(2026, 11, 24, 8, tzinfo=UTC)]
    store = factory.open_store(tmp_path / "x.sqlite", clock=lambda: moment[0])
    store.write(
        accounts.add_account,
        accounts.new_account("orlova", "Орлова", frozenset({Role.REGISTRAR}), "right password"),
        SYSTEM,
    )
    token = sign_in(store, "right password")
    moment[0] += timedelta(hours=11, minutes=59)
    assert sessions.actor_of(store, token) is not None
    moment[0] += timedelta(minutes=2)
    assert sessions.actor_of(store, token) is None
    store.close()


def test_guesses_wait_longer_and_longer(orlova: Store) -> None:
    clock = [0.0]
    throttle = Throttle(clock=lambda: clock[0])
    for _ in range(3):
        with pytest.raises(WrongPassword):
            sign_in(orlova, "wrong", throttle)
    with pytest.raises(TooManyAttempts) as raised:
        sign_in(orlova, "right password", throttle)  # even the right one has to wait
    assert raised.value.seconds == 1
    clock[0] += 1
    assert sign_in(orlova, "right password", throttle)
    assert throttle.wait("orlova", "10.0.0.1") == 0
    with orlova.read() as reader:
        assert reader.value("SELECT count(*) FROM audit WHERE action = 'sign_in_failed'") == 3


def test_a_caller_cannot_lock_out_another_one() -> None:
    clock = [0.0]
    throttle = Throttle(clock=lambda: clock[0])
    refused = 0
    for second in range(3600):  # an attacker elsewhere guesses whenever he may; the owner tries every 10 s
        clock[0] = float(second)
        if throttle.wait("orlova", "10.6.6.6") == 0:
            throttle.miss("orlova", "10.6.6.6")
        if second % 10 == 0:
            refused += throttle.wait("orlova", "10.0.0.1") > 5
    assert refused == 0
    assert throttle.wait("orlova", "10.6.6.6") > 60
    assert throttle.wait("yudin", "10.6.6.6") <= 5  # somebody else behind the same proxy


def test_misses_are_forgotten_with_time() -> None:
    clock = [0.0]
    throttle = Throttle(clock=lambda: clock[0])
    for _ in range(8):
        throttle.miss("orlova", "10.0.0.1")
    assert throttle.wait("orlova", "10.0.0.1") == 32
    clock[0] += 2 * SIGN_IN_HALF_LIFE
    assert throttle.wait("orlova", "10.0.0.1") == 0


def test_an_unknown_login_costs_as_much_as_a_wrong_password(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    matches = passwords.password_matches

    def counted(password: str, kept: str) -> bool:
        hashed.append(password)
        return matches(password, kept)

    monkeypatch.setattr(sessions, "password_matches", counted)
    with pytest.raises(WrongPassword):
        sessions.sign_in(store, Throttle(), "nobody", "guess", "10.0.0.1", 12)
    assert hashed == ["guess"]


def test_every_role_and_kind_has_its_permissions() -> None:
    assert set(PERMISSIONS) == set(Role)
    assert set(permissions.PERMISSIONS_OF_ACTOR_KIND) == set(ActorKind)
    assert not any(Permission.PERFORM in allowed for allowed in PERMISSIONS.values())


def test_accounts_are_made_by_administrators_and_checked(store: Store) -> None:
    registrar = Actor(ActorKind.PERSON, "x", roles=frozenset({Role.REGISTRAR}))
    roles = frozenset({Role.REGISTRAR})
    with pytest.raises(Forbidden):
        store.write(accounts.add_account, accounts.new_account("new", "Новый", roles, "long enough"), registrar)
    with pytest.raises(Invalid) as raised:
        store.write(accounts.add_account, accounts.new_account("и", "", frozenset(), "short"), SYSTEM)
    assert set(raised.value.problems) == {"login", "full_name", "roles", "password"}
    store.write(accounts.add_account, accounts.new_account("New", "Новый", roles, "long enough"), SYSTEM)
    with pytest.raises(Duplicate):
        store.write(accounts.add_account, accounts.new_account("new", "Другой", roles, "long enough"), SYSTEM)
    with pytest.raises(NotFound):
        store.write(accounts.set_password, "nobody", accounts.new_password("long enough"), SYSTEM)


def test_a_draft_belongs_to_its_author_and_needs_a_session(orlova: Store) -> None:
    actor = sessions.actor_of(orlova, sign_in(orlova, "right password"))
    assert actor is not None
    orlova.write(accounts.save_draft, "referral", {"family": "Куз"}, actor)
    with orlova.read() as reader:
        loaded = accounts.load_draft(reader, "referral", actor)
    assert loaded is not None
    assert loaded[0] == {"family": "Куз"}
    orlova.write(sessions.sign_out, actor)
    with pytest.raises(SessionEnded):
        orlova.write(accounts.save_draft, "referral", {}, actor)
