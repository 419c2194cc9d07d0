"""What modalities report is kept, once; orders follow it; what belongs to nobody waits for a person."""

from __future__ import annotations

import threading

import pytest

from broker.domain.errors import Forbidden, WrongState
from broker.domain.model import (
    MppsOutcome,
    Order,
    OrderState,
    PerformedChange,
    PerformedState,
    StepReference,
    StepState,
)
from broker.store import journal, orders
from broker.store.database import Store
from broker.workflow import procedure, referral
from tests import factory
from tests.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed

DONE = PerformedChange(PerformedState.COMPLETED, images=2, operator="Юдин К. Е.")
GIVEN_UP = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code="110500")


@pytest.fixture
def order(store: Store) -> Order:
    return referral.register(store, draft(), REGISTRAR, CLINIC)


def now(store: Store, order: Order) -> Order:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found


def start(store: Store, uid: str, *references: StepReference, digest: str = "create") -> MppsOutcome:
    return procedure.start(store, performed(uid, *references), message(digest), XRAY, CLINIC)


def finish(store: Store, uid: str, change: PerformedChange = DONE, digest: str = "final") -> MppsOutcome:
    return procedure.finish(store, uid, change, message(digest), XRAY, CLINIC)


def kinds(store: Store) -> list[str]:
    with store.read() as reader:
        return [row["kind"] for row in reader.rows("SELECT kind FROM outbox ORDER BY seq")]


@pytest.mark.parametrize("by", ["study_instance_uid", "accession_number", "requested_procedure_id", "sps_id"])
def test_a_step_is_linked_by_whichever_number_the_device_sends(store: Store, order: Order, by: str) -> None:
    value = order.steps[0].sps_id if by == "sps_id" else getattr(order, by)
    assert start(store, "1.2", StepReference(**{by: value})) is MppsOutcome.ACCEPTED
    assert now(store, order).state is OrderState.IN_PROGRESS
    assert now(store, order).steps[0].state is StepState.STARTED


def test_a_completed_step_completes_the_order_and_tells_the_region(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    assert procedure.progress(store, "1.2", PerformedChange(), message("p"), XRAY, CLINIC) is MppsOutcome.ACCEPTED
    assert finish(store, "1.2") is MppsOutcome.ACCEPTED
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "images"]


def test_a_discontinued_step_tells_the_region_nothing_and_may_be_planned_anew(store: Store, order: Order) -> None:
    start(store, "1.2", StepReference(order.study_instance_uid))
    finish(store, "1.2", GIVEN_UP)
    stopped = now(store, order)
    assert stopped.state is OrderState.DISCONTINUED
    assert kinds(store) == ["order"]
    again = referral.amend(store, order.id, stopped.revision, draft(start=factory.soon(hours=1)), REGISTRAR, CLINIC)
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
        assert [each.step.sop_instance_uid for each in journal.unlinked(reader, order.authored_on)] == ["1.2"]
    procedure.link(store, "1.2", order.id, REGISTRAR, CLINIC)
    assert now(store, order).state is OrderState.COMPLETED
    assert kinds(store) == ["order", "images"]
    with store.read() as reader:
        assert journal.unlinked(reader, order.authored_on) == []
    with pytest.raises(WrongState):
        procedure.link(store, "1.2", order.id, REGISTRAR, CLINIC)


def test_append_and_group_cases_move_every_order_they_name(store: Store, order: Order) -> None:
    second = referral.register(store, draft(procedure_code="WLB-FOOT"), REGISTRAR, CLINIC)
    references = [StepReference(each.study_instance_uid) for each in (order, second)]
    start(store, "1.2", *references)
    assert now(store, second).state is OrderState.IN_PROGRESS
    finish(store, "1.2")
    assert [now(store, each).state for each in (order, second)] == [OrderState.COMPLETED] * 2
    start(store, "1.3", references[0])  # another step for the same order
    assert now(store, order).state is OrderState.IN_PROGRESS
    finish(store, "1.3", GIVEN_UP)
    assert now(store, order).state is OrderState.COMPLETED  # what was completed stays
    assert kinds(store).count("images") == 2  # one for each order, never a second one


def test_a_modality_that_began_a_cancelled_order_is_believed(store: Store, order: Order) -> None:
    referral.cancel(store, order.id, order.revision, "", REGISTRAR, CLINIC)
    start(store, "1.2", StepReference(order.study_instance_uid))
    assert now(store, order).state is OrderState.IN_PROGRESS


def test_a_person_may_not_play_a_device_nor_a_device_a_person(store: Store, order: Order) -> None:
    with pytest.raises(Forbidden):
        procedure.start(store, performed(), message(), REGISTRAR, CLINIC)
    with pytest.raises(Forbidden):
        referral.cancel(store, order.id, order.revision, "", XRAY, CLINIC)
