"""What the region is told of a referral: an amendment where it has the old content, and of whose order it is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Invalid, Stale, WrongState
from broker.domain.orders import BusRole, Order, OrderState, Priority, StepState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Store
from broker.store.queries import board, inbox, order_card
from broker.store.tables import orders, outbox
from broker.store.tables.incoming import Arrival
from broker.store.tables.studies.external_studies import StoredStudy
from broker.store.tables.worklist import IndexFilter, candidates
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import external_results, step_links
from tests.support.clock import NOW
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft, soon
from tests.support.modality import begin, change, create, creation, ending

FORMER_DATA = "it was made by the former data of the referral"
OTHER_CLINIC = "c84e7f12-0d39-4b6e-9c7a-5f6e7d8c9b02"


def register(store: Store, **changes: object) -> Order:
    return store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)


def queue(store: Store, order: Order) -> list[tuple[str, str]]:
    with store.read() as reader:
        rows = reader.rows("SELECT kind, state FROM outbox WHERE order_id = ? ORDER BY seq", [order.id])
    return [(row["kind"], row["state"]) for row in rows]


def deliver(store: Store, order: Order) -> None:
    """Let the bus take everything of an order that waits."""
    with store.read() as reader:
        waiting = reader.rows("SELECT seq FROM outbox WHERE order_id = ? AND state = 'pending'", [order.id])
    for row in waiting:
        store.write(outbox.deliver, row["seq"], {}, "")


def amend(store: Store, order: Order, **changes: object) -> Order:
    return store.write(referrals.amend, order.id, order.revision, draft(**changes), REGISTRAR, CLINIC)


def test_an_amendment_before_the_region_has_the_order_goes_out_with_it(store: Store) -> None:
    order = register(store)
    amend(store, order, priority=Priority.URGENT)
    assert queue(store, order) == [("order", "pending")]


def test_an_amendment_of_what_the_region_has_follows_it_once(store: Store) -> None:
    order = register(store)
    deliver(store, order)
    order = amend(store, order, priority=Priority.URGENT)
    order = amend(store, order, comment="срочно")
    assert queue(store, order) == [("order", "delivered"), ("amend", "pending")]
    deliver(store, order)
    amend(store, order, patient=replace(KUZNETSOVA, id=order.patient.id, height=170.0))
    assert queue(store, order)[2:] == [("amend", "pending")]


def test_where_and_when_it_is_done_here_is_not_the_regions_business(store: Store) -> None:
    order = register(store)
    deliver(store, order)
    amend(store, order, station_ae_titles=("FLG_12",), start=soon(hours=3), patient=replace(KUZNETSOVA, phone="1"))
    assert queue(store, order) == [("order", "delivered")]


def test_a_cancelled_order_needs_no_amendment_any_more(store: Store) -> None:
    order = register(store)
    deliver(store, order)
    order = amend(store, order, priority=Priority.URGENT)
    store.write(referrals.cancel, order.id, order.revision, "", REGISTRAR, CLINIC)
    assert queue(store, order) == [("order", "delivered"), ("amend", "dropped"), ("cancel", "pending")]


def test_a_study_for_another_clinic_is_on_no_worklist_of_ours(store: Store) -> None:
    order = register(store, owner=OTHER_CLINIC, station_ae_titles=())
    assert (order.state, order.bus_role, order.owner) == (OrderState.REFERRED, BusRole.PLACER, OTHER_CLINIC)
    assert [(step.state, step.station_ae_titles) for step in order.steps] == [(StepState.REFERRED, ())]
    assert queue(store, order) == [("order", "pending")]
    with store.read() as reader:
        assert candidates(reader, IndexFilter(), 10) == []
    changed = amend(store, order, owner=OTHER_CLINIC, station_ae_titles=(), priority=Priority.URGENT)
    assert changed.state is OrderState.REFERRED
    with pytest.raises(Invalid):
        amend(store, changed)  # ours after all: cancel it, and register a new one
    deliver(store, order)
    cancelled = store.write(referrals.cancel, order.id, changed.revision, "", REGISTRAR, CLINIC)
    assert cancelled.state is OrderState.CANCELLED
    assert queue(store, order)[-1] == ("cancel", "pending")


def test_nothing_is_referred_to_other_clinics_without_a_bus(store: Store) -> None:
    with pytest.raises(Invalid):
        store.write(
            referrals.register,
            draft(owner=OTHER_CLINIC, station_ae_titles=()),
            REGISTRAR,
            replace(CLINIC, sends_to_bus=False),
        )
    with pytest.raises(Invalid):
        register(store, owner="the clinic next door", station_ae_titles=())


def test_nothing_is_referred_to_ourselves(store: Store) -> None:
    ours = replace(CLINIC, organisation=OTHER_CLINIC.upper())
    with pytest.raises(Invalid) as raised:
        store.write(referrals.register, draft(owner=OTHER_CLINIC, station_ae_titles=()), REGISTRAR, ours)
    assert raised.value.problems == {"owner": "ours"}


def test_what_a_new_referral_completes_of_the_patient_amends_the_earlier_ones_here(store: Store) -> None:
    first = register(store, patient=replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, middle=""), snils=""))
    deliver(store, first)
    known = stands(store, first).patient
    register(store, patient=replace(known, weight=71.0))
    assert queue(store, first) == [("order", "delivered")]
    known = stands(store, first).patient
    register(store, patient=replace(known, name=replace(known.name, middle="Петровна")))
    assert queue(store, first) == [("order", "delivered"), ("amend", "pending")]
    deliver(store, first)
    register(store, patient=replace(KUZNETSOVA, weight=None))  # found by the policy, and the СНИЛС is completed
    assert queue(store, first)[2:] == [("amend", "pending")]


def corrected(store: Store) -> Order:
    """Refer a right knee to another clinic, and correct it to the left on a bus that takes no corrections."""
    order = register(store, owner=OTHER_CLINIC, station_ae_titles=(), laterality="R")
    deliver(store, order)
    order = amend(store, order, owner=OTHER_CLINIC, station_ae_titles=(), laterality="L")
    with store.read() as reader:
        [row] = reader.rows("SELECT seq FROM outbox WHERE order_id = ? AND kind = 'amend'", [order.id])
    store.write(outbox.unsupported, row["seq"], "the bus takes no corrections")
    return order


def test_a_side_that_the_other_clinic_does_not_know_is_an_alarm_until_it_is_placed_anew(store: Store) -> None:
    order = corrected(store)
    with store.read() as reader:
        assert [each.accession_number for each in board.uncorrected(reader)] == [order.accession_number]
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    assert card.uncorrected
    placed = store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    assert (placed.state, placed.owner, placed.laterality) == (OrderState.REFERRED, OTHER_CLINIC, "L")
    assert placed.patient.id == order.patient.id
    assert placed.accession_number != order.accession_number
    assert placed.study_instance_uid != order.study_instance_uid
    assert stands(store, order).state is OrderState.CANCELLED
    assert queue(store, order)[-1] == ("cancel", "pending")
    assert queue(store, placed) == [("order", "pending")]
    with store.read() as reader:
        assert board.uncorrected(reader) == []


def answered(store: Store, order: Order, reference: str = "DiagnosticReport/1", status: str = "final") -> None:
    study = ExternalStudy(reference, status, OTHER_CLINIC, NOW.date(), conclusion="Норма")
    arrival = Arrival("bus", f"Task/{reference[-1]}", "2", b"{}")
    store.write(external_results.store_result, order.id, StoredStudy(study), arrival)


def alarms(store: Store) -> list[tuple[str, str]]:
    with store.read() as reader:
        return [(each.accession_number, each.reason) for each in inbox.too_late(reader)]


def acknowledge(store: Store) -> None:
    with store.read() as reader:
        [late] = inbox.too_late(reader)
    assert store.write(incoming_referrals.acknowledge, late.item_id, late.version, REGISTRAR)


def answers_former_data(store: Store, order: Order) -> bool:
    with store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    assert card is not None
    return card.answers_former_data


def test_a_result_that_was_made_by_the_former_side_is_an_alarm_until_a_person_has_read_it(store: Store) -> None:
    order = corrected(store)
    answered(store, order)
    assert stands(store, order).state is OrderState.COMPLETED
    for _ in range(2):
        assert alarms(store) == [(order.accession_number, FORMER_DATA)]
        assert answers_former_data(store, order)
        answered(store, order)  # the same again
    acknowledge(store)
    answered(store, order)
    assert alarms(store) == []
    assert not answers_former_data(store, order)


def test_a_result_that_crosses_a_correction_is_an_alarm_and_one_after_it_is_none(store: Store) -> None:
    order = register(store, owner=OTHER_CLINIC, station_ae_titles=(), laterality="R")
    deliver(store, order)
    order = amend(store, order, owner=OTHER_CLINIC, station_ae_titles=(), laterality="L")
    answered(store, order, status="partial")
    assert alarms(store) == [(order.accession_number, FORMER_DATA)]
    acknowledge(store)
    deliver(store, order)
    answered(store, order, "DiagnosticReport/2")
    assert alarms(store) == []
    assert stands(store, order).state is OrderState.COMPLETED


def test_a_patient_who_is_corrected_at_another_visit_is_an_alarm_for_what_waits_at_other_clinics(store: Store) -> None:
    order = register(store, owner=OTHER_CLINIC, station_ae_titles=())
    deliver(store, order)
    known = stands(store, order).patient
    register(store, patient=replace(known, phone="8 903 1234567", weight=71.0))
    assert queue(store, order) == [("order", "delivered")]
    known = stands(store, order).patient
    register(store, patient=replace(known, name=replace(known.name, family="Орлова")))
    assert queue(store, order) == [("order", "delivered"), ("amend", "pending")]


def test_a_double_click_places_anew_once(store: Store) -> None:
    order = corrected(store)
    store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    with pytest.raises((Stale, WrongState)):
        store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    with store.read() as reader:
        assert reader.value("SELECT count(*) FROM orders") == 2


def test_what_is_reissued_keeps_what_an_import_brought_and_a_procedure_that_is_offered_no_more(store: Store) -> None:
    order = corrected(store)
    brought = {"top": {"PatientComments": {"vr": "LT", "Value": ["x"]}}}
    store.write(orders.set_attributes, order.id, brought)
    store.write(lambda tx: tx.run("UPDATE procedure_type SET hidden = 1"))
    placed = store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    assert placed.attributes == brought


def test_only_what_waits_at_another_clinic_is_placed_anew(store: Store) -> None:
    order = register(store)
    with pytest.raises(WrongState):
        store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    assert queue(store, order) == [("order", "pending")]


def test_work_done_here_for_a_referred_order_can_be_taken_back(store: Store) -> None:
    order = register(store, owner=OTHER_CLINIC, station_ae_titles=())
    create(store, creation())
    change(store, ending())
    store.write(step_links.link, "1.2.3", order.id, REGISTRAR, CLINIC)
    assert stands(store, order).state is OrderState.COMPLETED
    store.write(step_links.unlink, "1.2.3", order.id, REGISTRAR, CLINIC)
    now = stands(store, order)
    assert (now.state, now.steps[0].state) == (OrderState.REFERRED, StepState.REFERRED)


def test_a_start_is_reported_if_the_region_wants_it(store: Store) -> None:
    order, quiet = register(store), register(store)
    reported = replace(CLINIC, sends_start=True)
    create_for(store, order, "1.2.3", reported)
    create(store, creation(quiet.study_instance_uid), "1.2.4")
    assert queue(store, order) == [("order", "pending"), ("started", "pending")]
    assert queue(store, quiet) == [("order", "pending")]
    store.write(step_links.unlink, "1.2.3", order.id, REGISTRAR, reported)
    assert queue(store, order) == [("order", "pending"), ("started", "dropped")]


def test_a_start_under_another_patients_name_is_reported_once_a_person_has_confirmed_the_patient(store: Store) -> None:
    order, reported = register(store), replace(CLINIC, sends_start=True)
    begin(store, creation(order.study_instance_uid, PatientName="Попов^Олег"), "1.2.3", clinic=reported)
    assert queue(store, order) == [("order", "pending")]
    seen = Confirmation(order.patient, ("patient_name",))
    store.write(step_links.confirm_patient, "1.2.3", order.id, REGISTRAR, reported, seen)
    assert queue(store, order) == [("order", "pending"), ("started", "pending")]


def stands(store: Store, order: Order) -> Order:
    return store.write(orders.require, order.id)


def create_for(store: Store, order: Order, uid: str, clinic: Clinic) -> None:
    begin(store, creation(order.study_instance_uid), uid, clinic=clinic)
