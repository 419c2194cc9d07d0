"""Unidentified people, newborns and people of one name: their images, orders and cards stay their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.errors import Invalid
from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.orders import Order
from broker.domain.patients import names
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import StepReference
from broker.store.database import Store
from broker.store.tables.studies import performed_links
from broker.workflow.patients import imported_patients
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, SYSTEM, XRAY, draft, message, performed
from tests.workflow.referrals.test_worklist_files import item, order_of, take

BORN = date(1986, 1, 1)
UNKNOWN = Patient(PersonName("Неизвестный", "№1"), None, Sex.MALE)


def register(store: Store, patient: Patient) -> Order:
    return store.write(referrals.register, draft(patient=patient), REGISTRAR, CLINIC)


@pytest.mark.parametrize(
    ("registered", "reported"),
    [
        (UNKNOWN, "Неизвестный^№2"),
        (KUZNETSOVA, "Неизвестный^№2"),
        (KUZNETSOVA, "Кузнецова^новорождённая^мать Марина"),
        (Patient(PersonName("Иванова", "новорождённая"), BORN, Sex.FEMALE), "Петрова^новорождённая"),
        (Patient(PersonName("Иванова", "девочка 1"), BORN, Sex.FEMALE), "Иванова^девочка 2"),
    ],
)
def test_images_of_somebody_else_who_is_not_named_are_held(store: Store, registered: Patient, reported: str) -> None:
    order = register(store, registered)
    step = performed("1.2.3", StepReference("", order.accession_number), patient_name=reported)
    store.write(performed_steps.start, step, message("1"), XRAY, CLINIC)
    with store.read() as reader:
        assert [link.conflict for link in performed_links.links_of_orders(reader, [order.id])] == [("patient_name",)]


@pytest.mark.parametrize("reported", ["Неизвестный^№000012", "Кузнецова^новорождённая^мать Марина"])
def test_a_person_sees_whose_images_they_are_before_linking_them(store: Store, reported: str) -> None:
    order = register(store, KUZNETSOVA)
    store.write(performed_steps.start, performed("1.2", patient_name=reported), message("1"), XRAY, CLINIC)
    with pytest.raises(Invalid):
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)


def test_images_of_a_longer_name_with_another_number_are_held(store: Store) -> None:
    order = register(store, replace(UNKNOWN, name=PersonName("Иванов")))
    reference = StepReference("", order.accession_number)
    step = performed("1.2", reference, patient_name="Иванов^Пётр^Ильич", patient_id="X-5")
    store.write(performed_steps.start, step, message("1"), XRAY, CLINIC)
    with store.read() as reader:
        assert [link.conflict for link in performed_links.links_of_orders(reader, [order.id])] == [("patient_id",)]


def test_an_unidentified_person_is_examined_again_by_the_card_number(store: Store) -> None:
    person = Patient(PersonName("Неизвестный"), None, Sex.MALE, patient_id="777")
    first = register(store, person).patient
    assert str(first.name) == "Неизвестный №777"
    for name in (PersonName("Неизвестный"), PersonName("Неизвестный", "№777")):
        again = register(store, replace(person, name=name)).patient
        assert (again.id, str(again.name)) == (first.id, "Неизвестный №777")
    place = ImportPlace(ImportSource.TABLE, "/lists/a.csv", 2)
    imported = store.write(imported_patients.save, person, place, SYSTEM, CLINIC).patient
    assert (imported.id, str(imported.name)) == (first.id, "Неизвестный №777")


@pytest.mark.parametrize("name", [PersonName("Неизвестный", "№2"), PersonName("Иванова", "новорождённая")])
def test_a_card_number_is_not_taken_for_another_unidentified_person(store: Store, name: PersonName) -> None:
    person = Patient(PersonName("Неизвестный"), None, Sex.MALE, patient_id="777")
    register(store, person)
    with pytest.raises(Invalid):
        register(store, replace(person, name=name))


@pytest.mark.parametrize("name", [PersonName("Неизвестный"), PersonName("Иванова", "новорождённая")])
def test_a_file_that_is_rewritten_for_the_next_one_without_a_name_is_another_order(
    store: Store, name: PersonName
) -> None:
    patient = Patient(name, None, Sex.MALE)
    plain = item(patient=patient, accession_number="", requested_procedure_id="", sps_id="")
    first = take(store, plain)
    second = take(store, replace(plain, study_instance_uid="1.2.3.2"), digest="2")
    assert first.order_id != second.order_id
    assert order_of(store, first).patient.id != order_of(store, second).patient.id
    assert take(store, replace(plain, study_instance_uid="1.2.3.2"), digest="3").order_id == second.order_id


@pytest.mark.parametrize(
    "name",
    [
        PersonName("Неизвестный"),
        PersonName("Неизвестный", "1"),
        PersonName("Иванова", "новорождённая", "мать Мария"),
        PersonName("Иванова", "девочка"),
    ],
)
def test_two_who_are_registered_under_one_name_bear_different_names(store: Store, name: PersonName) -> None:
    person = Patient(name, BORN, Sex.FEMALE)
    found = [register(store, person).patient for _ in range(2)]
    found += [order_of(store, take(store, item(patient=person, **each), path)).patient for path, each in FILES.items()]
    assert len({each.id for each in found}) == len({str(each.name) for each in found}) == 4
    assert all(not names.identifies(each.name) for each in found)
    assert all(str(each.name).replace(f" №{each.patient_id}", "") == str(name) for each in found)
    assert found[0].name == name or name == PersonName("Неизвестный")


FILES = {
    f"/wl/{number}.wl": {"accession_number": f"A{number}", "study_instance_uid": f"1.2.3.{number}"} for number in (1, 2)
}
