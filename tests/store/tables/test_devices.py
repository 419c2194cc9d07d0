"""The registry keeps what is known of devices, and no more than it may."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.domain.clinic.devices import Device
from broker.store.database import Store
from broker.store.queries import device_registry
from broker.store.tables import devices
from tests.support import factory
from tests.support.clock import Clock

EVERY_POLICY = Device(
    "CT_1",
    "КТ",
    "CT",
    "каб. 1",
    "10.0.4.1, 10.0.4.2",
    "latin",
    True,
    "ISO_IR 192",
    32,
    False,
    2,
    7,
    4,
    True,
    6,
    True,
    True,
)


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 24, 6, 47, tzinfo=UTC))


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    yield opened
    opened.close()


def learn(store: Store, ae_title: str, address: str) -> None:
    store.write(lambda tx: devices.learn(tx, ae_title, address))


def keep_sample(store: Store, ae_title: str, service: str, attributes: dict[str, Any]) -> None:
    store.write(lambda tx: devices.keep_sample(tx, ae_title, service, attributes))


def note(store: Store, ae_title: str, kind: str, text: str) -> None:
    store.write(lambda tx: devices.note(tx, ae_title, kind, text))


def strangers(store: Store) -> list[str]:
    with store.read() as reader:
        return [each.device.ae_title for each in device_registry.contacts(reader) if not each.device.approved]


def test_every_field_of_a_device_is_kept(store: Store) -> None:
    usual = Device("CT_1", "", "")
    same = [each.name for each in fields(Device) if getattr(usual, each.name) == getattr(EVERY_POLICY, each.name)]
    assert same == ["ae_title", "approved"]  # every other one differs from its default here
    store.write(lambda tx: devices.put(tx, EVERY_POLICY))
    with store.read() as reader:
        assert devices.get(reader, "CT_1") == EVERY_POLICY


def test_an_unknown_device_is_learned_with_its_newest_address_and_a_known_one_does_not_change(store: Store) -> None:
    for address in ("10.0.4.7", "10.0.4.8"):
        learn(store, "US_7", address)
        learn(store, "XRAY_14", address)
    with store.read() as reader:
        stranger, known = devices.get(reader, "US_7"), devices.get(reader, "XRAY_14")
    assert stranger == Device("US_7", "US_7", "", address="10.0.4.8", approved=False)
    assert known == factory.DEVICES[0]


def test_a_flood_of_invented_callers_removes_those_with_the_oldest_contact(store: Store, clock: Clock) -> None:
    for number in range(devices.MAX_UNAPPROVED):
        clock.now += timedelta(seconds=1)
        learn(store, f"FAKE_{number}", "10.0.0.1")
    store.write(lambda tx: devices.note_contact(tx, "FAKE_0", "refused", "10.0.0.1", ""))  # the oldest, heard again
    for number in range(5):
        clock.now += timedelta(seconds=1)
        learn(store, f"MORE_{number}", "10.0.0.1")
    kept = set(strangers(store))
    assert len(kept) == devices.MAX_UNAPPROVED
    assert {"FAKE_0", "MORE_0", "MORE_4", "FAKE_6"} <= kept
    assert not {"FAKE_1", "FAKE_5"} & kept
    with store.read() as reader:
        assert len(device_registry.approved(reader)) == len(factory.DEVICES)


def test_of_strangers_in_one_instant_the_newest_stays(store: Store) -> None:
    for number in range(devices.MAX_UNAPPROVED + 3):
        learn(store, f"ZZ_{number}", "10.0.0.1")
    learn(store, "AA", "10.0.0.1")
    assert "AA" in strangers(store)


def test_the_first_and_the_latest_sample_are_kept(store: Store, clock: Clock) -> None:
    for number in range(3):
        clock.now += timedelta(minutes=1)
        keep_sample(store, "XRAY_14", "worklist", {"n": number})
    keep_sample(store, "NOBODY", "worklist", {})
    keep_sample(store, "FLG_12", "N-SET", {"x": "я"})
    with store.read() as reader:
        found, one = devices.samples(reader), devices.samples(reader, "XRAY_14")
    assert [(each.which, each.attributes) for each in found["XRAY_14"]] == [("first", {"n": 0}), ("latest", {"n": 2})]
    assert found["XRAY_14"][1].at == clock.now
    assert sorted(found) == ["FLG_12", "XRAY_14"]
    assert list(one) == ["XRAY_14"]


def test_notes_count_what_repeats_and_keep_its_newest_text(store: Store, clock: Clock) -> None:
    for text in ("first", "second"):
        clock.now += timedelta(minutes=1)
        note(store, "XRAY_14", "transliterated", text)
    note(store, "XRAY_14", "other", "")
    note(store, "NOBODY", "other", "")
    with store.read() as reader:
        found = devices.notes(reader)
    assert list(found) == ["XRAY_14"]
    assert [(each.kind, each.text, each.count) for each in found["XRAY_14"]] == [
        ("other", "", 1),
        ("transliterated", "second", 2),
    ]


def test_data_of_a_removed_unknown_device_are_removed_with_it(store: Store, clock: Clock) -> None:
    learn(store, "OLD", "10.0.0.1")
    keep_sample(store, "OLD", "worklist", {})
    note(store, "OLD", "other", "")
    for number in range(devices.MAX_UNAPPROVED):
        clock.now += timedelta(seconds=1)
        learn(store, f"FAKE_{number}", "10.0.0.1")
    assert "OLD" not in strangers(store)
    with store.read() as reader:
        assert devices.samples(reader) == {}
        assert devices.notes(reader) == {}
