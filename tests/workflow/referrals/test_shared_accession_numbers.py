"""Several orders of one accession number and several steps of one order: as scripts write, as devices name them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from broker.domain.errors import Invalid, Refused, WrongState
from broker.domain.orders import ImportedItem, Order, OrderState, StepState
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import orders, worklist_files
from broker.store.tables.studies import performed_links
from broker.store.tables.worklist_files import FileState
from broker.workflow.referrals import referrals
from broker.workflow.referrals import worklist_files as intake
from broker.workflow.referrals.worklist_files import SyncOutcome
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM
from tests.workflow.referrals.test_worklist_files import item, order_of, take, value

HAND = item(procedure_name="Кисть")
# The other procedure of the request: its own study, requested procedure and step.
FOOT = replace(HAND, study_instance_uid="1.2.3.2", requested_procedure_id="R2", sps_id="S2", procedure_name="Стопа")
# A second step of the same procedure, on another device, later.
LATER = replace(HAND, sps_id="S2", start=HAND.start + timedelta(hours=1), station_ae_titles=("NEW_CR",))

STRANGER = replace(HAND.patient, name=PersonName("Чужая", "Алла"), patient_id="P9")


def taken(store: Store, *items: ImportedItem) -> list[Order]:
    """Import items, a file each, and return the order of each as it is afterwards."""
    found = [take(store, each, f"/wl/{number}.wl", f"{number}") for number, each in enumerate(items, 1)]
    return [order_of(store, each) for each in found]


def perform(store: Store, uid: str, reference: StepReference) -> None:
    """Start and complete a performed step that names what `reference` does."""
    step = factory.performed(uid, reference)
    store.write(performed_steps.start, step, factory.message(f"{uid} begins"), factory.XRAY, CLINIC)
    end = performed_steps.ChangeRequest(uid, PerformedChange(PerformedState.COMPLETED), factory.message(f"{uid} ends"))
    store.write(performed_steps.change, end, factory.XRAY, CLINIC)


def moved(*items: ImportedItem) -> list[intake.FileContent]:
    """Return the files of `taken` with another patient."""
    return [
        intake.FileContent([replace(each, patient=STRANGER)], f"/wl/{number}.wl", f"moved {number}")
        for number, each in enumerate(items, 1)
    ]


def states(store: Store, order: Order) -> list[str]:
    with store.read() as reader:
        return [step.state for step in orders.require(reader, order.id).steps]


# ---- several orders of one number ----


def test_two_procedures_of_one_number_are_two_orders_that_share_it(store: Store) -> None:
    hand, foot = taken(store, HAND, FOOT)
    assert hand.id != foot.id
    assert (hand.accession_number, hand.request_number, hand.shown_number) == ("A1", "", "A1")
    assert foot.accession_number not in ("", "A1")
    assert (foot.request_number, foot.shown_number, foot.study_instance_uid) == ("A1", "A1", "1.2.3.2")
    with store.read() as reader:
        assert orders.by_accession_number(reader, "A1") == hand
        assert orders.by_accession_number(reader, foot.accession_number) == foot
        assert orders.of_request(reader, hand) == [foot]
        assert orders.of_request(reader, foot) == [hand]


def test_a_third_one_joins_them_and_a_changed_file_keeps_its_number(store: Store) -> None:
    third = replace(FOOT, study_instance_uid="1.2.3.3", requested_procedure_id="R3", sps_id="S3", procedure_name="Таз")
    hand, foot, pelvis = taken(store, HAND, FOOT, third)
    assert {hand.shown_number, foot.shown_number, pelvis.shown_number} == {"A1"}
    changed = take(store, replace(FOOT, comment="срочно"), "/wl/2.wl", "9")
    assert changed.outcome is SyncOutcome.AMENDED
    after = order_of(store, changed)
    assert (after.accession_number, after.request_number, after.comment) == (foot.accession_number, "A1", "срочно")


def test_a_file_that_gets_a_number_of_its_own_leaves_the_request(store: Store) -> None:
    hand, foot = taken(store, HAND, FOOT)
    order = order_of(store, take(store, replace(FOOT, accession_number="A2"), "/wl/2.wl", "9"))
    assert (order.id, order.accession_number, order.request_number) == (foot.id, "A2", "")
    with store.read() as reader:
        assert orders.of_request(reader, hand) == []


def test_another_patients_item_of_that_number_is_refused(store: Store) -> None:
    taken(store, HAND)
    stranger = replace(FOOT, patient=replace(FOOT.patient, patient_id="P9"))
    with pytest.raises(Refused, match="accession number A1 is that of another file's order"):
        take(store, stranger, "/wl/2.wl", "2")


def test_the_same_item_in_a_second_file_is_refused(store: Store) -> None:
    taken(store, HAND)
    for copied in (HAND, replace(HAND, sps_id="")):
        with pytest.raises(Refused, match="accession number A1 is that of another file's order"):
            take(store, copied, "/wl/2.wl", "2")
    assert value(store, "SELECT count(*) FROM scheduled_step") == 1


@pytest.mark.parametrize(
    "reference",
    [
        StepReference("1.2.3.2", accession_number="A1"),
        StepReference("", accession_number="A1", sps_id="S2"),
        StepReference("", accession_number="A1", requested_procedure_id="R2"),
    ],
)
def test_a_device_that_names_one_of_them_performs_that_one(store: Store, reference: StepReference) -> None:
    hand, foot = taken(store, HAND, FOOT)
    perform(store, "1.9", reference)
    assert (states(store, hand), states(store, foot)) == ([StepState.SCHEDULED], [StepState.COMPLETED])
    with store.read() as reader:
        assert not performed_links.conflicts(reader, foot.id)


def test_a_device_that_names_nothing_but_the_shared_number_is_held_for_a_person(store: Store) -> None:
    hand, foot = taken(store, HAND, FOOT)
    perform(store, "1.9", StepReference("", accession_number="A1"))
    with store.read() as reader:
        for order in (hand, foot):
            assert set(performed_links.conflicts(reader, order.id).values()) == {"accession_number"}


def test_a_device_that_makes_both_in_one_step_performs_both(store: Store) -> None:
    hand, foot = taken(store, HAND, FOOT)
    both = (
        StepReference("1.2.3.1", accession_number="A1", sps_id="S1"),
        StepReference("1.2.3.1", accession_number="A1", sps_id="S2"),
    )
    step = replace(factory.performed("1.9", both[0]), references=both)
    store.write(performed_steps.start, step, factory.message("1.9"), factory.XRAY, CLINIC)
    with store.read() as reader:
        assert [orders.require(reader, each.id).state for each in (hand, foot)] == [OrderState.IN_PROGRESS] * 2
        assert not performed_links.conflicts(reader, hand.id)
        assert not performed_links.conflicts(reader, foot.id)


def test_their_files_may_get_another_number_one_by_one(store: Store) -> None:
    hand, foot = taken(store, HAND, FOOT)
    for path, each in (("/wl/1.wl", HAND), ("/wl/2.wl", FOOT)):
        take(store, replace(each, accession_number="B1"), path, "9")
    with store.read() as reader:
        assert [each.id for each in orders.of_shown_number(reader, "B1")] == [hand.id, foot.id]
        assert orders.of_shown_number(reader, "A1") == []


def test_files_that_swap_their_numbers_are_refused(store: Store) -> None:
    one, two = taken(store, HAND, replace(FOOT, accession_number="A2"))
    take(store, replace(HAND, accession_number="A2"), "/wl/1.wl", "9")  # joins the request of the second one
    with pytest.raises(Refused, match="accession number A1"):
        take(store, replace(FOOT, accession_number="A1"), "/wl/2.wl", "9")
    with store.read() as reader:
        assert {each.id for each in orders.of_shown_number(reader, "A2")} == {one.id, two.id}


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("other", [FOOT, LATER])
def test_a_request_and_an_order_never_become_two_patients(store: Store, number: int, other: ImportedItem) -> None:
    taken(store, HAND, other)
    changed = replace((HAND, other)[number - 1], patient=STRANGER)
    with pytest.raises(Refused, match="accession number A1"):
        take(store, changed, f"/wl/{number}.wl", "9")
    assert value(store, "SELECT count(DISTINCT patient_id) FROM orders") == 1
    assert value(store, "SELECT p.patient_id FROM orders o JOIN patient p ON p.id = o.patient_id") == "P1"


@pytest.mark.parametrize("other", [FOOT, LATER])
def test_all_files_of_a_request_together_may_become_another_patients(store: Store, other: ImportedItem) -> None:
    before = taken(store, HAND, other)
    results = store.write(intake.sync_together, moved(HAND, other), SYSTEM, CLINIC)
    assert [each.outcome for each in results] == [SyncOutcome.AMENDED, results[1].outcome]
    assert [each.order_id for each in results] == [each.id for each in before]
    assert [order_of(store, each).patient.patient_id for each in results] == ["P9", "P9"]


@pytest.mark.parametrize("other", [FOOT, LATER])
def test_some_files_of_a_request_do_not_become_another_patients(store: Store, other: ImportedItem) -> None:
    third = replace(other, sps_id="S3", start=HAND.start + timedelta(hours=3))
    if other is FOOT:
        third = replace(third, study_instance_uid="1.2.3.3", requested_procedure_id="R3", procedure_name="Таз")
    taken(store, HAND, other, third)
    with pytest.raises(Refused, match="accession number A1"):
        store.write(intake.sync_together, moved(HAND, other), SYSTEM, CLINIC)
    assert value(store, "SELECT count(DISTINCT patient_id) FROM orders") == 1
    assert value(store, "SELECT p.patient_id FROM orders o JOIN patient p ON p.id = o.patient_id") == "P1"


def test_files_that_name_two_patients_are_not_taken_together(store: Store) -> None:
    taken(store, HAND, FOOT)
    files = moved(HAND, FOOT)
    other = replace(STRANGER, name=PersonName("Иная", "Алла"), patient_id="P8")
    files[1] = replace(files[1], items=[replace(FOOT, patient=other)])
    with pytest.raises(Refused, match="accession number A1"):
        store.write(intake.sync_together, files, SYSTEM, CLINIC)


def test_what_is_left_of_a_request_may_become_another_patients(store: Store) -> None:
    foot = taken(store, HAND, FOOT)[1]
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    order = order_of(store, take(store, replace(FOOT, patient=STRANGER), "/wl/2.wl", "9"))
    assert (order.id, order.patient.patient_id) == (foot.id, "P9")


def test_a_further_one_joins_what_is_open_after_the_first_has_ended(store: Store) -> None:
    taken(store, HAND, FOOT)
    perform(store, "1.9", StepReference("1.2.3.1", accession_number="A1", sps_id="S1"))
    third = replace(FOOT, study_instance_uid="1.2.3.3", requested_procedure_id="R3", sps_id="S3", procedure_name="Таз")
    assert order_of(store, take(store, third, "/wl/3.wl", "3")).shown_number == "A1"


def test_another_procedure_does_not_take_the_place_of_one_that_was_taken_back(store: Store) -> None:
    hand = taken(store, HAND, FOOT)[0]
    store.write(intake.withdraw, "/wl/1.wl", SYSTEM, CLINIC)
    third = replace(FOOT, study_instance_uid="1.2.3.3", requested_procedure_id="R3", sps_id="S3", procedure_name="Таз")
    pelvis = order_of(store, take(store, third, "/wl/3.wl", "3"))
    assert (pelvis.id == hand.id, pelvis.shown_number) == (False, "A1")
    assert take(store, HAND, "/wl/1.wl", "1").order_id == hand.id


@pytest.mark.parametrize("has_uid", [True, False])
@pytest.mark.parametrize("comment", ["", "срочно"])
@pytest.mark.parametrize("other", [FOOT, LATER])
def test_files_that_are_all_renamed_stay_with_their_orders_and_steps(
    store: Store, other: ImportedItem, comment: str, has_uid: bool
) -> None:
    items = [each if has_uid else replace(each, study_instance_uid="") for each in (HAND, other)]
    before = [take(store, each, f"/wl/{number}.wl", f"{number}") for number, each in enumerate(items, 1)]
    gone = {"/wl/1.wl": "1", "/wl/2.wl": "2"}
    after = [
        take(store, replace(items[at], comment=comment), f"/wl/new{at}.wl", f"{at + 1}{comment}", vanished=gone)
        for at in (1, 0)  # the second one first
    ]
    assert [(each.order_id, each.step_id) for each in after] == [(each.order_id, each.step_id) for each in before[::-1]]
    assert value(store, "SELECT count(*) FROM orders") == len({each.order_id for each in before})


# ---- several steps of one order ----


def test_a_second_step_of_the_same_study_joins_its_order(store: Store) -> None:
    first, order = taken(store, HAND, LATER)
    assert first.id == order.id
    assert [(step.sps_id, step.station_ae_titles) for step in order.steps] == [("S1", ("OLD_CR",)), ("S2", ("NEW_CR",))]
    assert [step.start for step in order.steps] == [HAND.start, LATER.start]


def test_an_order_ends_with_the_last_of_its_steps(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    perform(store, "1.8", StepReference("1.2.3.1", sps_id="S1"))
    assert states(store, order) == [StepState.COMPLETED, StepState.SCHEDULED]
    assert order_of(store, intake.SyncResult(SyncOutcome.ADDED, order.id, "")).state is OrderState.IN_PROGRESS
    perform(store, "1.9", StepReference("1.2.3.1", sps_id="S2"))
    assert states(store, order) == [StepState.COMPLETED, StepState.COMPLETED]
    assert order_of(store, intake.SyncResult(SyncOutcome.ADDED, order.id, "")).state is OrderState.COMPLETED


def test_a_device_that_names_the_study_only_performs_what_is_planned_on_it(store: Store) -> None:
    order = taken(store, replace(HAND, station_ae_titles=("XRAY_14",)), LATER)[1]
    perform(store, "1.8", StepReference("1.2.3.1"))
    assert states(store, order) == [StepState.COMPLETED, StepState.SCHEDULED]


def test_a_device_on_which_nothing_is_planned_performs_all_that_it_names(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    perform(store, "1.8", StepReference("1.2.3.1"))
    assert states(store, order) == [StepState.COMPLETED, StepState.COMPLETED]


def test_the_file_of_a_step_moves_and_takes_back_its_step_only(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    moved = replace(LATER, start=LATER.start + timedelta(minutes=30))
    assert take(store, moved, "/wl/2.wl", "9").outcome is SyncOutcome.AMENDED
    after = order_of(store, intake.SyncResult(SyncOutcome.ADDED, order.id, ""))
    assert [step.start for step in after.steps] == [HAND.start, moved.start]
    gone = store.write(intake.withdraw, "/wl/2.wl", SYSTEM, CLINIC)
    assert gone is not None
    assert gone.outcome is SyncOutcome.WITHDRAWN
    assert states(store, order) == [StepState.SCHEDULED, StepState.CANCELLED]
    perform(store, "1.8", StepReference("1.2.3.1", sps_id="S1"))
    after = order_of(store, intake.SyncResult(SyncOutcome.ADDED, order.id, ""))
    assert after.state is OrderState.COMPLETED


def test_a_step_whose_file_is_back_stands_on_the_worklist_again(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    store.write(intake.withdraw, "/wl/2.wl", SYSTEM, CLINIC)
    assert take(store, LATER, "/wl/2.wl", "2").outcome is SyncOutcome.RESTORED
    assert states(store, order) == [StepState.SCHEDULED, StepState.SCHEDULED]


def test_without_any_of_its_files_the_order_is_cancelled_and_comes_back_file_by_file(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    for path in ("/wl/1.wl", "/wl/2.wl"):
        store.write(intake.withdraw, path, SYSTEM, CLINIC)
    assert states(store, order) == [StepState.CANCELLED, StepState.CANCELLED]
    with store.read() as reader:
        assert orders.require(reader, order.id).state is OrderState.CANCELLED
    take(store, LATER, "/wl/2.wl", "2")
    assert states(store, order) == [StepState.CANCELLED, StepState.SCHEDULED]
    take(store, HAND, "/wl/1.wl", "1")
    assert states(store, order) == [StepState.SCHEDULED, StepState.SCHEDULED]
    with store.read() as reader:
        file = worklist_files.get(reader, "/wl/1.wl")
    assert file is not None
    assert file.state is FileState.PRESENT


def test_a_file_that_takes_the_number_of_another_step_does_not_collide_with_it(store: Store) -> None:
    order = taken(store, HAND, LATER)[1]
    take(store, replace(HAND, sps_id="S2"), "/wl/1.wl", "9")
    with store.read() as reader:
        steps = orders.require(reader, order.id).steps
    assert [step.sps_id for step in steps] == ["S1", "S2"]
    assert steps[0].attributes["step"]["ScheduledProcedureStepID"]["Value"] == ["S2"]


# ---- at the desk ----

SHARING = replace(CLINIC, shares_accession_numbers=True, sends_to_bus=True)


def test_another_study_of_the_patient_is_registered_under_the_same_number(store: Store) -> None:
    first = store.write(referrals.register, factory.draft(), REGISTRAR, SHARING)
    other = store.write(referrals.register_another, first.id, factory.draft(), REGISTRAR, SHARING)
    third = store.write(referrals.register_another, other.id, factory.draft(), REGISTRAR, SHARING)
    assert {first.shown_number, other.shown_number, third.shown_number} == {first.accession_number}
    assert len({first.accession_number, other.accession_number, third.accession_number}) == 3
    assert len({each.study_instance_uid for each in (first, other, third)}) == 3
    assert first.patient.id == other.patient.id == third.patient.id
    # The region gets a referral for each, under its own number.
    assert value(store, "SELECT count(*) FROM outbox WHERE kind = 'order'") == 3


def test_without_the_switch_and_under_an_ended_order_no_number_is_shared(store: Store) -> None:
    first = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(referrals.register_another, first.id, factory.draft(), REGISTRAR, CLINIC)
    store.write(referrals.cancel, first.id, first.revision, "ошибка", REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(referrals.register_another, first.id, factory.draft(), REGISTRAR, SHARING)


def test_another_study_is_never_another_persons(store: Store) -> None:
    first = store.write(referrals.register, factory.draft(), REGISTRAR, SHARING)
    stranger = replace(factory.draft().patient, name=PersonName("Чужая", "Алла"), snils="", policy="")
    with pytest.raises(Invalid):
        store.write(referrals.register_another, first.id, factory.draft(patient=stranger), REGISTRAR, SHARING)
