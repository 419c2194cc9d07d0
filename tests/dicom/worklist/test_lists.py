"""A called AE title may stand for the list of a room or of some devices: who calls it gets their items only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
)

from broker.dicom.scu import echo
from broker.dicom.server import DicomServer
from broker.dicom.statuses import Status
from broker.domain.clinic.devices import Device
from broker.domain.orders import Order
from broker.store.database import Store
from broker.store.queries import device_registry
from broker.store.tables import devices, orders
from tests.dicom.worklist.asked import register
from tests.peers.dcmtk import EVERYTHING, STEP, findscu
from tests.support.modality import creation
from tests.support.port import associated, serving

LISTS = {"ROOM_12": ["каб. 12"], "BOTH": ["XRAY_14", "FLG_12"], "SCRIPT": ["AA32"]}


@pytest.fixture
def server(store: Store) -> Iterator[DicomServer]:
    with serving(store, lists=LISTS) as started:
        yield started


@pytest.fixture
def items(store: Store) -> dict[str, str]:
    """Schedule an item on each of some stations; gives station -> accession number."""
    made = {}
    for title in ("XRAY_14", "FLG_12", "MAMMO_9", "AA32"):
        order: Order = register(store)
        store.write(orders.reschedule, order.steps[0].id, order.steps[0].start, (title,))
        made[title] = order.accession_number
    return made


def found(server: DicomServer, tmp_path: Path, called: str, calling: str = "XRAY_14", station: str = "") -> list[str]:
    key = f"{STEP}ScheduledStationAETitle={station}"
    answered = findscu(server.port, *EVERYTHING, key, directory=tmp_path, calling=calling, called=called)
    assert answered.status == 0, answered.words
    return [str(each.AccessionNumber) for each in answered.matches]


def noted(store: Store, ae_title: str) -> dict[str, str]:
    store.write(lambda tx: None)  # what was queued before is committed with or before this
    with store.read() as reader:
        return {note.kind: note.text for note in devices.notes(reader).get(ae_title, [])}


def test_a_list_has_the_items_of_its_stations_for_each_of_them(
    server: DicomServer, items: dict[str, str], tmp_path: Path
) -> None:
    both = [items["XRAY_14"], items["FLG_12"]]
    for _ in range(2):  # worked out, then from memory
        for calling in ("XRAY_14", "FLG_12"):
            assert found(server, tmp_path, "BOTH", calling) == both
            assert found(server, tmp_path, "WORKLIST", calling) == [items[calling]]  # as ever
    assert found(server, tmp_path, "BOTH", "XRAY_14", "FLG_12") == [items["FLG_12"]]
    assert found(server, tmp_path, "BOTH", "XRAY_14", "MAMMO_9") == []


def test_a_room_is_the_list_of_the_devices_in_it(
    server: DicomServer, store: Store, items: dict[str, str], tmp_path: Path
) -> None:
    assert found(server, tmp_path, "ROOM_12", "FLG_12") == [items["FLG_12"]]
    store.write(lambda tx: devices.put(tx, Device("MAMMO_9", "Маммограф", "MG", "каб. 12")))  # it has moved
    assert found(server, tmp_path, "ROOM_12", "FLG_12") == [items["FLG_12"], items["MAMMO_9"]]


def test_a_list_of_stations_that_are_no_devices_here_is_for_all(
    server: DicomServer, items: dict[str, str], tmp_path: Path
) -> None:
    assert found(server, tmp_path, "SCRIPT") == [items["AA32"]]


def test_a_device_that_is_not_on_a_list_of_others_gets_nothing_and_is_noted(
    server: DicomServer, store: Store, items: dict[str, str], tmp_path: Path
) -> None:
    assert found(server, tmp_path, "ROOM_12", "MAMMO_9") == []
    assert noted(store, "MAMMO_9") == {"other_lists": "FLG_12"}
    store.write(lambda tx: devices.put(tx, Device("MAMMO_9", "Маммограф", "MG", for_others=True)))
    assert found(server, tmp_path, "ROOM_12", "MAMMO_9") == [items["FLG_12"]]


def test_every_service_is_offered_under_every_title_and_none_under_another(server: DicomServer, store: Store) -> None:
    for called in ("WORKLIST", *LISTS):
        assert echo.echo(called, "127.0.0.1", server.port, "FLG_12").ok
    with associated(server.port, ModalityPerformedProcedureStep, called="ROOM_12") as assoc:
        assert assoc.send_n_create(creation(), ModalityPerformedProcedureStep, "1.2.3")[0].Status == Status.SUCCESS
    with associated(server.port, ModalityWorklistInformationFind, "MAMMO_9", called="ROOM_13") as assoc:
        assert not assoc.is_established  # on a busy machine pynetdicom's client may miss that it was rejected
    store.write(lambda tx: None)  # what was queued before is committed with or before this
    with store.read() as reader:
        contacts = {each.device.ae_title: each for each in device_registry.contacts(reader)}
    turned_away = contacts["MAMMO_9"].turned_away
    assert turned_away is not None
    assert turned_away.details == ("ROOM_13",)
