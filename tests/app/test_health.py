"""Health is checked, not assumed."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from broker.app import health
from broker.app.application import Application
from broker.config.configuration import Config
from broker.store.database import StoreError, Tx
from tests.support.modality import create, creation


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Application]:
    dicom = {"address": "127.0.0.1", "port": 0}
    made = Application(
        Config.model_validate({"clinic": {"name": "К"}, "dicom": dicom, "data": {"directory": str(tmp_path)}})
    )
    made.dicom.start()
    yield made
    made.dicom.stop()
    made.close()


def verdicts(running: Application) -> dict[str, bool]:
    running.health.check()
    return {check.name: check.ok for check in running.health.health().checks}


def test_everything_works_in_a_complete_installation(running: Application) -> None:
    assert verdicts(running) == {"database": True, "dicom": True}
    assert running.health.health().ok


def test_a_full_disk_is_reported_until_it_is_over(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tx: Tx) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(health, "heartbeat", full)
    assert verdicts(running)["database"] is False
    monkeypatch.undo()
    assert verdicts(running)["database"] is True


def test_the_look_at_the_database_writes(running: Application) -> None:
    def beats() -> int:
        with running.store.read() as reader:
            return int(reader.value("SELECT value FROM counter WHERE name = 'heartbeat'") or 0)

    before = beats()
    verdicts(running)
    assert beats() == before + 1


def test_a_database_that_cannot_be_read_is_reported(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreError("I/O error")

    @contextmanager
    def unreadable() -> Iterator[None]:
        raise sqlite3.OperationalError("I/O error")
        yield

    verdicts(running)
    monkeypatch.setattr(running.store, "write", refuse)
    monkeypatch.setattr(running.store, "read", unreadable)
    assert verdicts(running)["database"] is False
    assert not running.health.health().ok


def test_a_closed_port_is_reported(running: Application) -> None:
    port = running.dicom.port
    assert port
    running.config.dicom.__dict__["ae_title"] = "OTHER"  # what a real C-ECHO is sent to, and refused
    assert verdicts(running)["dicom"] is False


def test_a_look_that_is_too_old_is_a_fault(running: Application, monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts(running)
    now = time.monotonic()
    monkeypatch.setattr(health, "monotonic", lambda: now + health.TOO_OLD + 1)
    assert not running.health.health().ok
    assert running.health.health().checks[-1].name == "watch"


def test_messages_that_wait_too_long_for_a_node_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom = {"address": "127.0.0.1", "port": 0, "forward_mpps": ["RIS@127.0.0.1:1"]}
    values = {"clinic": {"name": "К"}, "dicom": dicom, "data": {"directory": str(tmp_path)}}
    made = Application(Config.model_validate(values))
    made.dicom.start()
    try:
        [forwarder] = made.forwarders
        forwarder.look()
        assert verdicts(made)["forwarding"] is True
        create(made.store, creation())
        forwarder.look()
        assert verdicts(made)["forwarding"] is True  # it has not waited long yet
        monkeypatch.setattr(health, "QUEUE_TOO_OLD", timedelta(seconds=-1))
        assert verdicts(made)["forwarding"] is False
        [check] = [each for each in made.health.health().checks if each.name == "forwarding"]
        assert check.detail == "1 MPPS messages wait for RIS, nothing answers at 127.0.0.1:1"
    finally:
        made.dicom.stop()
        made.close()
