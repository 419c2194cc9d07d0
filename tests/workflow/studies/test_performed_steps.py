"""What modalities report is kept, once; orders follow it; what belongs to nobody waits for a person."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from broker.domain.errors import Forbidden, NotFound, Stale, WrongState
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.studies.performed import (
    WRONG_ENTRY,
    MppsOutcome,
    PerformedChange,
    PerformedSeries,
    PerformedState,
    StepReference,
    StepSource,
)
from broker.store.database import Store
from broker.store.queries import board, schedule
from broker.store.tables import devices, orders, outbox
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

DONE = PerformedChange(PerformedState.COMPLETED, images=2, operator="Юдин К. Е.")
GIVEN_UP = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code="110500")


@pytest.fixture
def order(store: Store) -> Order:
    return store.write(referrals.register, draft(), REGISTRAR, CLINIC)


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def start(store: Store, uid: str, *references: StepReference, digest: str = "create") -> MppsOutcome:
    return store.write(performed_steps.start, performed(uid, *references), message(digest), XRAY, CLINIC)


def finish(store: Store, uid: str, change: PerformedChange = DONE, digest: str = "final") -> MppsOutcome:
    return store.write(
        performed_steps.change, performed_steps.ChangeRequest(uid, change, message(digest)), XRAY, CLINIC
    ).outcome


def kinds(store: Store) -> list[str]:
    with store.read() as reader:
        return [row["kind"] for row in reader.rows("SELECT kind FROM outbox ORDER BY seq")]


def actions(store: Store, order: Order) -> list[str]:
    with store.read() as reader:
        rows = reader.rows("SELECT action FROM audit WHERE order_id = ? ORDER BY seq", [order.id])
    return [row["action"] for row in rows]


def states(store: Store) -> list[str]:
    with store.read() as reader:
        return [f"{row['kind']} {row['state']}" for row in reader.rows("SELECT kind, state FROM outbox ORDER BY seq")]


def unlinked(store: Store, order: Order) -> list[str]:
    with store.read() as reader:
        return [each.step.sop_instance_uid for each in board.unlinked(reader, order.authored_on)]


@pytest.mark.parametrize("by", ["study_instance_uid", "accession_number", "requested_procedure_id", "sps_id"])
def test_a_step_is_linked_by_whichever_number_the_device_sends(store: Store, order: Order, by: str) -> None:
    value: Any = order.steps[0].sps_id if by == "sps_id" else getattr(order, by)
    assert start(store, "1.2", StepReference(**{by: value})) is MppsOutcome.ACCEPTED
    assert now(store, order).state is OrderState.IN_PROGRESS
    assert now(store, order).steps[0].state is StepState.STARTED


def test_a_completed_step_completes_the_order_and_is_reported_to_the_region(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    assert (
        store.write(
            performed_steps.change, performed_steps.ChangeRequest("1.2", PerformedChange(), message("p")), XRAY, CLINIC
        ).outcome
        is MppsOutcome.ACCEPTED
    )
    assert finish(store, "1.2") is MppsOutcome.ACCEPTED
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "images"]


def test_a_discontinued_step_is_not_reported_to_the_region_and_may_be_scheduled_again(
    store: Store, order: Order
) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", GIVEN_UP)
    stopped = now(store, order)
    assert stopped.state is OrderState.DISCONTINUED
    assert kinds(store) == ["order"]
    again = store.write(
        referrals.amend, order.id, stopped.revision, draft(start=factory.soon(hours=1)), REGISTRAR, CLINIC
    )
    assert again.state is OrderState.SCHEDULED
    assert again.steps[0].state is StepState.SCHEDULED


def test_an_identical_retry_is_answered_as_the_first_time_without_a_second_event(store: Store, order: Order) -> None:
    reference = StepReference(order.study_instance_uid)
    assert start(store, "1.2", reference) is MppsOutcome.ACCEPTED
    assert start(store, "1.2", reference) is MppsOutcome.REPEATED
    assert start(store, "1.2", reference, digest="other") is MppsOutcome.DUPLICATE
    assert finish(store, "1.2") is MppsOutcome.ACCEPTED
    assert finish(store, "1.2") is MppsOutcome.REPEATED
    with store.read() as reader:
        actions = [row["action"] for row in reader.rows("SELECT action FROM audit ORDER BY seq")]
    assert actions == ["register", "start", "finish"]


def test_a_change_after_the_end_or_of_something_unknown_is_kept_but_changes_nothing(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2")
    assert finish(store, "1.2", GIVEN_UP, digest="late") is MppsOutcome.FINAL
    assert finish(store, "9.9", digest="unknown") is MppsOutcome.UNKNOWN
    assert now(store, order).state is OrderState.COMPLETED
    with store.read() as reader:
        kept = [row["outcome"] for row in reader.rows("SELECT outcome FROM performed_step_message ORDER BY id")]
    assert kept == ["accepted", "accepted", "final", "unknown"]


def test_parallel_creates_of_one_uid_make_one_step(store: Store, order: Order) -> None:
    outcomes: list[MppsOutcome] = []
    reference = StepReference(order.study_instance_uid)
    threads = [
        threading.Thread(target=lambda number=number: outcomes.append(start(store, "1.2", reference, digest=number)))
        for number in "aabbccdd"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes.count(MppsOutcome.ACCEPTED) == 1
    assert outcomes.count(MppsOutcome.REPEATED) == 1
    assert outcomes.count(MppsOutcome.DUPLICATE) == 6


def test_a_walk_in_is_kept_unlinked_until_a_person_links_it(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference("1.9.9.9"))
    finish(store, "1.2")
    assert now(store, order).state is OrderState.SCHEDULED
    with store.read() as reader:
        assert [each.step.sop_instance_uid for each in board.unlinked(reader, order.authored_on)] == ["1.2"]
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "images"]
    with store.read() as reader:
        assert board.unlinked(reader, order.authored_on) == []
    with pytest.raises(WrongState):
        store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)


# ---- the cases of IHE RAD TF-2 4.6 (Modality Procedure Step In Progress) and 4.7 ----


def test_simple_case_one_step_for_one_order(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid, order.accession_number))
    finish(store, "1.2")
    assert now(store, order).state is OrderState.COMPLETED
    assert actions(store, order) == ["register", "start", "finish"]


def test_unscheduled_case_a_walk_in_is_linked_by_a_person(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference("1.9.9.9"))
    finish(store, "1.2")
    assert unlinked(store, order) == ["1.2"]
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED


@pytest.mark.parametrize("last", ["COMPLETED", "DISCONTINUED"])
def test_group_case_one_step_ends_every_order_that_it_names(store: Store, order: Order, last: str) -> None:
    others = [
        store.write(referrals.register, draft(procedure_code=code), REGISTRAR, CLINIC) for code in ("WLB-FOOT",) * 2
    ]
    every = [order, *others]
    start(store, "1.2", *(StepReference(each.study_instance_uid) for each in every))
    assert [now(store, each).state for each in every] == [OrderState.IN_PROGRESS] * 3
    finish(store, "1.2", PerformedChange(PerformedState(last)))
    assert [now(store, each).state for each in every] == [OrderState(last.lower())] * 3
    assert kinds(store).count("images") == (3 if last == "COMPLETED" else 0)


def test_group_case_with_one_study_uid_for_all_items_still_reaches_every_order(store: Store, order: Order) -> None:
    # PS3.4 F.7.2.1.2 Note 2: the UID may be the one of the grouped images, and even one of the orders' own.
    second = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    third = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    uid = order.study_instance_uid
    start(
        store,
        "1.2",
        StepReference(uid, accession_number=order.accession_number),
        StepReference(uid, requested_procedure_id=second.requested_procedure_id),
        StepReference(uid, referenced_study_uids=(third.study_instance_uid,)),
    )
    finish(store, "1.2")
    assert [now(store, each).state for each in (order, second, third)] == [OrderState.COMPLETED] * 3
    assert "reference_conflict" not in actions(store, second)


def test_group_case_in_one_item_names_its_orders_by_referenced_studies(store: Store, order: Order) -> None:
    second = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    studies = (order.study_instance_uid, second.study_instance_uid)
    start(store, "1.2", StepReference("1.9.9.9", referenced_study_uids=studies))
    assert [now(store, each).state for each in (order, second)] == [OrderState.IN_PROGRESS] * 2


def test_append_case_another_step_for_the_same_order(store: Store, order: Order) -> None:
    reference = StepReference(order.study_instance_uid)
    start(store, "1.2", reference)
    finish(store, "1.2")
    start(store, "1.3", reference)
    assert now(store, order).state is OrderState.IN_PROGRESS
    finish(store, "1.3", GIVEN_UP)
    assert now(store, order).state is OrderState.COMPLETED  # what was completed stays
    assert kinds(store) == ["order", "images"]  # told once


def test_abandoned_case_a_step_is_discontinued(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", GIVEN_UP)
    stopped = now(store, order)
    assert (stopped.state, stopped.steps[0].state) == (OrderState.DISCONTINUED, StepState.DISCONTINUED)
    assert kinds(store) == ["order"]


# ---- what names contradict each other ----


def test_of_two_orders_the_study_uid_names_the_right_one_and_the_contradiction_is_noted(
    store: Store, order: Order
) -> None:
    other = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    start(store, "1.2", StepReference(order.study_instance_uid, other.accession_number, sps_id=other.steps[0].sps_id))
    assert now(store, order).state is OrderState.IN_PROGRESS
    assert now(store, other).state is OrderState.SCHEDULED
    assert actions(store, order)[-1] == "reference_conflict"
    with store.read() as reader:
        [note] = devices.notes(reader)["XRAY_14"]
    assert (note.kind, "sps_id, accession_number" in note.text) == ("mpps_conflict", True)


def test_another_patient_under_an_orders_number_is_noted(store: Store, order: Order) -> None:
    step = performed("1.2", StepReference(order.study_instance_uid), patient_id="000999")
    store.write(performed_steps.start, step, message("c"), XRAY, CLINIC)
    assert actions(store, order)[-1] == "reference_conflict"


# ---- what goes wrong ----

WRONG = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY, images=2)


def test_another_patients_name_in_latin_under_an_orders_number_is_noted(store: Store, order: Order) -> None:
    step = performed("1.2", StepReference(accession_number=order.accession_number), patient_name="SIDOROV^OLEG")
    store.write(performed_steps.start, step, message("c"), XRAY, CLINIC)
    assert actions(store, order)[-1] == "reference_conflict"
    finish(store, "1.2")
    assert not [each for each in states(store) if each.startswith("images")], states(store)


def test_a_wrong_worklist_entry_is_reopened_and_its_images_wait_for_a_person(store: Store, order: Order) -> None:
    meant = store.write(referrals.register, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", WRONG)
    waiting = now(store, order)
    assert (waiting.state, waiting.steps[0].state) == (OrderState.SCHEDULED, StepState.SCHEDULED)
    assert actions(store, order) == ["register", "start", "finish", "wrong_entry"]
    assert unlinked(store, order) == ["1.2"]
    assert finish(store, "1.2", WRONG) is MppsOutcome.REPEATED  # and once is enough
    store.write(step_links.link, "1.2", meant.id, REGISTRAR, CLINIC)
    assert now(store, meant).state is OrderState.DISCONTINUED
    assert unlinked(store, order) == []
    start(store, "1.3", StepReference(order.study_instance_uid))  # its own turn comes
    finish(store, "1.3")
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "order", "images"]


def test_a_wrong_worklist_entry_without_images_needs_no_attention(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", replace(WRONG, images=0, series=(PerformedSeries("1.9", "", "", "", 0),)))
    assert now(store, order).state is OrderState.SCHEDULED
    assert unlinked(store, order) == []
    start(store, "1.3", StepReference(order.study_instance_uid))
    finish(store, "1.3", replace(WRONG, images=0))  # it says nothing of its series: there may be images
    assert unlinked(store, order) == ["1.3"]


def test_a_wrong_worklist_entry_of_a_cancelled_order_leaves_it_cancelled(store: Store, order: Order) -> None:
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", WRONG)
    assert now(store, order).state is OrderState.CANCELLED
    assert now(store, order).steps[0].state is StepState.CANCELLED


def test_a_wrong_worklist_entry_takes_nothing_from_what_was_done_before(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2")
    start(store, "1.3", StepReference(order.study_instance_uid))
    finish(store, "1.3", WRONG)
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "images"]


def test_a_wrong_worklist_entry_after_an_abandoned_study_lets_the_order_wait(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", GIVEN_UP)
    stopped = now(store, order)
    store.write(referrals.amend, order.id, stopped.revision, draft(start=factory.soon(hours=1)), REGISTRAR, CLINIC)
    start(store, "1.3", StepReference(order.study_instance_uid))
    finish(store, "1.3", WRONG)
    assert now(store, order).state is OrderState.SCHEDULED


def test_a_person_takes_a_wrong_link_off_and_the_order_waits_again(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference("1.9.9.9"))
    finish(store, "1.2")
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        store.write(step_links.unlink, "1.2", order.id, XRAY, CLINIC)
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    waiting = now(store, order)
    assert (waiting.state, waiting.steps[0].state) == (OrderState.SCHEDULED, StepState.SCHEDULED)
    assert unlinked(store, order) == ["1.2"]
    assert actions(store, order) == ["register", "link", "unlink"]
    assert states(store) == ["order pending", "images dropped"]  # the bus had not heard of it yet
    with pytest.raises(WrongState):
        store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    with pytest.raises(NotFound):
        store.write(step_links.unlink, "9.9", order.id, REGISTRAR, CLINIC)
    with pytest.raises(NotFound):
        store.write(step_links.unlink, "1.2", 999, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    assert states(store) == ["order pending", "images dropped", "images pending"]


def test_what_the_bus_may_have_is_not_sent_a_second_time_after_a_wrong_link(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2")
    store.write(lambda tx: outbox.mark_uncertain(tx, 2))
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    store.write(step_links.link, "1.2", order.id, REGISTRAR, CLINIC)
    assert states(store) == ["order pending", "images pending"]


def test_a_wrong_link_taken_off_leaves_what_else_was_done(store: Store, order: Order) -> None:
    for uid, change in (("1.2", DONE), ("1.3", GIVEN_UP)):
        start(store, uid, StepReference(order.study_instance_uid))
        finish(store, uid, change)
    store.write(step_links.unlink, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.DISCONTINUED
    assert states(store)[-1] == "images dropped"


def test_a_wrong_link_taken_off_leaves_an_order_alone_that_was_cancelled_meanwhile(store: Store, order: Order) -> None:
    for uid in ("1.2", "1.3"):
        start(store, uid, StepReference(order.study_instance_uid))
        finish(store, uid, GIVEN_UP)
    store.write(referrals.cancel, order.id, now(store, order).revision, "", REGISTRAR, CLINIC)
    for uid in ("1.2", "1.3"):
        store.write(step_links.unlink, uid, order.id, REGISTRAR, CLINIC)
        assert now(store, order).state is OrderState.CANCELLED
        assert now(store, order).steps[0].state is StepState.CANCELLED


# ---- devices that do not report ----


def test_a_person_closes_what_its_device_does_not_report(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        store.write(step_links.close, order.id, order.revision, XRAY, CLINIC)
    with pytest.raises(Stale):
        store.write(step_links.close, order.id, order.revision + 1, REGISTRAR, CLINIC)
    store.write(step_links.close, order.id, order.revision, REGISTRAR, CLINIC)
    done = now(store, order)
    assert (done.state, done.steps[0].state) == (OrderState.COMPLETED, StepState.COMPLETED)
    assert kinds(store) == ["order", "images"]
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.source, step.ae_title, step.operator) == (StepSource.MANUAL, "XRAY_14", "Орлова Н. В.")
    with pytest.raises(WrongState):
        store.write(step_links.close, order.id, done.revision, REGISTRAR, CLINIC)
    store.write(step_links.unlink, step.sop_instance_uid, order.id, REGISTRAR, CLINIC)  # a slip of the finger
    assert now(store, order).state is OrderState.SCHEDULED
    assert unlinked(store, order) == []


def test_a_person_ends_what_its_device_began_and_the_devices_own_word_still_counts(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    store.write(step_links.close, order.id, now(store, order).revision, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert finish(store, "1.2") is MppsOutcome.ACCEPTED
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
    assert (step.provisional, step.source, step.images) == (False, StepSource.MODALITY, 2)
    assert kinds(store) == ["order", "images"]


def test_a_cancelled_order_is_not_closed_by_hand(store: Store, order: Order) -> None:
    gone = store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    with pytest.raises(WrongState):
        store.write(step_links.close, order.id, gone.revision, REGISTRAR, CLINIC)


# ---- what people are asked ----


def test_messages_that_no_step_is_known_for_are_shown_until_there_is_one(store: Store, order: Order) -> None:
    finish(store, "9.9", digest="a")
    finish(store, "9.9", digest="b")
    store.write(performed_steps.refuse, "8.8", "N-CREATE", "why", message("c"), XRAY)
    with store.read() as reader:
        found = board.orphans(reader, order.authored_on)
        assert board.orphans(reader, order.authored_on + timedelta(days=1)) == []
    assert [(each.sop_instance_uid, each.operation, each.outcome, each.device_name) for each in found] == [
        ("8.8", "N-CREATE", "refused", "Рентген"),
        ("9.9", "N-SET", "unknown", "Рентген"),
    ]
    start(store, "9.9", StepReference(order.study_instance_uid))  # it was only late
    with store.read() as reader:
        assert [each.sop_instance_uid for each in board.orphans(reader, order.authored_on)] == ["8.8"]


def test_a_modality_that_began_a_cancelled_order_is_believed(store: Store, order: Order) -> None:
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    start(store, "1.2", StepReference(order.study_instance_uid))
    assert now(store, order).state is OrderState.IN_PROGRESS


def test_a_person_may_not_play_a_device_nor_a_device_a_person(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        store.write(performed_steps.start, performed(), message(), REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        store.write(referrals.cancel, order.id, order.revision, "", XRAY, CLINIC)
