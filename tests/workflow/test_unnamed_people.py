"""Unidentified people, newborns and people of one name: their images, orders and cards stay their own."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from broker.domain.errors import Invalid
from broker.domain.orders import Order
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.performed import StepReference
from broker.store.database import Store
from broker.store.tables import performed_links
from broker.workflow import performed_steps, referrals, step_links
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, XRAY, draft, message, performed

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
