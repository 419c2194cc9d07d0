"""Reports of modalities are joined with their order, and their dose becomes an effective one by the clinic's table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.actors import Actor, ActorKind
from broker.domain.clinic.directory import Entry
from broker.domain.errors import Forbidden, Invalid, WrongState
from broker.domain.orders import Order
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.dose import DoseReport, IrradiationEvent, Measured, Quantity
from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated
from broker.domain.studies.performed import Dose, StepReference
from broker.domain.studies.received import HeldReason, Receipt, ReceivedKind, ReceivedObject, match
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.store.queries.studies import effective_doses, received
from broker.store.tables.studies import received_objects
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from broker.workflow.studies import received_objects as use_cases
from broker.workflow.studies.effective_doses import calculate_once
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft

SOURCE = DirectorySource("dose-coefficients", "", "", "coefficients.csv")


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def report(order: Order, uid: str = "1.2.9", **changes: str) -> ReceivedObject:
    made = ReceivedObject(uid, "1.2.840.10008.5.1.4.1.1.88.67", ReceivedKind.DOSE, "XRAY_14", dataset=b"x", digest=uid)
    return replace(made, study_instance_uid=order.study_instance_uid, **changes)  # type: ignore[arg-type]


def dap(square_metres: float, *events: str) -> DoseReport:
    total = Measured(Quantity.DAP, square_metres, "Gy.m2")
    return DoseReport((total,), tuple(IrradiationEvent(each, (total,)) for each in events or ("1",)))


def table(store: Store, coefficient: str) -> None:
    details = {"quantity": "ПДП", "coefficient": coefficient, "unit": "мкЗв/(сГр·см²)"}
    store.write(replace_directory, SOURCE, [Entry("R-1", "Физик", details)], SYSTEM)


def effective(store: Store, order: Order) -> CalculatedDose | NotCalculated:
    with store.read() as reader:
        return effective_doses.of_order(reader, order)


def test_an_order_is_named_by_the_study_then_by_the_number_and_never_guessed() -> None:
    assert match([7], []) == 7
    assert match([7], [8]) == 7
    assert match([], [8]) == 8
    assert match([7, 8], [8]) == 8
    assert match([7, 8], []) is HeldReason.SEVERAL_ORDERS
    assert match([], [7, 8]) is HeldReason.SEVERAL_ORDERS
    assert match([], []) is HeldReason.NO_ORDER


def test_a_dose_that_arrives_becomes_an_effective_one_by_the_clinics_table(store: Store, order: Order) -> None:
    table(store, "0,2")
    store.write(use_cases.receive, report(order), dap(1.07e-5), XRAY)
    found = effective(store, order)
    assert isinstance(found, CalculatedDose)
    assert (found.millisieverts, found.row_code) == (0.00214, "R-1")
    assert found.amount == pytest.approx(10.7)


def test_another_table_changes_no_value_that_was_calculated(store: Store, order: Order) -> None:
    table(store, "0,2")
    store.write(use_cases.receive, report(order), dap(1.07e-5), XRAY)
    before = effective(store, order)
    table(store, "5")
    store.write(calculate_once, order)
    assert effective(store, order) == before
    store.write(use_cases.receive, report(order, "1.2.10"), dap(2e-5, "2"), XRAY)  # more was irradiated since
    after = effective(store, order)
    assert isinstance(after, CalculatedDose)
    assert after.coefficient == 5


def test_without_a_table_nothing_is_calculated(store: Store, order: Order) -> None:
    store.write(use_cases.receive, report(order), dap(1.07e-5), XRAY)
    assert effective(store, order) is NotCalculated.NO_ROW


def test_a_dose_report_counts_rather_than_what_the_performed_step_states(store: Store, order: Order) -> None:
    table(store, "1")
    reference = StepReference(order.study_instance_uid)
    step = factory.performed("1.2.3.4", reference, doses=(Dose("ImageAndFluoroscopyAreaDoseProduct", 3.0, "dGy.cm2"),))
    store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    with store.read() as reader:
        assert effective_doses.measured(reader, order.id).of(Quantity.DAP) == 30.0
    store.write(use_cases.receive, report(order), dap(1.07e-5), XRAY)
    with store.read() as reader:
        assert effective_doses.measured(reader, order.id).of(Quantity.DAP) == pytest.approx(10.7)  # never their sum
        [study] = patient_history.own(reader, order.patient.stored_id)
    assert study.effective_dose == pytest.approx(0.0107)  # it counts in the sum of the year


def test_a_held_report_is_joined_by_a_person_who_confirms_what_contradicts(store: Store, order: Order) -> None:
    table(store, "1")
    stranger = report(order, patient_name="Зуев^Пётр", patient_birth_date="19800101")
    assert store.write(use_cases.receive, stranger, dap(1e-5), XRAY) is Receipt.STORED
    with store.read() as reader:
        [held] = received.held(reader)
    assert held.stored.held is HeldReason.OTHER_PATIENT
    assert held.named is not None
    id = held.stored.id
    with pytest.raises(Forbidden):
        store.write(use_cases.join, id, order.id, Actor(ActorKind.PERSON, "guest"))
    with pytest.raises(Invalid):
        store.write(use_cases.join, id, order.id, SYSTEM)
    with store.read() as reader:
        compared = received.compared(reader, held.stored, order.accession_number)
    assert compared is not None
    store.write(use_cases.join, id, order.id, SYSTEM, Confirmation(order.patient, compared[1]))
    assert isinstance(effective(store, order), CalculatedDose)
    with pytest.raises(WrongState):
        store.write(use_cases.join, id, order.id, SYSTEM)


def test_a_report_that_comes_again_adds_nothing(store: Store, order: Order) -> None:
    for expected in (Receipt.STORED, Receipt.REPEATED):
        assert store.write(use_cases.receive, report(order), dap(1e-5), XRAY) is expected
    assert store.write(use_cases.receive, report(order, digest="other"), None, XRAY) is Receipt.OTHER_CONTENT
    with store.read() as reader:
        assert len(received_objects.of_order(reader, order.id)) == 1


def test_a_report_that_came_before_its_step_is_joined_when_the_step_says_whose_its_study_is(
    store: Store, order: Order
) -> None:
    early = replace(report(order), study_instance_uid="1.2.77")
    store.write(use_cases.receive, early, dap(1e-5), XRAY)
    with store.read() as reader:
        assert not use_cases.may_match(reader)
    assert store.write(use_cases.match_held, SYSTEM) == 0
    step = factory.performed("1.2.3.4", StepReference("1.2.77", order.accession_number))
    store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    with store.read() as reader:
        assert use_cases.may_match(reader)
    assert store.write(use_cases.match_held, SYSTEM) == 1
    with store.read() as reader:
        assert len(received_objects.of_order(reader, order.id)) == 1
        assert not use_cases.may_match(reader)
