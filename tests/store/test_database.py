"""The store keeps what it acknowledged, rolls back who fails, and refuses what it does not understand."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.domain.actors import Actor, ActorKind
from broker.domain.audit import AuditAction
from broker.store import database
from broker.store.backup import copy_database
from broker.store.database import Store, StoreError, Tx
from broker.store.tables import audit, orders
from tests.support import factory
from tests.support.waiting import DEADLINE


def count(store: Store, name: str = "t") -> int:
    with store.read() as reader:
        return int(reader.value("SELECT value FROM counter WHERE name = ?", [name]) or 0)


def add(name: str = "t") -> Callable[[Tx], int]:
    return lambda tx: orders.next_number(tx, name)


def test_a_write_is_visible_to_readers_once_it_returns(store: Store) -> None:
    store.write(add())
    assert count(store) == 1


def test_callers_that_fail_are_rolled_back_alone(store: Store) -> None:
    gate = threading.Event()
    first = store.submit(lambda tx: gate.wait(5))  # while it waits, the others queue up for one batch

    def fail(tx: Tx) -> None:
        orders.next_number(tx, "t")
        raise ValueError("no")

    jobs = [store.submit(fail if number % 2 else add()) for number in range(20)]
    gate.set()
    first.result()
    for number, job in enumerate(jobs):
        if number % 2:
            with pytest.raises(ValueError, match="no"):
                job.result()
        else:
            job.result()
    assert count(store) == 10


def test_a_background_change_waits_for_others_and_never_keeps_a_caller_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BACKGROUND_WAIT", DEADLINE)
    background = store.submit_background(add("background"))
    assert not background.done()
    store.write(add())
    assert background.done()  # in the commit of the one that was waited for
    assert (count(store), count(store, "background")) == (1, 1)


def test_many_threads_that_read_then_write_lose_nothing(store: Store) -> None:
    def work() -> None:
        for _ in range(50):
            store.write(add())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(store) == 400


def test_two_processes_may_write_one_database(store: Store) -> None:
    other = Store(store.path)  # as the command line does beside the service
    try:
        for _ in range(20):
            store.write(add())
            other.write(add())
    finally:
        other.close()
    assert count(store) == 40


def test_a_transaction_cannot_wait_for_another_one(store: Store) -> None:
    with pytest.raises(RuntimeError, match="cannot wait"):
        store.write(lambda tx: store.write(add()))


def test_listeners_are_called_for_notifying_commits_only(store: Store) -> None:
    counts: list[int] = []
    store.subscribe(lambda: counts.append(count(store)))
    store.write(add())

    def number(tx: Tx) -> None:
        orders.next_number(tx, "t")
        tx.notify()

    store.write(number)
    store.write(lambda tx: None)
    assert counts == [2]


def test_neither_a_cancelling_caller_nor_a_failing_listener_ends_the_writing(store: Store) -> None:
    def fail() -> None:
        raise ValueError("a screen's fault")

    store.subscribe(fail)
    gate = threading.Event()
    store.submit(lambda tx: gate.wait(5))
    job = store.submit(lambda tx: tx.notify())
    assert not job.cancel()
    gate.set()
    job.result()
    store.write(add())
    assert count(store) == 1


def test_a_read_is_one_snapshot(store: Store) -> None:
    store.write(add())
    with store.read() as reader:
        before = reader.value("SELECT value FROM counter WHERE name = 't'")
        store.write(add())
        assert reader.value("SELECT value FROM counter WHERE name = 't'") == before
    assert count(store) == 2


def test_readers_cannot_write(store: Store) -> None:
    with store.read() as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.rows("INSERT INTO counter VALUES ('x', 1) RETURNING name")


def test_the_database_is_durable_and_strict(store: Store) -> None:
    def pragmas(tx: Tx) -> list[object]:
        return [tx.value(f"PRAGMA {name}") for name in ("journal_mode", "synchronous", "foreign_keys")]

    assert store.write(pragmas) == ["wal", 2, 1]
    with store.read() as reader:
        loose = reader.rows(
            "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND NOT strict"
        )
    assert {row["name"] for row in loose} <= {"sqlite_schema", "sqlite_sequence", "_sqlite_migrations"}


def test_the_files_are_readable_by_their_owner_only(store: Store) -> None:
    store.write(add())
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_a_file_that_is_not_a_database_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "broken.sqlite"
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match="left as it is"):
        Store(path)
    assert path.read_bytes() == b"not a database" * 1000


def test_a_full_disk_refuses_writes_and_recovers(store: Store) -> None:
    store.write(add())

    def limit(pages: int) -> None:
        store.write(lambda tx: tx.value(f"PRAGMA max_page_count = {pages}"))

    limit(1)

    def big(tx: Tx) -> None:
        for number in range(200):
            tx.run("INSERT INTO counter VALUES (?, 1)", [f"{number:0500d}"])

    with pytest.raises((StoreError, sqlite3.OperationalError), match="full"):
        store.write(big)
    assert count(store) == 1
    limit(100_000)
    store.write(big)
    assert count(store, f"{7:0500d}") == 1


def test_the_audit_trail_only_grows(store: Store) -> None:
    store.write(lambda tx: audit.write(tx, Actor(ActorKind.SYSTEM, "test"), AuditAction.REGISTER))
    for statement in ("UPDATE audit SET action = 'other'", "DELETE FROM audit"):
        with pytest.raises(sqlite3.IntegrityError, match="only grows"):
            store.write(Tx.run, statement)


def test_a_backup_of_the_live_database_holds_everything(store: Store, tmp_path: Path) -> None:
    for _ in range(100):
        store.write(add())
    target = tmp_path / "backup" / "copy.sqlite"
    copy_database(store.path, target)
    copy = factory.open_store(target)
    assert count(copy) == 100
    copy.close()
    assert [path.name for path in target.parent.iterdir() if path.suffix == ".part"] == []


def test_closing_finishes_what_was_queued(tmp_path: Path) -> None:
    store = Store(tmp_path / "x.sqlite")
    jobs = [store.submit(add()) for _ in range(200)]
    store.close()
    assert jobs[-1].result() == 200
    with pytest.raises(StoreError, match="closed"):
        store.submit(add())


def test_waiting_callers_share_commits(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    commit = Store._commit

    def counted(self: Store, db: Any, batch: Any) -> None:
        sizes.append(len(batch))
        commit(self, db, batch)

    monkeypatch.setattr(Store, "_commit", counted)
    gate = threading.Event()
    store.submit(lambda tx: gate.wait(5))
    jobs = [store.submit(add()) for _ in range(database.MAX_BATCH)]
    gate.set()
    for job in jobs:
        job.result()
    assert len(sizes) <= 3


def test_a_change_whose_transaction_sqlite_rolled_back_is_never_reported_as_success(store: Store) -> None:
    store.write(lambda tx: tx.run("CREATE TABLE thing (x INTEGER PRIMARY KEY) STRICT"))

    def careless(tx: Tx) -> str:
        tx.run("INSERT INTO thing VALUES (1)")
        with contextlib.suppress(sqlite3.Error):
            tx.run("INSERT OR ROLLBACK INTO thing VALUES (1)")  # as a full disk does
        return "success"

    with pytest.raises(StoreError):
        store.write(careless)
    with store.read() as reader:
        assert reader.rows("SELECT * FROM thing") == []
    store.write(lambda tx: tx.run("INSERT INTO thing VALUES (2)"))  # the store goes on
