"""The clinic's side of the bus as the program builds it."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from broker.app import bus as region
from broker.app.bus import RegionalBus
from broker.config.configuration import Config
from broker.store.database import Store
from broker.store.tables import incoming
from tests.bus.samples import MIS
from tests.support.factory import CLINIC

HERE, THERE = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02", "0e0e0e0e-0000-4000-8000-000000000003"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "token").write_text("secret")
    return tmp_path


def opened(store: Store, directory: Path, **bus: Any) -> RegionalBus:
    settings = {
        "url": "http://127.0.0.1:9/fhir",
        "token_file": directory / "token",
        "organisation": HERE,
        "mis_oid": MIS,
    }
    clinic = {"name": "Клиника"}
    config = Config.model_validate({"clinic": clinic, "bus": settings | bus, "data": {"directory": directory}})
    return RegionalBus(config, store, CLINIC)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, "2026"),
        ({"organisation": HERE.upper()}, "2026"),
        ({"organisation": THERE}, ""),
        ({"url": "http://b/c"}, ""),
    ],
)
def test_how_far_searches_have_got_counts_for_the_same_bus_and_clinic_only(
    store: Store, directory: Path, caplog: pytest.LogCaptureFixture, change: dict[str, Any], kept: str
) -> None:
    opened(store, directory)
    store.write(lambda tx: incoming.set_cursor(tx, "referrals", "2026"))
    caplog.set_level(logging.WARNING)
    opened(store, directory, **change)
    with store.read() as reader:
        assert incoming.cursor(reader, "referrals") == kept
    assert ("polled again" in caplog.text) == (kept == "")


@pytest.mark.parametrize(("dialect", "workers"), [("n3", 4), ("r4", 1)])
def test_a_server_of_conditional_creations_gets_one_message_at_a_time(
    store: Store, directory: Path, monkeypatch: pytest.MonkeyPatch, dialect: str, workers: int
) -> None:
    options: dict[str, Any] = {}
    monkeypatch.setattr(region, "Delivery", lambda *_, **given: options.update(given))
    opened(store, directory, dialect=dialect)
    assert options["workers"] == workers
