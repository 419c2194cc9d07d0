"""An order may bear two accession numbers, ours and the region's: found by both, answered by the right one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.dicom.devices.registry import Caller
from broker.domain.orders import Order, OrderState
from broker.store.database import Store
from broker.store.queries import order_card, schedule
from broker.store.tables import orders
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
