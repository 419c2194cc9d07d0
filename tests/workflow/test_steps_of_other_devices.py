"""The end of a step that another device reports is kept, and waits for a person unless it may act for others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.actors import Actor, ActorKind
from broker.domain.messages import OutboxKind
from broker.domain.orders import Order, OrderState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.studies.performed import WRONG_ENTRY, MppsOutcome, PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import board
from broker.store.tables import devices, orders, outbox
from broker.store.tables.studies import performed, performed_links
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message

MAMMO = Actor(ActorKind.DEVICE, "MAMMO_9", "Маммограф")
DONE = PerformedChange(PerformedState.COMPLETED, images=2)


@pytest.fixture
def order(store: Store) -> Order:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    step = factory.performed("1.2", StepReference(order.study_instance_uid))
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    return order


def report(store: Store, actor: Actor, change: PerformedChange = DONE, content: str = "end") -> MppsOutcome:
    request = performed_steps.ChangeRequest("1.2", change, message(content))
    return store.write(performed_steps.change, request, actor, CLINIC).outcome


def allow(store: Store) -> None:
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[2], for_others=True)))


def state(store: Store, order: Order) -> tuple[OrderState, str]:
    with store.read() as reader:
        return orders.require(reader, order.id).state, performed_links.conflicts(reader, order.id).get("1.2", "")


def has_images_message(store: Store, order: Order) -> bool:
    with store.read() as reader:
        return outbox.has(reader, order.id, OutboxKind.IMAGES)


def noted(store: Store) -> list[str]:
    with store.read() as reader:
        return [note.kind for note in devices.notes(reader).get("MAMMO_9", [])]


def test_the_end_is_kept_and_waits_for_a_person(store: Store, order: Order) -> None:
    assert report(store, MAMMO) is MppsOutcome.ACCEPTED  # nothing is lost, and the device need not try again
    assert state(store, order) == (OrderState.COMPLETED, "performed_by")
    assert not has_images_message(store, order)
    assert noted(store) == ["mpps_held"]
    with store.read() as reader:
        [doubtful] = board.doubtful(reader)
        assert (doubtful.order.id, doubtful.fields) == (order.id, ("performed_by",))
        assert performed.require(reader, "1.2").images == 2


def test_a_person_lets_it_go_on(store: Store, order: Order) -> None:
    report(store, MAMMO)
    confirmed = Confirmation(order.patient, ("performed_by",))
    store.write(step_links.confirm_patient, "1.2", order.id, REGISTRAR, CLINIC, confirmed)
    assert state(store, order) == (OrderState.COMPLETED, "")
    assert has_images_message(store, order)


def test_the_device_that_began_it_overrules_it(store: Store, order: Order) -> None:
    report(store, MAMMO, PerformedChange(PerformedState.DISCONTINUED))
    assert state(store, order)[1] == "performed_by"
    assert report(store, XRAY, content="mine") is MppsOutcome.ACCEPTED
    assert state(store, order) == (OrderState.COMPLETED, "")
    assert has_images_message(store, order)


def test_the_device_that_began_it_goes_on(store: Store, order: Order) -> None:
    report(store, MAMMO)
    report(store, XRAY, PerformedChange(PerformedState.IN_PROGRESS), "still running")
    assert state(store, order) == (OrderState.IN_PROGRESS, "")


def test_who_may_act_for_others_ends_it(store: Store, order: Order) -> None:
    allow(store)
    report(store, MAMMO)
    assert state(store, order) == (OrderState.COMPLETED, "")
    assert has_images_message(store, order)
    assert noted(store) == ["mpps_foreign"]


def test_a_wrong_entry_that_another_device_reports_takes_nothing_from_the_order(store: Store, order: Order) -> None:
    wrong = PerformedChange(PerformedState.DISCONTINUED, discontinuation_code=WRONG_ENTRY)
    report(store, MAMMO, wrong)
    assert state(store, order)[1] == "performed_by"
    with store.read() as reader:
        step = performed.require(reader, "1.2")
        assert performed_links.order_ids(reader, step.stored_id) == [order.id]


def test_the_second_ae_title_of_the_device_that_performs_it_is_no_other_device(store: Store) -> None:
    order = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    step = factory.performed("1.2", StepReference(order.study_instance_uid), station_ae_title="MAMMO_9")
    store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
    report(store, MAMMO)
    assert state(store, order) == (OrderState.COMPLETED, "")


def test_progress_that_another_device_reports_holds_nothing(store: Store, order: Order) -> None:
    report(store, MAMMO, PerformedChange(images=1), "more")
    assert state(store, order) == (OrderState.IN_PROGRESS, "")
    assert noted(store) == ["mpps_foreign"]
