"""Reports of modalities are joined with their order, and their dose becomes an effective one by the clinic's table."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.directory import Entry
from broker.domain.errors import Forbidden, Invalid, WrongState
from broker.domain.orders import Order
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import PersonName
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.dose import DoseDoubt, DoseReport, IrradiationEvent, Measured, Quantity
from broker.domain.studies.effective_dose import CalculatedDose, NotCalculated, TypedDose
from broker.domain.studies.performed import WRONG_ENTRY, Dose, PerformedChange, PerformedState, StepReference
from broker.domain.studies.received import HeldReason, Receipt, ReceivedKind, ReceivedObject, match
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.store.queries.studies import effective_doses, received
from broker.store.queries.studies.unreferred_studies import open_studies
from broker.store.tables import orders
from broker.store.tables.studies import received_objects
from broker.workflow import patient_merge
from broker.workflow.directories import DirectorySource, replace_directory
from broker.workflow.referrals import referrals, unreferred_studies
from broker.workflow.studies import archive_images, performed_steps, step_links
from broker.workflow.studies import received_objects as use_cases
from broker.workflow.studies.effective_doses import calculate_once, type_dose
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


# ---- what is taken away from an order takes its dose with it ----


def perform(store: Store, order: Order, uid: str = "1.2.3.4", **changes: object) -> None:
    step = factory.performed(uid, StepReference(order.study_instance_uid), **changes)
    store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)


def held(store: Store) -> list[received.HeldObject]:
    with store.read() as reader:
        return list(received.held(reader))


def current(store: Store, order: Order) -> Order:
    with store.read() as reader:
        return orders.require(reader, order.id)


def of_order(store: Store, order: Order) -> int:
    with store.read() as reader:
        return len(received_objects.of_order(reader, order.id))


def test_the_dose_of_a_step_that_is_unlinked_counts_no_more_and_its_report_waits_for_a_person(
    store: Store, order: Order
) -> None:
    table(store, "1")
    perform(store, order)
    store.write(use_cases.receive, report(order), dap(1e-5), XRAY)
    assert isinstance(effective(store, order), CalculatedDose)
    store.write(step_links.unlink, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    assert not isinstance(effective(store, order), CalculatedDose)
    [waiting] = held(store)
    assert (waiting.named, waiting.is_unlinked) == (current(store, order), True)
    assert store.write(use_cases.match_held, SYSTEM) == 0  # it still names the order, and is not put back by itself
    assert of_order(store, order) == 0


def test_a_report_goes_with_its_step_to_the_order_to_which_a_person_links_it(store: Store, order: Order) -> None:
    table(store, "1")
    other = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    perform(store, order)
    store.write(use_cases.receive, report(order, patient_name="Кузнецова^Марина"), dap(1e-5), XRAY)
    store.write(step_links.unlink, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2.3.4", other.id, REGISTRAR, CLINIC)
    assert (of_order(store, order), of_order(store, other)) == (0, 1)
    assert isinstance(effective(store, other), CalculatedDose)
    store.write(step_links.unlink, "1.2.3.4", other.id, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    assert (of_order(store, order), of_order(store, other)) == (1, 0)


def test_a_report_that_contradicts_in_more_than_the_person_saw_does_not_go_with_its_step(
    store: Store, order: Order
) -> None:
    perform(store, order)
    stranger = report(order, patient_name="Зуев^Пётр", patient_birth_date="19800101")
    store.write(use_cases.receive, stranger, dap(1e-5), XRAY)
    other = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    store.write(step_links.unlink, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2.3.4", other.id, REGISTRAR, CLINIC)
    assert of_order(store, other) == 0
    assert len(held(store)) == 1


def test_the_dose_that_an_unlinked_step_stated_by_mpps_counts_no_more(store: Store, order: Order) -> None:
    table(store, "1")
    perform(store, order, doses=(Dose("ImageAndFluoroscopyAreaDoseProduct", 3.0, "dGy.cm2"),))
    store.write(calculate_once, order)
    assert isinstance(effective(store, order), CalculatedDose)
    store.write(step_links.unlink, "1.2.3.4", order.id, REGISTRAR, CLINIC)
    assert not isinstance(effective(store, order), CalculatedDose)


def test_a_wrong_entry_takes_the_report_away_also_one_that_comes_later(store: Store, order: Order) -> None:
    perform(store, order)
    store.write(use_cases.receive, report(order), dap(1e-5), XRAY)
    change = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    request = performed_steps.ChangeRequest("1.2.3.4", change, factory.message("2"))
    store.write(performed_steps.change, request, XRAY, CLINIC)
    store.write(use_cases.receive, report(order, "1.2.10"), dap(2e-5, "2"), XRAY)
    assert of_order(store, order) == 0
    assert [each.is_unlinked for each in held(store)] == [True, True]
    perform(store, order, "1.2.3.5")  # now the right patient
    store.write(use_cases.receive, report(order, "1.2.11"), dap(3e-5, "3"), XRAY)
    assert store.write(use_cases.match_held, SYSTEM) == 0
    assert of_order(store, order) == 1


def test_what_was_stored_of_a_cancelled_order_waits_and_comes_back_with_it(store: Store, order: Order) -> None:
    table(store, "1")
    store.write(use_cases.receive, report(order), dap(1e-5), XRAY)
    store.write(referrals.cancel, order.id, current(store, order).revision, "не пришла", REGISTRAR, CLINIC)
    assert not isinstance(effective(store, order), CalculatedDose)
    [waiting] = held(store)
    assert waiting.named is not None
    assert not waiting.is_unlinked
    with store.read() as reader:
        assert not use_cases.may_match(reader)
    perform(store, order)  # it is made nevertheless
    assert store.write(use_cases.match_held, SYSTEM) == 1
    assert isinstance(effective(store, order), CalculatedDose)


def test_a_report_of_the_other_person_waits_when_two_cards_are_taken_apart(store: Store, order: Order) -> None:
    twin = replace(factory.KUZNETSOVA, name=PersonName("Кузнецова", "Мария", "Петровна"), snils="", policy="")
    other = store.write(referrals.register, draft(patient=twin), REGISTRAR, CLINIC)
    one, two = order.patient, other.patient
    revisions = one.revision, two.revision
    trail = store.write(patient_merge.merge, one.stored_id, two.stored_id, (), revisions, REGISTRAR, CLINIC)
    perform(store, other)
    store.write(use_cases.receive, report(other, patient_id=one.patient_id), dap(1e-5), XRAY)
    assert of_order(store, other) == 1
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC)
    assert of_order(store, other) == 0
    assert [each.stored.held for each in held(store)] == [HeldReason.OTHER_PATIENT]


def test_a_report_of_a_study_of_the_archive_belongs_to_the_order_that_a_person_has_chosen_for_it(
    store: Store, order: Order
) -> None:
    late = ArchiveStudy(
        "1.2.3.99", "", 2, "DX", "Кузнецова^Марина^Петровна", "", "19610312", factory.soon(), patient_sex="F"
    )
    early = replace(report(order), study_instance_uid=late.study_instance_uid)
    store.write(use_cases.receive, early, dap(1e-5), XRAY)
    store.write(unreferred_studies.record_day, factory.soon().date(), [late], SYSTEM)
    with store.read() as reader:
        [offered] = list(open_studies(reader))
    store.write(archive_images.link_unreferred, offered.unreferred.id, order.id, REGISTRAR, CLINIC)
    assert of_order(store, order) == 1


def test_a_dose_outside_of_the_clinics_limits_is_kept_shown_as_doubtful_and_not_counted(
    store: Store, order: Order
) -> None:
    table(store, "1")
    details = {"modality": "DX", "quantity": "ПДП", "lowest": "0,1", "highest": "5000"}
    limits = DirectorySource("dose-limits", "", "", "limits.csv")
    store.write(replace_directory, limits, [Entry("L-1", "Физик", details)], SYSTEM)
    store.write(use_cases.receive, report(order), dap(1.07), XRAY)  # it states Gy·cm² as Gy·m²
    with store.read() as reader:
        found = received.of_order(reader, order.id).dose
        listed = received.doses(reader, [order.id])
    assert found.of(Quantity.DAP) == pytest.approx(1.07e6)
    assert found.doubts == {DoseDoubt.IMPLAUSIBLE}
    assert listed == {order.accession_number: found}
    assert effective(store, order) is NotCalculated.IMPLAUSIBLE


def test_a_typed_dose_stands_over_the_calculated_one_and_both_are_kept(store: Store, order: Order) -> None:
    table(store, "1")
    technologist = Actor(ActorKind.PERSON, "yudin", "Юдин П. С.", frozenset({Role.TECHNOLOGIST}))
    with pytest.raises(WrongState):
        store.write(type_dose, order.id, 0.05, technologist)  # nothing was made
    perform(store, order)
    store.write(use_cases.receive, report(order), dap(1e-5), XRAY)
    store.write(type_dose, order.id, 0.05, technologist)
    with store.read() as reader:
        [study] = patient_history.own(reader, order.patient.stored_id)
        assert effective_doses.typed(reader, order.id) == TypedDose(0.05, "Юдин П. С.")
    assert study.effective_dose == 0.05
    calculated = effective(store, order)
    assert isinstance(calculated, CalculatedDose)
    store.write(type_dose, order.id, None, technologist)  # taken back
    with store.read() as reader:
        [study] = patient_history.own(reader, order.patient.stored_id)
        assert effective_doses.typed(reader, order.id) is None
    assert study.effective_dose == calculated.millisieverts
    with pytest.raises(Forbidden):
        store.write(type_dose, order.id, 0.05, REGISTRAR)
    with pytest.raises(Invalid):
        store.write(type_dose, order.id, 1001.0, technologist)
