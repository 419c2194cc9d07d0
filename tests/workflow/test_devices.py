"""A device is put into the registry as it may be, by whom it may be, with a trail of what changed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from broker.domain.clinic.devices import Device
from broker.domain.errors import Forbidden, Invalid, NotFound
from broker.store.database import Store
from broker.store.tables import devices as registry
from broker.workflow import devices
from tests.support.factory import REGISTRAR, SYSTEM

CT = Device("CT_1", "КТ", "CT", "каб. 1", "10.0.4.1", "latin")


def trail(store: Store) -> list[dict[str, Any]]:
    with store.read() as reader:
        rows = reader.rows("SELECT details FROM audit WHERE action = 'device_put' ORDER BY seq")
    return [json.loads(row["details"]) for row in rows]


def kept(store: Store, ae_title: str = "CT_1") -> Device | None:
    with store.read() as reader:
        return registry.get(reader, ae_title)


def test_a_device_is_registered_with_a_trail_of_its_settings(store: Store) -> None:
    store.write(devices.put_device, CT, SYSTEM)
    assert kept(store) == CT
    [line] = trail(store)
    assert (line["ae_title"], line["name"]) == ("CT_1", "КТ")
    assert line["changed"]["charset"] == [None, "latin"]
    assert line["changed"]["days_after"] == [None, 30]


def test_a_change_has_old_and_new_values_and_one_without_a_difference_has_none(store: Store) -> None:
    store.write(devices.put_device, CT, SYSTEM)
    store.write(devices.put_device, replace(CT, own_only=False, longest=32), SYSTEM)
    store.write(devices.put_device, replace(CT, own_only=False, longest=32, name=" КТ\t"), SYSTEM)
    assert [line["changed"] for line in trail(store)[1:]] == [{"longest": [64, 32], "own_only": [True, False]}]


def test_approving_an_unknown_device_is_reported_as_such(store: Store) -> None:
    store.write(lambda tx: registry.learn(tx, "CT_1", "10.0.4.1"))
    store.write(devices.put_device, CT, SYSTEM)
    assert trail(store)[0]["changed"]["approved"] == [False, True]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ae_title": ""}, {"ae_title": "letters"}),
        ({"ae_title": "A\\B"}, {"ae_title": "letters"}),
        ({"ae_title": "КТ"}, {"ae_title": "letters"}),
        ({"ae_title": "SEVENTEEN_LETTERS"}, {"ae_title": "letters"}),
        ({"name": " \t"}, {"name": "required"}),
        ({"name": "К" * 65}, {"name": "too_long"}),
        ({"room": "К" * 65}, {"room": "too_long"}),
        ({"modality": "ct"}, {"modality": "letters"}),
        ({"address": "10.0.4.300"}, {"address": "address"}),
        ({"address": "10.0.4.1, ct.local"}, {"address": "address"}),
        ({"charset": "KOI8-R"}, {"charset": "unknown"}),
        ({"fallback_charset": "auto"}, {"fallback_charset": "unknown"}),
        ({"name": "", "longest": 7}, {"name": "required", "longest": "range"}),
    ],
)
def test_what_is_wrong_is_refused_field_by_field(store: Store, change: dict[str, Any], problem: dict[str, str]) -> None:
    with pytest.raises(Invalid) as caught:
        store.write(devices.put_device, replace(CT, **change), SYSTEM)
    assert caught.value.problems == problem
    assert trail(store) == []


@pytest.mark.parametrize("key", devices.RANGES)
def test_the_ends_of_every_range_are_taken_and_what_lies_beyond_is_not(store: Store, key: str) -> None:
    least, most = devices.RANGES[key]

    def put(value: Any) -> None:
        changes: dict[str, Any] = {key: value}
        store.write(devices.put_device, replace(CT, **changes), SYSTEM)

    for value in (least, most):
        put(value)
    for value in (least - 1, most + 1):
        with pytest.raises(Invalid):
            put(value)


@pytest.mark.parametrize("charset", devices.CHARSETS)
def test_every_character_set_that_is_offered_can_be_kept(store: Store, charset: str) -> None:
    for fallback in devices.FALLBACKS:
        store.write(devices.put_device, replace(CT, charset=charset, fallback_charset=fallback), SYSTEM)


def test_some_settings_are_changed_and_the_others_stay_as_they_are_now(store: Store) -> None:
    store.write(devices.put_device, replace(CT, room="каб. 2"), SYSTEM)
    assert store.write(devices.adjust_device, "CT_1", {"charset": "auto"}, SYSTEM) == replace(
        CT, room="каб. 2", charset="auto"
    )
    assert trail(store)[-1]["changed"] == {"charset": ["latin", "auto"]}
    with pytest.raises(Invalid):
        store.write(devices.adjust_device, "CT_1", {"longest": 1}, SYSTEM)
    with pytest.raises(NotFound):
        store.write(devices.adjust_device, "NOBODY", {"charset": "auto"}, SYSTEM)


def test_only_an_administrator_may(store: Store) -> None:
    with pytest.raises(Forbidden):
        store.write(devices.put_device, CT, REGISTRAR)


@pytest.mark.parametrize(
    ("listed", "caller", "may"),
    [
        ("", "10.9.9.9", True),
        ("10.0.4.1", "10.0.4.1", True),
        ("10.0.4.1", "10.0.4.11", False),
        ("10.0.4.1, 10.0.4.2", "10.0.4.2", True),
        ("10.0.4.1,10.0.4.2", "10.0.4.3", False),
        ("10.0.4.1", "::ffff:10.0.4.1", True),
        ("fd00::1", "fd00:0::1", True),
    ],
)
def test_a_device_calls_from_its_own_addresses(listed: str, caller: str, may: bool) -> None:
    assert devices.may_call(replace(CT, address=listed), caller) is may


def test_addresses_are_kept_in_one_form(store: Store) -> None:
    kept_as = store.write(devices.put_device, replace(CT, address=" 10.0.4.1;10.0.4.2 "), SYSTEM)
    assert kept_as.address == "10.0.4.1, 10.0.4.2"
    assert kept(store) == kept_as
