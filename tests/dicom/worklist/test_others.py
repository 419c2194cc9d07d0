"""A device sees its own list; those of other devices only if it may, and what it tries otherwise is noted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from broker.dicom.devices import samples
from broker.dicom.worklist import explain
from broker.domain.clinic.device_advice import Explanation
from broker.domain.orders import Order
from broker.store.database import Store
from broker.store.tables import devices, orders
from tests.dicom.worklist.asked import ask, numbers, query, register
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support import factory
from tests.support.factory import CLINIC
from tests.support.port import serving

FLG = {"ScheduledStationAETitle": "FLG_12"}


def allow(store: Store, **settings: Any) -> None:
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], **settings)))


def notes(store: Store, ae_title: str = "XRAY_14") -> dict[str, str]:
    store.write(lambda tx: None)  # what was queued before is committed with or before this
    with store.read() as reader:
        return {note.kind: note.text for note in devices.notes(reader).get(ae_title, [])}


def on_stations(store: Store, *titles: str) -> Order:
    order = register(store)
    store.write(lambda tx: orders.reschedule(tx, order.steps[0].id, order.steps[0].start, titles))
    return order


def asked(step: dict[str, Any]) -> Dataset:
    return query({"ScheduledProcedureStepID": "", **step})


@pytest.mark.parametrize(
    "step", [FLG, {"ScheduledStationAETitle": "FLG*"}, {"ScheduledStationAETitle": ["XRAY_14", "FLG_12"]}]
)
def test_the_list_of_another_device_is_withheld_and_that_is_noted(store: Store, step: dict[str, Any]) -> None:
    other = on_stations(store, "FLG_12")
    assert numbers(ask(store, asked(step))) == []
    assert notes(store) == {"other_lists": "FLG_12"}
    allow(store, for_others=True)
    assert numbers(ask(store, asked(step))) == [other.accession_number]


def test_asking_for_an_empty_list_of_another_device_is_noted_too(store: Store) -> None:
    assert numbers(ask(store, asked(FLG))) == []
    assert notes(store) == {"other_lists": "FLG_12"}


def test_what_is_scheduled_on_both_is_seen_by_both(store: Store) -> None:
    order = on_stations(store, "XRAY_14", "FLG_12")
    assert numbers(ask(store, asked(FLG))) == [order.accession_number]
    assert numbers(ask(store, asked({}))) == [order.accession_number]


def test_a_station_that_is_no_device_here_is_nobodys(store: Store) -> None:
    order = on_stations(store, "AA32")  # a script's name for a room, under which wlmscpfs serves several consoles
    assert numbers(ask(store, asked({"ScheduledStationAETitle": "AA32"}))) == [order.accession_number]
    mixed = on_stations(store, "AA32", "FLG_12")
    assert numbers(ask(store, asked({"ScheduledStationAETitle": "FLG_12"}))) == [mixed.accession_number]


def test_a_device_that_is_set_to_see_all_sees_all(store: Store) -> None:
    one, other = on_stations(store, "XRAY_14"), on_stations(store, "FLG_12")
    allow(store, own_only=False)
    assert numbers(ask(store, asked({}))) == [one.accession_number, other.accession_number]
    assert numbers(ask(store, asked(FLG))) == [other.accession_number]
    assert notes(store) == {}


def test_numbers_do_not_lead_to_the_items_of_others(store: Store) -> None:
    other = on_stations(store, "FLG_12")
    found = ask(store, query(FLG, AccessionNumber=other.accession_number))
    assert numbers(found) == []


def why(store: Store, order: Order) -> Explanation:
    with store.read() as reader:
        return explain.explain_order(reader, order, "XRAY_14", store.clock(), CLINIC)


def test_why_says_so(store: Store) -> None:
    other = on_stations(store, "FLG_12")
    with store.read() as reader:
        [other] = orders.get_many(reader, [other.id])
    query = samples.mask(asked(FLG))
    store.write(lambda tx: devices.keep_sample(tx, "XRAY_14", "worklist", query))
    explained = why(store, other)
    assert not explained.seen
    assert {each.code for each in explained.results if not each.ok and each.decides} == {"others_withheld"}
    allow(store, for_others=True)
    assert why(store, other).seen


def test_dcmtk_gets_its_own_items_only_from_memory_too(store: Store, tmp_path: Path) -> None:
    own, other = on_stations(store, "XRAY_14"), on_stations(store, "FLG_12")
    with serving(store) as server:

        def found(station: str) -> list[str]:
            answered = findscu(server.port, *EVERYTHING, f"{STEP}ScheduledStationAETitle={station}", directory=tmp_path)
            assert answered.status == 0
            return [str(each.AccessionNumber) for each in answered.matches]

        for _ in range(2):
            assert found("FLG_12") == []
            assert found("*") == [own.accession_number]
        allow(store, for_others=True)
        assert found("FLG_12") == [other.accession_number]
        allow(store)
        assert found("FLG_12") == []
