"""One study in the archive that may be two patients': by itself it closes no order of either."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import date

import pytest

from broker.domain.clinic.devices import Device
from broker.domain.orders import Order, OrderState
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies import unreferred_studies as unreferred_queries
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals, unreferred_studies
from broker.workflow.studies import archive_images, performed_steps
from tests.support.clock import TODAY
from tests.support.factory import CLINIC, DEVICES, KUZNETSOVA, REGISTRAR, SYSTEM, XRAY, draft, message, performed, soon

NAMESAKE = replace(KUZNETSOVA, snils="08765430300", policy="")
SISTER = replace(KUZNETSOVA, name=PersonName("Кузнецова", "Мария", "Петровна"), snils="", policy="")
UNKNOWN = Patient(PersonName("Неизвестная"), None, Sex.FEMALE)


@pytest.fixture(params=[False, True], ids=["order's UIDs", "device's own UIDs"])
def store(store: Store, request: pytest.FixtureRequest) -> Store:
    """A store whose X-ray may make Study Instance UIDs of its own."""
    device: Device = replace(DEVICES[0], own_study_uids=request.param)
    store.write(lambda tx: devices.put(tx, device))
    return store


def register(store: Store, patient: Patient, **changes: object) -> Order:
    return store.write(referrals.register, draft(patient=patient, **changes), REGISTRAR, CLINIC)


def study(uid: str, number: str, patient_id: str, name: str = "Кузнецова^Марина^Петровна") -> ArchiveStudy:
    return ArchiveStudy(uid, number, 2, "DX", name, patient_id, "19610312", soon(), "F")


def answer(store: Store, order: Order, found: ArchiveStudy) -> None:
    store.write(archive_images.record_answer, order.id, [found], SYSTEM, CLINIC, settled=True)


def closed(store: Store, *of: Order) -> list[int]:
    with store.read() as reader:
        return [each.id for each in of if orders.require(reader, each.id).state is not OrderState.SCHEDULED]


def is_shown(store: Store, found: ArchiveStudy) -> bool:
    with store.read() as reader:
        return found in [each.discrepancy.study for each in archive_gaps.open_studies(reader)]


@pytest.mark.parametrize("second", [NAMESAKE, SISTER], ids=["a namesake", "a sister"])
@pytest.mark.parametrize("answered", [(0, 1), (1, 0)], ids=["one first", "the other first"])
def test_a_study_that_bears_marks_of_two_patients_closes_no_order_and_is_shown(
    store: Store, second: Patient, answered: tuple[int, int]
) -> None:
    pair = register(store, KUZNETSOVA), register(store, second)
    marks = [(each.study_instance_uid, each.accession_number, each.patient.patient_id) for each in pair]
    for uid, number, id in itertools.product((0, 1), (0, 1), (0, 1)):
        if uid == number == id:
            continue
        mixed = study(marks[uid][0], marks[number][1], marks[id][2])
        for at in answered:
            answer(store, pair[at], mixed)
        assert closed(store, *pair) == []
        assert is_shown(store, mixed)


def test_a_namesakes_study_without_a_card_number_is_the_orders_whose_uid_and_number_it_bears(store: Store) -> None:
    pair = register(store, KUZNETSOVA), register(store, NAMESAKE)
    for each in pair:
        answer(store, each, study(pair[1].study_instance_uid, pair[1].accession_number, ""))
    assert closed(store, *pair) == [pair[1].id]


@pytest.mark.parametrize("name", ["", "Кузнецова^Марина^Петровна", "KUZNETSOVA^MARINA"])
def test_a_study_of_a_device_that_names_two_patients_orders_closes_neither_by_the_archive(
    store: Store, name: str
) -> None:
    pair = register(store, KUZNETSOVA), register(store, NAMESAKE)
    references = [StepReference("1.9.9", accession_number=each.accession_number) for each in pair]
    step = performed("1.2", *references, patient_name="Кузнецова^Марина^Петровна", patient_id="")
    store.write(performed_steps.start, step, message("start"), XRAY, CLINIC)
    ended = PerformedChange(PerformedState.DISCONTINUED)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", ended, message("end")), XRAY, CLINIC)
    before = {each.id: state_of(store, each) for each in pair}
    for each in pair:
        answer(store, each, study("1.9.9", "", "", name))
    assert {each.id: state_of(store, each) for each in pair} == before


def state_of(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        return orders.require(reader, order.id).state


def test_a_study_without_a_number_that_fits_two_patients_is_offered_with_both_and_joined_to_neither(
    store: Store,
) -> None:
    pair = register(store, KUZNETSOVA), register(store, NAMESAKE)
    found = study("1.9.9", "", "")
    store.write(unreferred_studies.record_day, TODAY, [found], SYSTEM)
    with store.read() as reader:
        [offered] = unreferred_queries.open_studies(reader)
    assert [each.id for each in offered.candidates] == [each.id for each in pair]
    assert closed(store, *pair) == []


@pytest.mark.parametrize("shown", ["Неизвестная", "Неизвестная^", "Neizvestnaia"])
def test_a_study_of_an_unknown_woman_fits_two_of_them_and_closes_neither(store: Store, shown: str) -> None:
    pair = register(store, UNKNOWN), register(store, UNKNOWN)
    for uid, number in ((0, 1), (1, 0)):
        mixed = replace(study(pair[uid].study_instance_uid, pair[number].accession_number, "", shown), birth_date="")
        for each in pair:
            answer(store, each, mixed)
    assert closed(store, *pair) == []


def test_images_of_one_day_of_birth_and_name_are_never_counted_for_both(store: Store) -> None:
    pair = register(store, KUZNETSOVA), register(store, replace(NAMESAKE, birth_date=date(1961, 3, 12)))
    for uid, number, id in itertools.product((0, 1), (0, 1), ("", "X")):
        found = study(pair[uid].study_instance_uid, pair[number].accession_number, id)
        for each in pair:
            answer(store, each, found)
    with store.read() as reader:
        held = reader.rows("SELECT study_instance_uid FROM archive_study WHERE images > 0")
    assert len({row["study_instance_uid"] for row in held}) == len(held)
