"""An order of which it is not known whose it is, after two cards were taken apart, stays, is shown, and waits."""

from __future__ import annotations

import json

import pytest

from broker.domain.errors import Invalid, Stale
from broker.domain.orders import Order, OrderState
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.store.database import Store
from broker.store.queries import order_card, patient_cards, undecided
from broker.store.tables import orders
from broker.workflow import patient_merge
from broker.workflow.reading import reports
from broker.workflow.referrals import referrals
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.test_patient_correction import DOCTOR, made
from tests.workflow.test_patient_merge import TWIN, card, merge, order_now, register, rows


@pytest.fixture
def one(store: Store) -> Order:
    return register(store)


@pytest.fixture
def unknown(store: Store) -> Order:
    return register(store, Patient(PersonName("Неизвестная"), None, Sex.FEMALE))


def split_not_knowing(store: Store, one: Order, unknown: Order, *, performed_already: bool = False) -> Order:
    """Merge the second card into the first, order something, and take the cards apart without knowing whose it is."""
    trail = merge(store, one.patient.stored_id, unknown.patient.stored_id)
    since = register(store, card(store, one.patient.stored_id), comment="чьё?")
    if performed_already:
        made(store, since)
    store.write(patient_merge.undo_merge, trail.id, REGISTRAR, CLINIC, decided={since.id: None})
    return since


def waiting(store: Store) -> list[int]:
    """Return which orders the board, the card and both patients' pages show as undecided."""
    with store.read() as reader:
        shown = [each.order.id for each in undecided.waiting(reader)]
        for id in shown:
            order = orders.require(reader, id)
            shown_card = order_card.card(reader, order.accession_number)
            assert shown_card is not None
            assert shown_card.undecided is not None
            for person in shown_card.undecided.cards:
                page = patient_cards.read(reader, person.patient_id)
                assert page is not None
                assert id in [each.order.id for each in page.undecided]
    return shown


def test_an_order_stays_and_waits_until_it_is_known_whose_it_is(store: Store, unknown: Order, one: Order) -> None:
    since = split_not_knowing(store, one, unknown)
    assert order_now(store, since).patient.id == one.patient.id
    assert order_now(store, since).state is OrderState.SCHEDULED
    assert waiting(store) == [since.id]
    [said] = rows(store, "SELECT * FROM audit WHERE action = 'patient_split' AND order_id IS NULL")
    assert json.loads(said["details"])["decided"] == {str(since.id): None}
    with pytest.raises(Stale):
        store.write(patient_merge.decide_order, since.id, register(store, TWIN).patient.stored_id, REGISTRAR, CLINIC)
    store.write(patient_merge.decide_order, since.id, unknown.patient.stored_id, REGISTRAR, CLINIC)
    assert order_now(store, since).patient.id == unknown.patient.id
    assert waiting(store) == []
    with pytest.raises(Stale):
        store.write(patient_merge.decide_order, since.id, one.patient.stored_id, REGISTRAR, CLINIC)


@pytest.mark.parametrize("stays", [True, False])
def test_nothing_of_it_goes_to_the_region_and_no_report_is_signed_until_it_is_known(
    store: Store, unknown: Order, one: Order, stays: bool
) -> None:
    since = split_not_knowing(store, one, unknown, performed_already=True)
    open_rows = "SELECT kind FROM outbox WHERE order_id = ? AND state IN ('pending', 'needs_attention') ORDER BY kind"

    def queued() -> list[str]:
        with store.read() as reader:
            return [row["kind"] for row in reader.rows(open_rows, [since.id])]

    assert "images" not in queued()
    with pytest.raises(Invalid) as caught:
        store.write(reports.sign, since.id, 0, reports.ReportText(conclusion="Норма"), DOCTOR, CLINIC)
    assert caught.value.problems == {"images": "undecided"}
    whose = one if stays else unknown
    store.write(patient_merge.decide_order, since.id, whose.patient.stored_id, REGISTRAR, CLINIC)
    # What the device has reported under the other name is for a person to confirm.
    assert ("images" in queued()) is stays
    conflicts = rows(store, "SELECT conflict FROM performed_step_link")
    assert [bool(row["conflict"]) for row in conflicts] == [not stays]


def test_cards_that_are_merged_again_leave_nothing_to_decide(store: Store, unknown: Order, one: Order) -> None:
    since = split_not_knowing(store, one, unknown)
    merge(store, unknown.patient.stored_id, one.patient.stored_id)
    assert waiting(store) == []
    assert order_now(store, since).patient.id == unknown.patient.id


def test_an_order_that_was_cancelled_needs_no_decision(store: Store, unknown: Order, one: Order) -> None:
    since = split_not_knowing(store, one, unknown)
    store.write(referrals.cancel, since.id, order_now(store, since).revision, "", REGISTRAR, CLINIC)
    assert waiting(store) == []
