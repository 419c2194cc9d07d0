"""An order may bear two accession numbers, ours and the region's: found by both, answered by the right one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from broker.dicom.devices.registry import Caller
from broker.domain.orders import Order, OrderState
from broker.domain.studies import archive
from broker.domain.studies.performed import StepReference
from broker.store.database import Store
from broker.store.queries import order_card, schedule
from broker.store.tables import orders, worklist
from broker.workflow.referrals import referrals
from tests.dicom.worklist.asked import ask, numbers, query
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.modality import create, creation, scheduled
from tests.support.worklist_query import find

THEIRS = "ODII0000000042"


@pytest.fixture
def order(store: Store) -> Order:
    made = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    store.write(lambda tx: tx.run("UPDATE orders SET bus_accession_number = ? WHERE id = ?", [THEIRS, made.id]))
    return made


@pytest.mark.parametrize("key", [THEIRS, "ODII*", "*42"])
def test_a_device_finds_an_order_by_the_regions_number(store: Store, order: Order, key: str) -> None:
    [found] = numbers(ask(store, query(AccessionNumber=key)))
    assert found == (THEIRS if key == THEIRS else order.accession_number)


def test_a_device_is_answered_the_number_that_it_asked_for(store: Store, order: Order) -> None:
    assert numbers(ask(store, query(AccessionNumber=order.accession_number))) == [order.accession_number]
    assert numbers(ask(store, query(AccessionNumber=THEIRS))) == [THEIRS]


def test_devices_get_the_regions_number_where_that_is_configured_and_known(store: Store, order: Order) -> None:
    clinic = replace(CLINIC, bus_numbers=True)

    def reported(number: str = "") -> list[str]:
        return numbers(list(find(query(AccessionNumber=number), Caller("XRAY_14", ""), store, clinic)))

    [first, second] = sorted(reported())
    assert first != order.accession_number  # the other order's own: the region has given it none
    assert second == THEIRS
    assert reported(order.accession_number) == [order.accession_number]


def test_a_performed_step_is_linked_by_the_regions_number(store: Store, order: Order) -> None:
    create(store, creation(ScheduledStepAttributesSequence=[scheduled("1.9.9", AccessionNumber=THEIRS)]))
    with store.read() as reader:
        [linked] = orders.get_many(reader, [order.id])
    assert linked.state is OrderState.IN_PROGRESS


def test_people_find_an_order_by_the_regions_number(store: Store, order: Order) -> None:
    with store.read() as reader:
        [visit] = schedule.studies(reader, THEIRS.lower(), order.steps[0].start.date()).visits
        card = order_card.card(reader, THEIRS)
    assert visit.order.id == order.id
    assert card is not None
    assert card.order.id == order.id


# ---- several orders of one request ----

OTHER = "ODII0000000043"
BUS = replace(CLINIC, bus_numbers=True)


@pytest.fixture
def request_of_two(store: Store, order: Order) -> tuple[Order, Order]:
    """Return two orders under one accession number, each with a number of its own in the region."""
    second = store.write(
        referrals.register, draft(procedure_code="WLB-CHEST2"), REGISTRAR, CLINIC, request_number=order.accession_number
    )
    assert store.write(lambda tx: orders.set_bus_accession_number(tx, second.id, OTHER))
    with store.read() as reader:
        found = orders.get_many(reader, [order.id, second.id])
    return found[0], found[1]


def on_devices(store: Store, **keys: Any) -> list[str]:
    return sorted(numbers(list(find(query(**keys), Caller("XRAY_14", ""), store, BUS))))


@pytest.mark.parametrize("key", [THEIRS, "ODII*", "*42"])
def test_a_request_has_one_number_on_devices_and_is_found_whole_by_it(
    store: Store, request_of_two: tuple[Order, Order], key: str
) -> None:
    assert on_devices(store, AccessionNumber=key) == [THEIRS, THEIRS]
    assert on_devices(store, AccessionNumber=request_of_two[0].accession_number) == (
        [request_of_two[0].accession_number] * 2
    )
    assert on_devices(store, PatientID=request_of_two[0].patient.patient_id).count(THEIRS) == 2


def test_the_number_comes_to_all_orders_of_a_request_at_once(store: Store) -> None:
    first = store.write(referrals.register, draft(), REGISTRAR, CLINIC)
    store.write(
        referrals.register, draft(procedure_code="WLB-CHEST2"), REGISTRAR, CLINIC, request_number=first.shown_number
    )
    assert on_devices(store) == [first.accession_number] * 2
    before = worklist.revision(store)
    for _ in range(2):  # told again it is the same
        assert store.write(lambda tx: orders.set_bus_accession_number(tx, first.id, THEIRS))
    with store.read() as reader:
        changed = worklist.changed(reader, before)
    assert changed is not None
    assert len(changed[1]) == 2  # answers kept of either are not given any more
    assert on_devices(store) == [THEIRS] * 2


def test_a_performed_step_by_the_requests_number_is_of_the_order_that_its_study_names(
    store: Store, request_of_two: tuple[Order, Order]
) -> None:
    first, second = request_of_two
    step = scheduled(second.study_instance_uid, AccessionNumber=THEIRS)
    create(store, creation(ScheduledStepAttributesSequence=[step]))
    with store.read() as reader:
        states = [each.state for each in orders.get_many(reader, [first.id, second.id])]
        steps = orders.find_steps(reader, StepReference(second.study_instance_uid, THEIRS))
        either, conflicts = orders.find_steps(reader, StepReference("1.9.9", THEIRS))
    assert states == [OrderState.SCHEDULED, OrderState.IN_PROGRESS]
    assert steps == ([(second.id, second.steps[0].id)], [])
    assert {order_id for order_id, _ in either} == {first.id, second.id}
    assert conflicts == ["accession_number"]  # nothing says which: a person decides


def test_the_archive_knows_each_order_of_a_request_by_its_number(request_of_two: tuple[Order, Order]) -> None:
    assert all(THEIRS in archive.numbers(each) for each in request_of_two)
