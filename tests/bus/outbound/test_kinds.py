"""Every kind of message in every role, what is kept of it, the region's number, and the proof that the bus is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from broker.bus.outbound.delivery import PROBE_AFTER, DeliverySummary
from broker.bus.outbound.messages import NO_CORRECTIONS, NO_STARTS, OrderMessage, render
from broker.bus.outbound.orders import order_bundle
from broker.bus.practice import PRACTICE_ORGANISATION_2, PracticeBus
from broker.bus.transport.answers import Answer, Delivered, Rejected
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, n3, r4
from broker.bus.transport.rate_limit import PAUSE
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.messages import BusReferences, OutboxKind, OutboxRow, OutboxState
from broker.domain.orders import BusRole, Order
from broker.store.queries import exchange_state
from broker.store.tables import orders, outbox
from broker.workflow.reading import reports
from broker.workflow.referrals import referrals
from tests.bus import samples
from tests.bus.clinic import Clinic, numbers
from tests.bus.samples import PROFILE
from tests.support.clock import NOW
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.support.practice import practice_bus

DOCTOR = Actor(ActorKind.PERSON, "lvova", "Львова Анна Сергеевна", frozenset({Role.RADIOLOGIST}))
TEXT = reports.ReportText(description="Щель сужена", conclusion="Гонартроз", effective_dose=0.01)


def sign(clinic: Clinic, order: Order) -> None:
    clinic.store.write(reports.sign, order.id, 0, TEXT, DOCTOR, CLINIC)


def amend(clinic: Clinic, order: Order, **changes: str) -> Order:
    return clinic.store.write(referrals.amend, order.id, order.revision, draft(**changes), REGISTRAR, CLINIC)


def arrived(clinic: Clinic, role: BusRole, requester: str = "") -> Order:
    """Make an order that this clinic did not place."""
    return clinic.store.write(referrals.create_order, draft(), "", REGISTRAR, CLINIC, role, requester=requester)


def test_a_signed_report_follows_the_images_and_refers_to_them(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    sign(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=3)
    number = order.accession_number
    original, images, final = clinic.bus.tasks()
    assert numbers([original, images, final]) == [number, f"{number}/in-progress", f"{number}/completed"]
    assert final["basedOn"] == [{"reference": f"Task/{original['id']}"}]
    partial, report = clinic.bus.resources("DiagnosticReport")
    assert (partial["status"], report["status"]) == ("partial", "final")
    assert report["imagingStudy"] == partial["imagingStudy"]
    known = clinic.references(order).extra
    assert (known["report_task"], known["report"]) == (final["id"], report["id"])


def test_a_report_whose_answer_was_lost_is_looked_up(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.deliver()
    sign(clinic, order)
    clinic.deliver_and_lose_the_answer()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 3
    assert clinic.references(order).extra["report_task"] == clinic.bus.tasks()[2]["id"]


def test_a_correction_that_this_bus_does_not_take_is_shown_and_keeps_nothing_back(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    amend(clinic, order, comment="Новое")
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    amended = clinic.rows(order)[1]
    assert (amended.kind, amended.state, amended.reason) == (OutboxKind.AMEND, "unsupported", NO_CORRECTIONS)
    assert clinic.states(order) == ["delivered", "unsupported", "delivered"]


class Strict(BusClient):
    """A client of an R4 server that takes everything, and gives no accession numbers."""

    made: list[Call]

    def call(self, call: Call) -> Answer:
        self.made.append(call)
        kinds = ("Patient", "Encounter", "Condition", "ServiceRequest", "Task")
        entries = [{"response": {"status": "201 Created", "location": f"{kind}/{kind}-1"}} for kind in kinds]
        return Delivered({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})


def test_a_correction_goes_to_a_bus_that_takes_it_and_replaces_what_is_there(clinic: Clinic) -> None:
    clinic.dialect = r4
    Strict.made = []
    clinic.restarted(Strict)
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    amend(clinic, order, comment="Новое")
    assert clinic.deliver() == DeliverySummary(delivered=1)
    asked = [entry["request"] for entry in json.loads(Strict.made[1].body)["entry"]]
    assert {"method": "PUT", "url": "ServiceRequest/ServiceRequest-1"} in asked
    assert "Новое" in Strict.made[1].body.decode()


@pytest.mark.slow
def test_a_correction_of_a_message_whose_answer_was_lost_is_not_dropped(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver_and_lose_the_answer()
    amend(clinic, order, comment="Новое")
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.states(order) == ["delivered", "unsupported"]


def test_a_correction_that_went_within_the_order_is_dropped(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.bus.fail_next("drop")
    clinic.deliver()
    amend(clinic, order, comment="Новое")
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.states(order) == ["delivered", "dropped"]
    assert clinic.bus.resources("ServiceRequest")[0]["note"][0] == {"text": "Новое"}


def test_a_start_is_reported_if_the_region_accepts_it(open_clinic: Callable[[PracticeBus], Clinic]) -> None:
    clinic = open_clinic(practice_bus(lenient=True, statuses=("cancelled", "in-progress")))
    order = clinic.register()
    clinic.store.write(lambda tx: outbox.add(tx, order.id, OutboxKind.STARTED))
    assert clinic.deliver() == DeliverySummary(delivered=2)
    assert clinic.bus.tasks()[0]["status"] == "in-progress"


def test_a_beginning_that_the_region_refuses_does_not_keep_the_images_back(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.store.write(lambda tx: outbox.add(tx, order.id, OutboxKind.STARTED))
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    assert clinic.states(order) == ["delivered", "unsupported", "delivered"]
    assert clinic.rows(order)[1].reason.startswith(NO_STARTS)


@pytest.mark.slow
def test_what_another_clinic_ordered_is_answered_under_its_order(clinic: Clinic) -> None:
    theirs = replace(PROFILE, organisation=PRACTICE_ORGANISATION_2, mis_oid="1.2.643.2.69.1.2.901")
    model = clinic.register()
    clinic.store.write(lambda tx: outbox.withdraw(tx, model.id, OutboxKind.ORDER))
    answer = clinic.bus.transaction(n3(order_bundle(replace(model, accession_number="THEIRS-1"), theirs)))
    ids = {entry["resource"]["resourceType"]: entry["resource"]["id"] for entry in answer["entry"]}
    order = arrived(clinic, BusRole.PERFORMER, PRACTICE_ORGANISATION_2)
    known = {"task": ids["Task"], "service_request": ids["ServiceRequest"], "patient": ids["Patient"], "acsn": ""}
    clinic.store.write(lambda tx: outbox.set_references(tx, order.id, known))
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.bus.tasks()[1]["basedOn"] == [{"reference": f"Task/{ids['Task']}"}]
    assert clinic.bus.tasks()[1]["requester"] == {"reference": f"Organization/{PRACTICE_ORGANISATION_2}"}
    sign(clinic, order)
    clinic.deliver_and_lose_the_answer()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 3


def test_a_walk_in_patient_is_sent_with_the_result_and_known_from_then_on(clinic: Clinic) -> None:
    order = arrived(clinic, BusRole.WALK_IN)
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    [task] = clinic.bus.tasks()
    assert "basedOn" not in task
    [patient] = clinic.bus.resources("Patient")
    assert clinic.references(order).patient == patient["id"]
    sign(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert [p["id"] for p in clinic.bus.resources("Patient")] == [patient["id"]]


# ---- what is kept ----


def test_what_cannot_be_written_as_json_is_refused_before_it_is_sent() -> None:
    order = samples.order(patient=replace(samples.order().patient, weight=float("nan")))
    row = OutboxRow(1, order.id, OutboxKind.ORDER, OutboxState.PENDING, NOW)
    rendered = render(OrderMessage(row, order, BusReferences()), n3, samples.PROFILE, lambda *_: b"")
    assert isinstance(rendered, Rejected)
    assert rendered.reason.startswith("cannot be written as JSON")


def test_the_exact_json_of_the_last_attempt_can_be_looked_at_until_it_is_forgotten(clinic: Clinic) -> None:
    clinic.register()
    clinic.deliver()

    def sent() -> str:
        with clinic.store.read() as reader:
            return exchange_state.sent_json(reader, 1)

    assert sent().encode() == clinic.bus.requests[0].body
    assert clinic.store.write(lambda tx: outbox.forget_sent(tx, NOW - timedelta(days=90))) == 0
    assert clinic.store.write(lambda tx: outbox.forget_sent(tx, NOW + timedelta(seconds=1))) == 1
    assert sent() == ""


def test_what_still_waits_keeps_its_json(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("503")
    clinic.deliver()
    assert clinic.store.write(lambda tx: outbox.forget_sent(tx, NOW + timedelta(seconds=1))) == 0


# ---- the region's number ----


def test_the_regions_number_becomes_the_orders_second_one(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    with clinic.store.read() as reader:
        known = orders.get(reader, order.id)
    assert known is not None
    assert (known.bus_accession_number, known.revision) == ("ODII0000000001", order.revision)


@pytest.mark.parametrize(
    ("form", "action"), [("REGION-NUMBER-{:08d}", "bus_number_too_long"), ("K2611-{:04d}", "bus_number_taken")]
)
def test_a_number_that_no_modality_can_bear_or_that_is_taken_is_refused_loudly(
    open_clinic: Callable[[PracticeBus], Clinic], form: str, action: str, caplog: pytest.LogCaptureFixture
) -> None:
    clinic = open_clinic(practice_bus(lenient=True, accession_format=form))
    clinic.register()
    second = clinic.register()
    with clinic.store.read() as reader:
        first_number = reader.value("SELECT accession_number FROM orders ORDER BY id LIMIT 1")
    clinic.store.write(lambda tx: tx.run("UPDATE outbox SET state = 'dropped' WHERE order_id <> ?", [second.id]))
    assert clinic.deliver() == DeliverySummary(delivered=1)
    with clinic.store.read() as reader:
        line = reader.one("SELECT * FROM audit WHERE action = ?", [action])
        known = orders.get(reader, second.id)
    assert line is not None
    assert json.loads(line["details"])["number"] in ("REGION-NUMBER-00000001", first_number)
    assert known is not None
    assert known.bus_accession_number == ""
    assert any(record.levelname == "ERROR" for record in caplog.records)


# ---- the bus is there ----


def test_a_silent_bus_is_asked_something_that_changes_nothing(clinic: Clinic) -> None:
    assert clinic.delivery.probe()
    assert clinic.calls() == ["/Task/_search?_format=json"]
    assert clinic.shown().answered_at is not None
    assert not clinic.delivery.probe()
    clinic.now += PROBE_AFTER
    assert clinic.delivery.probe()


def test_a_bus_that_has_just_answered_a_message_is_not_asked(clinic: Clinic) -> None:
    clinic.register()
    clinic.deliver()
    clinic.now += PROBE_AFTER - 1
    assert not clinic.delivery.probe()


def test_a_probe_finds_that_the_bus_is_gone_and_that_it_is_back_with_nothing_to_send(clinic: Clinic) -> None:
    clinic.server.stop()
    assert clinic.delivery.probe()
    assert (clinic.shown().channel, clinic.shown().reason) == ("waiting", "cannot connect")
    assert not clinic.delivery.probe()  # it waits as a message would
    clinic.server.start()
    clinic.now += 3600
    assert clinic.delivery.probe()
    assert clinic.shown().channel == "ok"


def test_a_probe_finds_a_refused_token_before_any_message_does(clinic: Clinic) -> None:
    clinic.token = "wrong"
    assert clinic.delivery.probe()
    assert (clinic.shown().channel, clinic.shown().reason) == ("paused", "token refused (HTTP 401)")
    clinic.token = "6f1c2f0e-5a3b-4c7d-9e21-0b8d4a7f3c55"
    clinic.now += PAUSE
    assert clinic.delivery.probe()
    assert clinic.shown().channel == "ok"
