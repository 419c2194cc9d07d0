"""The outbox on its way to a practice bus over real HTTP: in order, once, through the faults of the line."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import NoReturn

import pytest

from broker.bus.fhir import Resource
from broker.bus.outbound.delivery import DeliverySummary
from broker.bus.outbound.orders import order_bundle
from broker.bus.practice import PRACTICE_TOKEN, PracticeBus
from broker.bus.transport.answers import Answer, Delivered, Rejected, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, n3
from broker.bus.transport.rate_limit import FIRST_WAIT, MESSAGE_FAULT_AFTER, PAUSE
from broker.domain.actors import Role
from broker.domain.messages import BusReferences, OutboxState
from broker.domain.orders import Order
from broker.domain.patients.people import PersonName
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store, StoreError
from broker.store.tables import devices, orders, outbox
from broker.workflow import outbox as delivery
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.bus.clinic import ADMINISTRATOR, KNEE, Clinic, numbers
from tests.bus.samples import MIS, PROFILE
from tests.support import dying, factory
from tests.support.clock import NOW, Clock
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed
from tests.support.practice import practice_bus
from tests.support.waiting import DEADLINE, wait_until

# ---- the ordinary day ----


def test_an_order_is_delivered_and_the_buss_ids_are_kept(clinic: Clinic) -> None:
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    [task] = clinic.bus.tasks()
    assert numbers([task]) == [order.accession_number]
    assert clinic.references(order) == BusReferences(
        task=task["id"],
        service_request=clinic.bus.resources("ServiceRequest")[0]["id"],
        patient=clinic.bus.resources("Patient")[0]["id"],
        acsn="ODII0000000001",
    )
    [row] = clinic.rows()
    assert (row.state, row.uncertain, row.attempts) == (OutboxState.DELIVERED, False, 1)
    shown = clinic.shown()
    assert (shown.channel, shown.waiting) == ("ok", 0)
    assert shown.answered_at is not None
    assert "transaction-response" in shown.ledger[0].answer


def test_an_empty_queue_makes_no_call(clinic: Clinic) -> None:
    assert clinic.deliver() == DeliverySummary()
    clinic.register()
    clinic.deliver()
    assert clinic.deliver() == DeliverySummary()
    assert len(clinic.calls()) == 1


def test_a_cancellation_follows_its_order(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.cancel(order)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    assert clinic.calls() == ["/?_format=json", "/$updatestatus?_format=json"]
    assert [task["status"] for task in clinic.bus.tasks()] == ["cancelled"]


def test_images_taken_reach_the_bus_after_the_order(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    original, result = clinic.bus.tasks()
    assert numbers([original, result]) == [order.accession_number, f"{order.accession_number}/in-progress"]
    assert result["basedOn"] == [{"reference": f"Task/{original['id']}"}]
    [study] = clinic.bus.resources("ImagingStudy")
    assert [i["value"] for i in study["identifier"]] == ["ODII0000000001", f"urn:oid:{order.study_instance_uid}"]
    assert study["numberOfInstances"] == 2
    [report] = clinic.bus.resources("DiagnosticReport")
    assert report["status"] == "partial"
    assert clinic.references(order).extra == {
        "images_task": result["id"],
        "images_report": report["id"],
        f"study/{order.study_instance_uid}": study["id"],
    }


def test_a_walk_in_that_was_linked_later_is_sent_under_its_own_study_uid(clinic: Clinic) -> None:
    order = clinic.register()
    uid = "2.25.4242"
    step = performed("1.2.9", StepReference(study_instance_uid=uid))
    clinic.store.write(performed_steps.start, step, message("c"), XRAY, CLINIC)
    done = PerformedChange(PerformedState.COMPLETED, images=1)
    clinic.store.write(performed_steps.change, performed_steps.ChangeRequest("1.2.9", done, message("f")), XRAY, CLINIC)
    technologist = replace(REGISTRAR, roles=frozenset({Role.TECHNOLOGIST}))
    clinic.store.write(step_links.link, "1.2.9", order.id, technologist, CLINIC)
    assert clinic.deliver() == DeliverySummary(delivered=2)
    [study] = clinic.bus.resources("ImagingStudy")
    assert study["identifier"][1]["value"] == f"urn:oid:{uid}"


def test_orders_go_in_the_order_in_which_they_were_made(clinic: Clinic) -> None:
    made = [clinic.register() for _ in range(5)]
    clinic.cancel(made[1])
    assert clinic.deliver() == DeliverySummary(delivered=6)
    assert numbers(clinic.bus.tasks()) == [order.accession_number for order in made]


def test_a_message_is_rendered_from_what_is_known_when_it_is_sent(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.store.write(referrals.amend, order.id, order.revision, draft(comment="Новое"), REGISTRAR, CLINIC)
    clinic.deliver()
    assert clinic.bus.resources("ServiceRequest")[0]["note"][0] == {"text": "Новое"}


def test_the_screens_are_notified(clinic: Clinic) -> None:
    reported = []
    clinic.register()
    clinic.store.subscribe(lambda: reported.append(1))
    clinic.bus.fail_next("503")
    clinic.deliver()
    assert len(reported) == 1
    clinic.deliver_later()
    assert len(reported) == 2


# ---- refusals ----


@pytest.fixture
def strict(open_clinic: Callable[[PracticeBus], Clinic], store: Store) -> Clinic:
    """A bus that insists on everything, and a clinic that has the official codes."""
    store.write(lambda tx: tx.run("DELETE FROM procedure_type"))
    store.write(lambda tx: devices.fill_procedures(tx, [KNEE]))
    return open_clinic(practice_bus())


def test_a_refused_order_waits_with_its_reason_while_the_others_go_on(strict: Clinic) -> None:
    refused = strict.register(procedure_code=KNEE.code, diagnosis_code="", diagnosis_text="")
    strict.perform(refused)
    other = strict.register(procedure_code=KNEE.code)
    assert strict.deliver() == DeliverySummary(delivered=1, needs_attention=1)
    assert strict.states(refused) == ["needs_attention", "pending"]
    assert strict.states(other) == ["delivered"]
    shown = strict.shown()
    assert (shown.channel, shown.needs_attention[0].accession_number) == ("ok", refused.accession_number)
    assert shown.needs_attention[0].row.reason == "Encounter.diagnosis: не заполнено обязательное поле"
    assert "OperationOutcome" in shown.needs_attention[0].answer
    assert strict.deliver_later() == DeliverySummary()
    assert len(strict.calls()) == 2  # it is not sent again unchanged


def test_a_refused_order_is_delivered_after_it_was_amended(strict: Clinic) -> None:
    order = strict.register(procedure_code=KNEE.code, diagnosis_code="", diagnosis_text="")
    strict.deliver()
    amended = draft(procedure_code=KNEE.code, diagnosis_code="M17.1")
    strict.store.write(referrals.amend, order.id, order.revision, amended, REGISTRAR, CLINIC)
    assert strict.deliver() == DeliverySummary(delivered=1)
    assert strict.states() == ["delivered"]
    assert numbers(strict.bus.tasks()) == [order.accession_number]


def test_an_order_that_was_cancelled_before_the_bus_refused_it_leaves_nothing_to_mend(strict: Clinic) -> None:
    order = strict.register(procedure_code=KNEE.code, diagnosis_code="", diagnosis_text="")
    strict.cancel(order)
    strict.deliver()
    assert strict.states() == ["dropped", "dropped"]
    assert strict.shown().needs_attention == ()
    assert strict.bus.tasks() == []


def test_stopping_does_not_wait_for_a_slow_bus(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.restarted(timeout=30.0)
    clinic.bus.fail_next("timeout-after-commit")
    run = threading.Thread(target=clinic.deliver)
    run.start()
    wait_until(clinic.bus.tasks, "the order on the bus")
    clinic.delivery.stop()
    run.join(DEADLINE)
    assert not run.is_alive()
    clinic.restarted()
    clinic.deliver()
    assert clinic.states(order) == ["delivered"]
    assert len(clinic.bus.tasks()) == 1


def test_a_person_can_have_a_refused_order_sent_again(strict: Clinic) -> None:
    order = strict.register(procedure_code=KNEE.code, diagnosis_code="", diagnosis_text="")
    strict.deliver()
    assert strict.store.write(delivery.resend, order.id, ADMINISTRATOR) == 1
    assert strict.deliver() == DeliverySummary(needs_attention=1)


class Amending(BusClient):
    """A client during whose call a registrar amends the order."""

    amend: Callable[[], object] = staticmethod(lambda: None)

    def call(self, call: Call) -> Answer:
        amend, Amending.amend = Amending.amend, lambda: None
        amend()
        return super().call(call)


def test_an_order_that_was_amended_while_the_bus_refused_it_goes_out_again_by_itself(strict: Clinic) -> None:
    order = strict.register(procedure_code=KNEE.code, diagnosis_code="", diagnosis_text="")
    better = draft(procedure_code=KNEE.code)
    Amending.amend = lambda: strict.store.write(referrals.amend, order.id, order.revision, better, REGISTRAR, CLINIC)
    strict.restarted(Amending)
    strict.deliver()
    assert strict.states() == ["delivered", "dropped"]  # the amendment went within the order
    assert [request.status for request in strict.bus.requests] == [422, 200]


def test_the_buss_words_are_not_logged_for_they_may_name_the_patient(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(BusClient, "call", lambda *_: Rejected("Пациент Кузнецова не найден"))
    order = clinic.register()
    clinic.deliver()
    assert order.accession_number in caplog.text
    assert "Кузнецова" not in caplog.text
    assert clinic.shown().needs_attention[0].row.reason == "Пациент Кузнецова не найден"


# ---- a bad line ----


def test_a_bus_that_is_down_is_tried_less_and_less_often(clinic: Clinic) -> None:
    clinic.register()
    clinic.register()
    clinic.bus.fail_next("503", times=3)
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    assert len(clinic.calls()) == 1
    shown = clinic.shown()
    assert (shown.channel, shown.reason, shown.waiting) == ("waiting", "HTTP 503", 2)
    assert shown.retry_at is not None
    assert clinic.deliver_later(FIRST_WAIT - 1) == DeliverySummary(stopped="waiting")
    assert len(clinic.calls()) == 1
    clinic.deliver_later(1)  # 503, after a look-up
    clinic.deliver_later(2 * FIRST_WAIT - 1)
    assert len(clinic.calls()) == 2
    clinic.deliver_later(1)
    assert len(clinic.calls()) == 3
    assert clinic.deliver_later(4 * FIRST_WAIT) == DeliverySummary(delivered=2)
    assert (clinic.shown().channel, clinic.shown().reason) == ("ok", "")
    assert len(clinic.bus.tasks()) == 2


def test_too_many_requests_wait_as_long_as_the_bus_asks_and_need_no_look_up(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("429")
    clinic.delivery = clinic.delivery_with(chance=0.0)
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    assert clinic.rows()[0].uncertain is False
    assert clinic.deliver_later(FIRST_WAIT / 2 - 0.1) == DeliverySummary(stopped="waiting")
    assert clinic.deliver_later(0.1) == DeliverySummary(delivered=1)
    assert clinic.calls() == ["/?_format=json"] * 2


def test_after_days_without_the_bus_everything_is_delivered_in_order(clinic: Clinic) -> None:
    clinic.deliver()
    clinic.server.stop()
    made = []
    for _ in range(4):
        made.append(clinic.register())
        assert clinic.deliver_later(86400) == DeliverySummary(stopped="waiting")
    assert clinic.shown().reason == "cannot connect"
    assert not any(row.uncertain for row in clinic.rows())
    clinic.server.start()
    assert clinic.deliver_later(86400) == DeliverySummary(delivered=4)
    assert numbers(clinic.bus.tasks()) == [order.accession_number for order in made]
    assert clinic.calls() == ["/?_format=json"] * 4


def test_a_refused_token_pauses_until_a_person_resumes(clinic: Clinic) -> None:
    clinic.register()
    clinic.token = "wrong"
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    shown = clinic.shown()
    assert (shown.channel, shown.reason) == ("paused", "token refused (HTTP 401)")
    assert clinic.rows()[0].uncertain is False
    clinic.token = PRACTICE_TOKEN
    assert clinic.deliver_later(60) == DeliverySummary(stopped="waiting")
    clinic.store.write(delivery.resume_exchange, ADMINISTRATOR)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.shown().channel == "ok"


def test_a_refused_token_is_tried_again_by_itself_after_a_while(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("401")
    clinic.deliver()
    assert clinic.deliver_later(PAUSE - 1) == DeliverySummary(stopped="waiting")
    assert clinic.deliver_later(1) == DeliverySummary(delivered=1)


def test_a_person_need_not_wait_for_a_back_off_to_end(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("503")
    clinic.deliver()
    clinic.store.write(delivery.resume_exchange, ADMINISTRATOR)
    assert clinic.deliver() == DeliverySummary(delivered=1)


def test_a_portals_page_is_a_failure_of_unknown_outcome(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.bus.fail_next("html")
    assert clinic.deliver() == DeliverySummary(stopped="waiting")
    [row] = clinic.rows()
    assert (row.state, row.uncertain) == (OutboxState.PENDING, True)
    assert row.reason == "not a FHIR answer: no JSON"
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.calls() == ["/?_format=json", "/Task/_search?_format=json", "/?_format=json"]
    assert numbers(clinic.bus.tasks()) == [order.accession_number]


# ---- once ----


def test_an_order_whose_answer_was_lost_is_looked_up_and_not_sent_twice(clinic: Clinic) -> None:
    order = clinic.register()
    assert clinic.deliver_and_lose_the_answer() == DeliverySummary(stopped="waiting")
    assert (clinic.rows()[0].uncertain, clinic.shown().reason) == (True, "time-out")
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.calls() == ["/?_format=json", "/Task/_search?_format=json"]
    [task] = clinic.bus.tasks()
    assert clinic.references(order).acsn == "ODII0000000001"
    assert clinic.references(order).task == task["id"]
    assert clinic.references(order).patient == task["for"]["reference"].removeprefix("Patient/")


def test_a_connection_that_broke_before_the_bus_took_it_leads_to_a_look_up_and_a_second_try(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("drop")
    clinic.deliver()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.calls() == ["/?_format=json", "/Task/_search?_format=json", "/?_format=json"]
    assert len(clinic.bus.tasks()) == 1


def test_images_whose_answer_was_lost_are_looked_up(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.perform(order)
    clinic.deliver_and_lose_the_answer()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 2
    assert clinic.references(order).extra["images_task"] == clinic.bus.tasks()[1]["id"]
    assert clinic.references(order).extra["images_report"] == clinic.bus.resources("DiagnosticReport")[0]["id"]


def test_images_that_are_sent_again_are_the_same_bytes(clinic: Clinic) -> None:
    order = clinic.register()
    clinic.perform(order)
    clinic.deliver()
    again = clinic.register()
    clinic.deliver()
    clinic.perform(again, "1.2.3.5")
    clinic.bus.fail_next("drop")
    clinic.deliver()
    clinic.store.clock = Clock(NOW + timedelta(hours=1))
    clinic.deliver_later()
    posted = [request.body for request in clinic.bus.requests if request.path == "/?_format=json"]
    assert posted[-1] == posted[-2] != posted[-3]


@pytest.mark.parametrize(("fault", "calls"), [("timeout-after-commit", 1), ("drop", 2)])
def test_a_cancellation_whose_answer_was_lost_asks_for_the_status_first(clinic: Clinic, fault: str, calls: int) -> None:
    order = clinic.register()
    clinic.deliver()
    clinic.cancel(order)
    clinic.deliver_and_lose_the_answer(fault)
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert clinic.calls()[2] == f"/Task/{clinic.bus.tasks()[0]['id']}"
    assert clinic.calls().count("/$updatestatus?_format=json") == calls
    assert clinic.bus.tasks()[0]["status"] == "cancelled"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["503", "drop", "401"])
def test_a_look_up_that_fails_leaves_the_outcome_unknown(clinic: Clinic, fault: str) -> None:
    clinic.register()
    clinic.deliver_and_lose_the_answer()
    clinic.bus.fail_next(fault, path="/Task/_search")
    clinic.deliver_later()
    assert clinic.rows()[0].uncertain is True
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 1


class Died(BaseException):
    """Stands for a process that was killed."""


@pytest.mark.parametrize("kind", ["order", "images", "cancel"])
def test_a_crash_between_the_post_and_noting_it_leaves_one_task(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    def die() -> NoReturn:
        raise Died

    order = clinic.register()
    if kind != "order":
        clinic.deliver()
        (clinic.perform if kind == "images" else clinic.cancel)(order)
    with monkeypatch.context() as patch:
        patch.setattr(BusClient, "call", dying.after_post(die))
        with pytest.raises(Died):
            clinic.deliver()
    assert (clinic.states()[-1], clinic.rows()[-1].uncertain) == ("pending", True)
    tasks = len(clinic.bus.tasks())
    clinic.restarted()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == tasks
    assert clinic.calls().count("/?_format=json") == tasks
    assert clinic.references(order).acsn == "ODII0000000001"


class Looking(BusClient):
    """A client that looks into the database while it sends."""

    look: Callable[[], object] = staticmethod(lambda: None)

    def call(self, call: Call) -> Answer:
        Looking.look()
        return super().call(call)


def test_that_it_may_be_sent_is_committed_before_and_no_transaction_is_open_meanwhile(clinic: Clinic) -> None:
    seen = []

    def look() -> None:
        seen.append(clinic.rows()[0].uncertain)
        clinic.store.write(lambda tx: tx.notify())

    clinic.register()
    Looking.look = look
    clinic.restarted(Looking)
    clinic.deliver()
    assert seen == [True]


def test_nothing_is_sent_when_that_cannot_be_noted(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("database or disk is full")

    clinic.register()
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "mark_uncertain", full)
        with pytest.raises(StoreError):
            clinic.deliver()
    assert clinic.calls() == []
    assert clinic.deliver() == DeliverySummary(delivered=1)


def _posted_before(clinic: Clinic, order: Order, mis: str = MIS) -> Resource:
    with clinic.store.read() as reader:
        known = orders.get(reader, order.id)
    assert known is not None
    return clinic.bus.transaction(n3(order_bundle(known, replace(PROFILE, mis_oid=mis))))


def test_an_order_that_the_bus_has_already_is_delivered_under_that_id(clinic: Clinic) -> None:
    order = clinic.register()
    _posted_before(clinic, order)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert [request.status for request in clinic.bus.requests] == [422, 200]
    [task] = clinic.bus.tasks()
    assert clinic.references(order).task == task["id"]
    assert clinic.references(order).acsn == "ODII0000000001"


def test_another_systems_order_with_the_same_number_is_not_taken_for_ours(clinic: Clinic) -> None:
    order = clinic.register()
    _posted_before(clinic, order, mis="1.2.643.2.69.1.2.901")
    clinic.bus.fail_next("drop", path="/")
    clinic.deliver()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)
    foreign, ours = clinic.bus.tasks()
    assert clinic.references(order).task == ours["id"] != foreign["id"]


def test_a_task_that_the_bus_wrongly_reports_as_ours_is_not_accepted(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = clinic.register()
    clinic.deliver()
    order = clinic.register()
    ask, task = BusClient.call, clinic.references(foreign).task
    wrong = Delivered(task=task)
    monkeypatch.setattr(BusClient, "call", lambda bus, call: ask(bus, call) if call.method == "GET" else wrong)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    assert clinic.rows(order)[0].reason.startswith("not a FHIR answer")
    assert clinic.references(order) == BusReferences()


# ---- answers that lack something ----


class Forgetful(BusClient):
    """A client of a bus that leaves the accession number out of its answers."""

    searches_too = False

    def call(self, call: Call) -> Answer:
        answer = super().call(call)
        return _without_number(answer) if Forgetful.searches_too or "_search" not in call.path else answer


def _without_number(answer: Answer) -> Answer:
    assert isinstance(answer, Delivered)
    text = json.dumps(answer.resource).replace("ACSN", "OTHER")
    return replace(answer, resource=json.loads(text))


def test_an_answer_without_the_accession_number_leads_to_a_look_up(clinic: Clinic) -> None:
    order = clinic.register()
    Forgetful.searches_too = False
    clinic.restarted(Forgetful)
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.references(order).acsn == "ODII0000000001"


def test_an_order_without_an_accession_number_is_not_accepted_and_not_sent_twice(clinic: Clinic) -> None:
    order = clinic.register()
    Forgetful.searches_too = True
    clinic.restarted(Forgetful)
    assert clinic.deliver() == DeliverySummary(needs_attention=1)
    [row] = clinic.rows()
    assert (row.reason, row.uncertain) == ("not a FHIR answer: acsn did not come back", True)
    assert clinic.references(order) == BusReferences()
    clinic.store.write(delivery.resend, order.id, ADMINISTRATOR)
    clinic.restarted()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert len(clinic.bus.tasks()) == 1
    assert clinic.calls().count("/?_format=json") == 1


def test_a_number_that_is_too_long_for_a_modality_is_stored_and_logged_as_an_error(
    open_clinic: Callable[[PracticeBus], Clinic], caplog: pytest.LogCaptureFixture
) -> None:
    clinic = open_clinic(practice_bus(lenient=True, accession_format="REGION-NUMBER-{:08d}"))
    order = clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    assert clinic.references(order).acsn == "REGION-NUMBER-00000001"
    [error] = [record for record in caplog.records if record.levelname == "ERROR"]
    assert order.accession_number in error.message
    assert "REGION-NUMBER-00000001 is too long" in error.message


# ---- one bad message, the rate, the end ----


class Stumbling(BusClient):
    """A client of a bus that fails at one order, whatever the others do."""

    number = ""

    def call(self, call: Call) -> Answer:
        if Stumbling.number in call.body.decode() and "_search" not in call.path:
            return Retry("HTTP 500")
        return super().call(call)


def test_an_order_at_which_the_bus_always_fails_does_not_keep_the_others_back(clinic: Clinic) -> None:
    bad = clinic.register()
    others = [clinic.register() for _ in range(3)]
    Stumbling.number = bad.accession_number
    clinic.restarted(Stumbling)
    for _ in range(MESSAGE_FAULT_AFTER):
        assert clinic.deliver_later() == DeliverySummary(stopped="waiting")
    assert clinic.deliver_later() == DeliverySummary(delivered=3)
    assert numbers(clinic.bus.tasks()) == [order.accession_number for order in others]
    assert clinic.shown().channel == "ok"
    clinic.register()
    assert clinic.deliver() == DeliverySummary(delivered=1)
    Stumbling.number = "none"
    assert clinic.deliver_later() == DeliverySummary(delivered=1)


def test_no_more_requests_go_out_in_a_minute_than_the_region_allows(clinic: Clinic) -> None:
    for _ in range(5):
        clinic.register()
    clinic.restarted(rate=4)  # half of it is left to what is fetched
    assert clinic.deliver() == DeliverySummary(delivered=2, stopped="rate")
    assert clinic.deliver_later(59) == DeliverySummary(stopped="rate")
    assert clinic.deliver_later(1) == DeliverySummary(delivered=2, stopped="rate")
    assert clinic.deliver_later(60) == DeliverySummary(delivered=1)


def test_a_look_up_and_its_post_stay_within_the_minute_together(clinic: Clinic) -> None:
    clinic.register()
    clinic.bus.fail_next("drop")
    clinic.deliver()
    clinic.register()
    clinic.restarted(rate=2)
    clinic.limiter.note_request()
    assert clinic.deliver() == DeliverySummary(stopped="rate")
    assert clinic.deliver_later(60) == DeliverySummary(delivered=1, stopped="rate")
    assert clinic.deliver_later(60) == DeliverySummary(delivered=1)


def test_an_uncertain_order_is_delivered_even_at_one_request_a_minute(clinic: Clinic) -> None:
    clinic.register()
    clinic.restarted(rate=1)
    clinic.bus.fail_next("drop")
    clinic.deliver()
    assert clinic.deliver_later() == DeliverySummary(delivered=1)


def test_a_second_run_at_the_same_time_goes_away(clinic: Clinic) -> None:
    met, go = threading.Event(), threading.Event()

    def look() -> None:
        met.set()
        assert go.wait(5)

    clinic.register()
    Looking.look = look
    clinic.restarted(Looking)
    first = threading.Thread(target=clinic.deliver)
    first.start()
    assert met.wait(5)
    assert clinic.deliver() == DeliverySummary(stopped="another run")
    go.set()
    first.join(5)
    assert clinic.states() == ["delivered"]
    assert len(clinic.calls()) == 1


def test_a_run_ends_after_the_message_it_is_at_when_the_program_stops(clinic: Clinic) -> None:
    clinic.register()
    clinic.register()
    Looking.look = lambda: clinic.delivery.stop()
    clinic.restarted(Looking)
    assert clinic.deliver() == DeliverySummary(delivered=1, stopped="stopping")
    assert clinic.deliver() == DeliverySummary(stopped="stopping")


def test_no_patient_is_named_in_the_log(clinic: Clinic, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    patient = replace(factory.KUZNETSOVA, name=PersonName("Щербатова", "Ульяна", "Ф"))
    order = clinic.register(patient=patient)
    clinic.bus.fail_next("503")
    clinic.deliver()
    clinic.deliver_later()
    assert order.accession_number in caplog.text
    for secret in ("Щербатова", "Ульяна", factory.KUZNETSOVA.snils, factory.KUZNETSOVA.policy, PRACTICE_TOKEN):
        assert secret not in caplog.text


# ---- the store's part ----


def test_heads_are_found_by_the_index_of_open_rows_however_many_were_delivered(clinic: Clinic) -> None:
    clinic.register()
    with clinic.store.read() as reader:
        heads = outbox.heads(reader)
        plan = reader.rows(
            "EXPLAIN QUERY PLAN SELECT * FROM outbox WHERE state = 'pending' AND seq IN"
            " (SELECT min(seq) FROM outbox WHERE state <> 'delivered' GROUP BY order_id) ORDER BY seq LIMIT 5"
        )
    assert [row.seq for row in heads] == [1]
    assert not any(step["detail"] == "SCAN outbox" for step in plan)
