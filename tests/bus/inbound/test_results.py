"""Results of other clinics for our referrals: taken once, in any order, never back, and nothing hostile stops them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound import results, results_plan, search
from broker.bus.inbound.parse_report import external_study
from broker.bus.inbound.results import ResultPoll, ResultPollSummary
from broker.bus.outbound.delivery import Delivery
from broker.bus.practice import PRACTICE_TOKEN, PracticeServer
from broker.bus.transport import session
from broker.bus.transport.answers import TOO_MANY, Answer, Delivered, Rejected, Retry
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, Dialect, n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.errors import Invalid, Stale
from broker.domain.incoming import ArrivalKind, ArrivalRecord, ArrivalState
from broker.domain.orders import Order, OrderState, StepState
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.reading.reports import ExternalStudy
from broker.store.database import Store
from broker.store.queries import inbox
from broker.store.tables import bus_channel, incoming, orders, outbox
from broker.store.tables.studies import external_studies
from broker.workflow import patient_correction
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import external_results
from tests.bus import strangers
from tests.bus.bundles import SNILS
from tests.bus.live_clients import CLIENTS, entries, with_lists_as_objects
from tests.bus.samples import PROFILE
from tests.bus.strangers import STRANGER, tells
from tests.support import factory
from tests.support.clock import NOW, Clock
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft, soon
from tests.support.practice import practice_bus

THIRD = "0e0e0e0e-0000-4000-8000-000000000003"
COMPLETED, TAKEN, NOTHING = ResultPollSummary(completed=1), ResultPollSummary(taken=1), ResultPollSummary()


class Clinic:
    """A clinic that has referred a patient to the stranger, and looks what comes of it."""

    def __init__(self, store: Store, server: PracticeServer, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.bus = server.bus = practice_bus(lenient=True, clinics={"third": THIRD})
        self.client = BusClient(server.url, lambda: PRACTICE_TOKEN, 5.0)
        self.limiter = RateLimiter(6000)
        self.exchange = Delivery(store, self.session(SessionPriority.DELIVERY), PROFILE, lambda signed: b"%PDF-1.4")
        self.result_poll = ResultPoll(store, self.session(SessionPriority.BACKGROUND), n3, PROFILE)

    def session(self, priority: SessionPriority) -> BusSession:
        return BusSession(self.store, self.client, self.limiter, priority)

    def refer(self, **changes: Any) -> Order:
        """Register a referral and let the bus have it; to the stranger unless another `owner` is given."""
        given = {"owner": STRANGER, "start": soon(days=1)} | changes
        if given["owner"]:
            given["station_ae_titles"] = ()
        order = self.store.write(referrals.register, draft(**given), REGISTRAR, CLINIC)
        self.exchange.deliver()
        return order

    def task(self, order: Order) -> Resource:
        """Return the Task that the bus made of an order."""
        with self.store.read() as reader:
            id = outbox.references(reader, order.id).task
        return next(task for task in self.bus.tasks() if task["id"] == id)

    def answer(self, order: Order, **stated: Any) -> Resource:
        return tells(self.bus, of=self.task(order), **stated)

    def poll(self) -> ResultPollSummary:
        return self.result_poll.run()

    def now(self, order: Order) -> Order:
        with self.store.read() as reader:
            found = orders.get(reader, order.id)
        assert found is not None
        return found

    def results(self, order: Order) -> list[ExternalStudy]:
        with self.store.read() as reader:
            return external_studies.of_order(reader, order.id)

    def ledger(self) -> list[ArrivalRecord]:
        with self.store.read() as reader:
            return [item for item in inbox.ledger(reader) if item.kind is ArrivalKind.RESULT]

    def audited(self, order: Order) -> int:
        with self.store.read() as reader:
            sql = "SELECT count(*) FROM audit WHERE action = 'result' AND order_id = ?"
            return int(reader.value(sql, [order.id]))


def few_ids(most: int) -> Dialect:
    """Return a dialect whose searches take no more ids."""
    dialect = copy(n3)
    dialect.ids_in_search = most
    return dialect


@pytest.fixture
def clinic(tmp_path: Path, server: PracticeServer, clock: Clock) -> Iterator[Clinic]:
    store = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    opened = Clinic(store, server, clock)
    yield opened
    opened.client.close()
    store.close()


def test_a_result_completes_the_referral_that_waited_for_it(clinic: Clinic) -> None:
    order = clinic.refer()
    assert order.state is OrderState.REFERRED
    clinic.answer(order, days_ago=0)
    received: list[int] = []
    clinic.store.subscribe(lambda: received.append(1))
    assert clinic.poll() == COMPLETED
    after = clinic.now(order)
    assert after.state is OrderState.COMPLETED
    assert [step.state for step in after.steps] == [StepState.COMPLETED]
    [study] = clinic.results(order)
    assert (study.conclusion, study.effective_dose, study.organisation) == ("Пневмония справа", 3.1, STRANGER)
    [item] = clinic.ledger()
    assert (item.state, item.order_id, item.attempts) == (ArrivalState.TAKEN, order.id, 1)
    assert received


def test_the_ledger_keeps_the_exact_json_of_what_came(clinic: Clinic) -> None:
    clinic.answer(clinic.refer())
    clinic.poll()
    with clinic.store.read() as reader:
        reported = inbox.item_json(reader, clinic.ledger()[0].id)
    assert '"DiagnosticReport"' in reported
    assert "Пневмония справа" in reported


def test_the_same_result_is_taken_once_however_often_it_is_met(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order)
    assert clinic.poll() == COMPLETED
    calls = len(clinic.bus.requests)
    assert clinic.poll() == NOTHING
    assert len(clinic.bus.requests) == calls + 2  # the two searches, nothing is read again
    assert clinic.audited(order) == 1
    assert clinic.ledger()[0].attempts == 1


def test_images_are_shown_while_the_referral_still_waits_for_the_report(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order, status="partial", uid="1.2.643.5")
    assert clinic.poll() == TAKEN
    assert clinic.now(order).state is OrderState.REFERRED
    assert [study.status for study in clinic.results(order)] == ["partial"]
    clinic.answer(order, uid="1.2.643.5")
    assert clinic.poll() == COMPLETED
    assert [study.status for study in clinic.results(order)] == ["final"]


def test_a_partial_report_after_the_finished_one_takes_nothing_back(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order, uid="1.2.643.5")
    clinic.poll()
    clinic.answer(order, status="partial", uid="1.2.643.5")
    clinic.poll()
    assert clinic.now(order).state is OrderState.COMPLETED
    assert [study.conclusion for study in clinic.results(order)] == ["Пневмония справа"]


def test_a_report_that_was_amended_later_replaces_the_first(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order, uid="1.2.643.5")
    clinic.poll()
    clinic.answer(order, uid="1.2.643.5", status="appended", conclusion="Пневмония слева")
    assert clinic.poll() == ResultPollSummary(needs_attention=1)  # who has read the first one must read this, too
    assert [study.conclusion for study in clinic.results(order)] == ["Пневмония слева"]
    assert clinic.now(order).state is OrderState.COMPLETED
    assert clinic.audited(order) == 2


def test_a_second_opinion_of_a_third_clinic_stands_beside_the_first(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order, uid="1.2.643.5")
    clinic.answer(order, uid="1.2.643.5", owner=THIRD, conclusion="Без патологии")
    assert clinic.poll() == ResultPollSummary(completed=1, taken=1)
    assert {study.conclusion for study in clinic.results(order)} == {"Пневмония справа", "Без патологии"}


def test_a_result_for_an_order_of_our_own_is_kept_and_leaves_it_as_it_is(clinic: Clinic) -> None:
    order = clinic.refer(owner=None, station_ae_titles=("XRAY_14",))
    clinic.answer(order)
    assert clinic.poll() == TAKEN
    assert clinic.now(order).state is OrderState.SCHEDULED
    assert clinic.results(order)


def test_a_result_for_a_cancelled_referral_is_kept(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order)
    clinic.store.write(referrals.cancel, order.id, order.revision, "передумал", REGISTRAR, CLINIC)
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    assert clinic.now(order).state is OrderState.CANCELLED
    assert clinic.results(order)
    assert clinic.poll() == NOTHING


def test_a_result_that_crosses_a_referral_placed_anew_is_an_alarm_and_is_not_joined_to_the_new_one(
    clinic: Clinic,
) -> None:
    order = clinic.refer()
    placed = clinic.store.write(referrals.reissue, order.id, order.revision, REGISTRAR, CLINIC)
    clinic.answer(order)
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    assert clinic.now(order).state is OrderState.CANCELLED
    assert clinic.now(placed).state is OrderState.REFERRED
    assert (len(clinic.results(order)), clinic.results(placed)) == (1, [])
    with clinic.store.read() as reader:
        [late] = inbox.too_late(reader)
    assert (late.accession_number, late.replaced_by) == (order.accession_number, placed.accession_number)
    clinic.poll()  # what is known does not take the alarm away, nor raise it again
    assert [(item.state, item.reason) for item in clinic.ledger()] == [
        (ArrivalState.NEEDS_ATTENTION, "it answers a referral that was cancelled here")
    ]
    assert clinic.store.write(incoming_referrals.acknowledge, late.item_id, late.version, REGISTRAR)
    with clinic.store.read() as reader:
        assert inbox.too_late(reader) == []
    clinic.poll()
    with clinic.store.read() as reader:
        assert inbox.too_late(reader) == []
    clinic.exchange.deliver()
    clinic.answer(placed)
    assert clinic.poll() == COMPLETED


def test_a_result_that_was_set_aside_is_on_the_board_and_read_again_after_the_card_is_corrected(
    clinic: Clinic,
) -> None:
    order = clinic.refer(patient=replace(KUZNETSOVA, birth_date=date(1961, 12, 3), policy=""))
    clinic.answer(order, patient=strangers.person(replace(KUZNETSOVA, snils="", policy="")))
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    with clinic.store.read() as reader:
        [waiting] = inbox.too_late(reader)
    assert (waiting.kind, waiting.reason) == (ArrivalKind.RESULT, "it is about another patient: birth_date")
    assert not clinic.store.write(incoming_referrals.acknowledge, waiting.item_id, waiting.version, REGISTRAR)
    clinic.store.write(lambda tx: tx.run("UPDATE patient SET birth_date = '1961-03-12'"))
    assert clinic.store.write(incoming_referrals.retry, waiting.item_id, REGISTRAR)
    assert clinic.poll() == COMPLETED
    with clinic.store.read() as reader:
        assert inbox.too_late(reader) == []


def test_a_result_that_is_not_ours_is_dismissed_by_a_person_and_joined_to_nothing(clinic: Clinic) -> None:
    order = clinic.refer()
    clinic.answer(order, patient=strangers.person(replace(KUZNETSOVA, snils="08765430300", policy="")))
    clinic.poll()
    with clinic.store.read() as reader:
        [waiting] = inbox.too_late(reader)
    assert clinic.store.write(incoming_referrals.dismiss_result, waiting.item_id, REGISTRAR)
    assert not clinic.store.write(incoming_referrals.dismiss_result, waiting.item_id, REGISTRAR)
    assert clinic.poll() == NOTHING
    assert (clinic.results(order), clinic.now(order).state) == ([], OrderState.REFERRED)
    with clinic.store.read() as reader:
        assert inbox.too_late(reader) == []


def test_our_own_results_and_those_for_others_are_none_of_this(clinic: Clinic) -> None:
    order = clinic.refer(owner=None, station_ae_titles=("XRAY_14",))
    clinic.answer(order, owner=PROFILE.organisation)
    tells(clinic.bus)
    assert clinic.poll() == NOTHING
    assert clinic.ledger() == []


@pytest.mark.parametrize(
    ("other", "fields"),
    [
        (Patient(PersonName("Совсемдругая", "Ольга"), date(1990, 1, 1), Sex.FEMALE), "given, birth_date"),
        (replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, given="Марианна"), snils="08765430300"), "snils, given"),
        (replace(KUZNETSOVA, snils="08765430300"), "snils"),
        (replace(KUZNETSOVA, birth_date=date(1961, 12, 3), snils="", policy=""), "birth_date"),
        (replace(KUZNETSOVA, sex=Sex.MALE, snils=""), "sex"),
    ],
)
def test_a_result_about_another_person_is_marked_for_attention_and_the_others_are_taken(
    clinic: Clinic, other: Patient, fields: str
) -> None:
    wrong, right = clinic.refer(), clinic.refer()
    clinic.answer(wrong, patient=strangers.person(other))
    clinic.answer(right)
    assert clinic.poll() == ResultPollSummary(completed=1, needs_attention=1)
    assert clinic.now(wrong).state is OrderState.REFERRED
    [aside] = [item for item in clinic.ledger() if item.state is ArrivalState.NEEDS_ATTENTION]
    assert (aside.order_id, aside.reason) == (wrong.id, f"it is about another patient: {fields}")
    assert clinic.poll() == NOTHING  # not again and again


OLGA = strangers.person(Patient(PersonName("Совсемдругая", "Ольга"), date(1990, 1, 1), Sex.FEMALE, snils="08765430300"))
ANOTHER_PATIENT = "it is about another patient"
NOBODY = "it does not say about whom it is"


def by_snils(number: str) -> Resource:
    return {"identifier": {"system": SNILS, "value": number}, "display": "Кузнецова М. В."}


def say_about(clinic: Clinic, order: Order, about: Resource | None, *contained: Resource) -> None:
    """Let a result say about whom it is, in the report and in the Task."""
    task = clinic.answer(order)
    held = clinic.bus._service._records._resources
    for name, place in ((task["focus"]["reference"], "subject"), (f"Task/{task['id']}", "for")):
        del held[name][place]  # in place: the searches hold the same object
        if about is not None:
            held[name][place] = about
        if contained:
            held[name]["contained"] = list(contained)


@pytest.mark.parametrize(
    ("about", "contained", "reason"),
    [
        ({"reference": "#p"}, [OLGA | {"id": "p"}], ANOTHER_PATIENT),
        ({"reference": "#p"}, [], "a reference leads to nothing that it contains"),
        ({"reference": "#p"}, [{"resourceType": "Patient", "id": "p"}], NOBODY),
        ({"reference": "#p"}, [{"resourceType": "Group", "id": "p"}], "a reference leads to nothing"),
        (by_snils("08765430300"), [], ANOTHER_PATIENT),
        (by_snils("00000000000"), [], NOBODY),
        ({"display": "Кузнецова Мария"}, [], NOBODY),
        (None, [], NOBODY),
        ({"reference": "urn:uuid:00000000-0000-4000-8000-000000000001"}, [], "a reference leads away from the bus"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_result_that_does_not_say_that_it_is_about_our_patient_waits_for_a_person(
    clinic: Clinic, about: Resource | None, contained: list[Resource], reason: str
) -> None:
    order = clinic.refer()
    say_about(clinic, order, about, *contained)
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    assert clinic.now(order).state is OrderState.REFERRED
    assert clinic.results(order) == []
    [item] = clinic.ledger()
    assert (item.order_id, item.reason.startswith(reason), item.kept) == (order.id, True, True)


@pytest.mark.parametrize(
    ("about", "contained"),
    [
        ({"reference": "#p"}, [strangers.person(KUZNETSOVA) | {"id": "p"}]),
        (by_snils(KUZNETSOVA.snils), []),
    ],
    ids=["contained", "by number"],  # the numbers of a person who is made here differ from process to process
)
def test_a_result_that_describes_our_patient_without_our_reference_is_taken(
    clinic: Clinic, about: Resource, contained: list[Resource]
) -> None:
    order = clinic.refer()
    say_about(clinic, order, about, *contained)
    assert clinic.poll() == COMPLETED


@pytest.mark.parametrize("host", ["", "https://elsewhere.example/fhir", "http://bus-internal:8080/fhir"])
def test_a_patient_is_known_by_an_id_that_is_one_in_the_world_whatever_host_precedes_it(
    clinic: Clinic, host: str
) -> None:
    order = clinic.refer()
    with clinic.store.read() as reader:
        patient = outbox.references(reader, order.id).patient
    say_about(clinic, order, {"reference": f"{host or clinic.client.url}/Patient/{patient}"})
    assert clinic.poll() == COMPLETED


def test_a_patient_of_another_host_with_a_number_of_that_host_is_not_ours(clinic: Clinic) -> None:
    say_about(clinic, clinic.refer(), {"reference": "https://elsewhere.example/fhir/Patient/17"})
    assert clinic.poll() == ResultPollSummary(needs_attention=1)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_result_of_a_live_client_is_taken_as_the_bus_has_it(
    clinic: Clinic, client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = clinic.refer()
    sent = CLIENTS[client](strangers.result(of=clinic.task(order)))
    for role in entries(sent, "PractitionerRole"):
        role["organization"] = {"reference": f"Organization/{STRANGER}"}
    clinic.bus.transaction(sent)
    real = clinic.client.call

    def as_written(call: Call) -> Answer:
        """Answer with what the client wrote: a live bus may give it back as it came."""
        answer = real(call)
        if isinstance(answer, Delivered) and client in ("S1", "S2"):
            listed = [each["resource"] for each in answer.resource.get("entry", [])] or [answer.resource]
            with_lists_as_objects({"entry": [{"resource": each} for each in listed]})
        return answer

    monkeypatch.setattr(clinic.client, "call", as_written)
    assert clinic.poll() == COMPLETED
    [study] = clinic.results(order)
    assert (study.organisation, study.modality) == (STRANGER, "CT")
    assert study.doctor == "Лучевая Вера Ильинична"
    assert study.conclusion == ("" if client == "S2" else "Пневмония справа")
    assert len(study.documents) == {"S1": 0, "S2": 1, "S3": 3}[client]


def test_an_identifier_beside_our_reference_is_compared_too(clinic: Clinic) -> None:
    order = clinic.refer()
    with clinic.store.read() as reader:
        patient = outbox.references(reader, order.id).patient
    say_about(clinic, order, {"reference": f"Patient/{patient}", **by_snils("08765430300")})
    assert clinic.poll() == ResultPollSummary(needs_attention=1)


def take(clinic: Clinic, item: ArrivalRecord, order: Order, *fields: str) -> None:
    seen = Confirmation(clinic.now(order).patient, fields)
    clinic.store.write(external_results.take_as_ours, item.id, item.version, REGISTRAR, seen)


def set_aside(clinic: Clinic) -> tuple[Order, ArrivalRecord]:
    """Let a result come whose patient is a sister of ours."""
    order = clinic.refer()
    sister = replace(
        KUZNETSOVA, name=replace(KUZNETSOVA.name, given="Мария"), birth_date=date(1960, 1, 2), snils="", policy=""
    )
    clinic.answer(order, patient=strangers.person(sister))
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    [item] = clinic.ledger()
    return order, item


def test_a_person_takes_a_result_that_was_set_aside_for_ours_after_seeing_what_contradicts(clinic: Clinic) -> None:
    order, item = set_aside(clinic)
    assert item.contradicts == ("given", "birth_date")
    assert item.about is not None
    assert (item.about.name.given, item.about.birth_date) == ("Мария", date(1960, 1, 2))
    with pytest.raises(Invalid) as caught:
        take(clinic, item, order, "given")
    assert caught.value.problems == {"birth_date": "contradicts"}
    take(clinic, item, order, "given", "birth_date")
    assert clinic.poll() == COMPLETED
    assert clinic.now(order).state is OrderState.COMPLETED
    assert len(clinic.results(order)) == 1
    with clinic.store.read() as reader:
        [said] = reader.rows("SELECT order_id, actor, details FROM audit WHERE action = 'result_confirmed'")
    assert (said["order_id"], said["actor"]) == (order.id, REGISTRAR.name)
    assert "Мария" in said["details"]
    with pytest.raises(Stale):
        take(clinic, item, order, "given", "birth_date")


def test_what_was_confirmed_is_of_the_patient_and_the_version_that_were_seen(clinic: Clinic) -> None:
    order, item = set_aside(clinic)
    seen = clinic.now(order).patient
    clinic.store.write(
        patient_correction.correct, replace(seen, birth_date=date(1962, 1, 1)), REGISTRAR, CLINIC, made_seen=()
    )
    with pytest.raises(Stale):
        clinic.store.write(
            external_results.take_as_ours,
            item.id,
            item.version,
            REGISTRAR,
            Confirmation(seen, ("given", "birth_date")),
        )
    with pytest.raises(Stale):
        clinic.store.write(
            external_results.take_as_ours,
            item.id,
            "older",
            REGISTRAR,
            Confirmation(clinic.now(order).patient, ("given", "birth_date")),
        )


def test_a_card_that_is_corrected_after_the_confirmation_sets_the_result_aside_again(clinic: Clinic) -> None:
    order, item = set_aside(clinic)
    take(clinic, item, order, "given", "birth_date")
    corrected = replace(clinic.now(order).patient, sex=Sex.MALE)
    clinic.store.write(patient_correction.correct, corrected, REGISTRAR, CLINIC, made_seen=())
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    assert clinic.ledger()[0].contradicts == ("given", "birth_date", "sex")
    assert clinic.results(order) == []


def test_a_line_that_breaks_does_not_forget_what_was_confirmed(clinic: Clinic) -> None:
    order, item = set_aside(clinic)
    take(clinic, item, order, "given", "birth_date")
    clinic.bus.fail_next("503", path=f"/{item.reference}")
    assert clinic.poll().failed == 1
    clinic.clock.advance(hours=1)
    assert clinic.poll() == COMPLETED


def test_what_cannot_be_read_is_marked_for_attention_until_a_person_wants_it_tried_again(clinic: Clinic) -> None:
    order = clinic.refer()
    report = clinic.answer(order)["focus"]["reference"]
    held = clinic.bus._service._records._resources
    hidden = held.pop(report)
    assert clinic.poll() == ResultPollSummary(needs_attention=1)
    [item] = clinic.ledger()
    assert item.state is ArrivalState.NEEDS_ATTENTION
    held[report] = hidden
    assert clinic.store.write(lambda tx: incoming.retry(tx, item.id))
    assert clinic.poll() == COMPLETED
    assert clinic.ledger()[0].state is ArrivalState.TAKEN


def test_what_the_line_breaks_holds_nothing_back_and_is_tried_again_later(clinic: Clinic) -> None:
    first, second = clinic.refer(), clinic.refer()
    task = clinic.answer(first)
    clinic.answer(second)
    clinic.bus.fail_next("503", path=f"/{task['focus']['reference']}")
    assert clinic.poll() == ResultPollSummary(completed=1, failed=1)
    assert clinic.now(second).state is OrderState.COMPLETED
    assert clinic.poll() == NOTHING
    [item] = [item for item in clinic.ledger() if item.state is ArrivalState.FAILED]
    assert (item.reason, item.attempts, item.order_id) == ("HTTP 503", 1, first.id)
    clinic.clock.now = NOW + timedelta(minutes=3)
    assert clinic.poll() == COMPLETED
    assert {item.state for item in clinic.ledger()} == {ArrivalState.TAKEN}


def test_a_result_at_which_the_bus_always_fails_is_marked_for_attention_in_the_end(clinic: Clinic) -> None:
    task = clinic.answer(clinic.refer())
    clinic.bus.fail_next("503", times=20, path=f"/{task['focus']['reference']}")
    polls = []
    for _ in range(results.MAX_ATTEMPTS + 2):
        polls.append(clinic.poll())
        clinic.clock.advance(hours=3)
    assert sum(poll.failed for poll in polls) == results.MAX_ATTEMPTS - 1
    assert sum(poll.needs_attention for poll in polls) == 1
    assert clinic.ledger()[0].state is ArrivalState.NEEDS_ATTENTION


def test_a_line_that_is_down_ends_the_look_and_nothing_is_lost(clinic: Clinic) -> None:
    placed = [clinic.refer() for _ in range(4)]
    for order in placed:
        report = clinic.answer(order)["focus"]["reference"]
        clinic.bus.fail_next("503", path=f"/{report}")
    polled = clinic.poll()
    assert (polled.completed, polled.failed, polled.stopped) == (0, 1, "HTTP 503")
    assert len(clinic.ledger()) == results.MAX_UNANSWERED
    for _ in range(4):
        clinic.clock.advance(hours=3)
        clinic.poll()
    assert all(clinic.now(order).state is OrderState.COMPLETED for order in placed)


def test_a_refused_token_ends_the_look_and_is_no_fault_of_a_result(clinic: Clinic) -> None:
    task = clinic.answer(clinic.refer())
    clinic.bus.fail_next("401", path=f"/{task['focus']['reference']}")
    assert clinic.poll().stopped.startswith("token refused")
    assert clinic.ledger() == []
    assert clinic.poll() == COMPLETED


def test_a_fault_of_our_own_in_one_result_keeps_no_other_from_being_taken(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong, right = clinic.refer(), clinic.refer()
    clinic.answer(wrong, conclusion="сломай")
    clinic.answer(right)
    reads = external_study

    def breaks(reported: Any, profile: Any) -> ExternalStudy:
        study = reads(reported, profile)
        if study.conclusion == "сломай":
            raise KeyError("a fault")
        return study

    monkeypatch.setattr(results, "external_study", breaks)
    assert clinic.poll() == ResultPollSummary(completed=1, needs_attention=1)
    assert clinic.now(right).state is OrderState.COMPLETED


@pytest.mark.parametrize("fault", ["duplicates", "out-of-order", pytest.param("slow", marks=pytest.mark.slow)])
def test_a_bus_that_answers_strangely_is_understood(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr(search, "PAGE", 3)
    order = clinic.refer()
    clinic.answer(order, uid="1.2.643.5")
    clinic.answer(order, uid="1.2.643.5", status="partial")
    clinic.bus.fail_next(fault, path="/Task/_search")
    assert clinic.poll().completed == 1
    clinic.poll()
    assert clinic.now(order).state is OrderState.COMPLETED
    assert [study.status for study in clinic.results(order)] == ["final"]
    assert len(clinic.ledger()) == 1  # the images are in the report


@pytest.mark.parametrize("fault", ["huge", "deep", "double-keys", "nul", "cp1251", "html", "redirect", "408", "429"])
def test_an_answer_that_is_none_ends_the_look_and_is_no_loss(clinic: Clinic, fault: str) -> None:
    order = clinic.refer()
    clinic.answer(order)
    clinic.bus.fail_next(fault, path="/Task/_search")
    clinic.poll()
    clinic.limiter.reset()
    clinic.poll()
    assert clinic.now(order).state is OrderState.COMPLETED


def test_the_cursor_moves_and_what_lies_before_its_overlap_is_not_asked_for(clinic: Clinic) -> None:
    clinic.answer(clinic.refer())
    clinic.poll()
    with clinic.store.read() as reader:
        cursor = datetime.fromisoformat(incoming.cursor(reader, results.CURSOR))
    assert cursor == max(datetime.fromisoformat(task["meta"]["lastUpdated"]) for task in clinic.bus.tasks())
    clinic.clock.now = NOW + timedelta(hours=1)
    clinic.poll()
    clinic.poll()
    wanted = f"ge{(cursor - results_plan.OVERLAP).isoformat()}"
    asked = [request.body.decode() for request in clinic.bus.requests[-2:]]
    assert all(wanted in body for body in asked), (wanted, asked)


def test_an_order_that_the_bus_took_late_is_asked_for_from_its_start(clinic: Clinic) -> None:
    clinic.answer(clinic.refer())
    clinic.poll()
    late = clinic.refer()
    clinic.answer(late)
    cursor = (NOW + timedelta(hours=5)).isoformat()  # others' results were newer
    clinic.store.write(lambda tx: incoming.set_cursor(tx, results.CURSOR, cursor))
    assert clinic.poll() == COMPLETED


@pytest.mark.slow
def test_hundreds_of_referrals_are_asked_for_in_lists_and_pages(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    clinic.result_poll = ResultPoll(clinic.store, clinic.session(SessionPriority.BACKGROUND), few_ids(3), PROFILE)
    monkeypatch.setattr(search, "PAGE", 2)
    placed = [clinic.refer() for _ in range(7)]
    for order in placed:
        clinic.answer(order)
        clinic.answer(order, status="partial")
    polled = clinic.poll()
    assert (polled.completed, polled.stopped) == (7, "")
    assert all(clinic.now(order).state is OrderState.COMPLETED for order in placed)


def test_a_wait_that_the_bus_asks_for_also_holds_for_sending(clinic: Clinic) -> None:
    clinic.bus.fail_next("429")
    clinic.poll()
    assert clinic.limiter.waiting
    clinic.refer()  # and delivers
    with clinic.store.read() as reader:
        assert bus_channel.state(reader) == "waiting"
    assert clinic.bus.tasks() == []


def test_a_429_that_names_no_time_ends_the_look_at_its_first_report_and_holds_for_sending(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = [clinic.refer() for _ in range(3)]
    for order in placed:
        clinic.answer(order)
    too_many, sent, real = Retry(TOO_MANY, uncertain=False), [], clinic.client.call

    def call(called: Call) -> Answer:
        sent.append(called.path)
        return too_many if called.path.startswith("/DiagnosticReport/") else real(called)

    with monkeypatch.context() as patch:
        patch.setattr(clinic.client, "call", call)
        assert clinic.poll() == ResultPollSummary(stopped=TOO_MANY)
    assert sum(path.startswith("/DiagnosticReport/") for path in sent) == 1
    assert clinic.ledger() == []  # none of them has failed
    assert clinic.limiter.held
    clinic.limiter.reset()
    assert clinic.poll().completed == 3


def test_a_search_that_the_bus_refuses_is_shown_to_people_until_it_works(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(clinic.client, "call", lambda call: Rejected("Пациент Ёлкина не найден"))
        assert clinic.poll().stopped
    [item] = clinic.ledger()
    assert (item.state, "Ёлкина" in item.reason, "Ёлкина" in caplog.text) == (ArrivalState.NEEDS_ATTENTION, True, False)
    clinic.poll()
    assert [item.state for item in clinic.ledger()] == [ArrivalState.TAKEN]


def test_no_more_is_asked_than_the_minute_allows(clinic: Clinic) -> None:
    clinic.answer(clinic.refer())
    clinic.limiter = RateLimiter(1)
    clinic.result_poll = ResultPoll(clinic.store, clinic.session(SessionPriority.BACKGROUND), n3, PROFILE)
    assert clinic.poll().stopped == session.NO_ROOM


def pretend(clinic: Clinic, monkeypatch: pytest.MonkeyPatch, *tasks: Any) -> None:
    """Let every search find these, and nothing else."""
    monkeypatch.setattr(
        clinic.result_poll._search, "pages", lambda *asked: [search.SearchPage(list(tasks), last=True, in_order=True)]
    )


@pytest.mark.parametrize("days", [400, -400])
def test_a_result_is_found_by_a_program_whose_clock_is_wrong_by_years(clinic: Clinic, days: int) -> None:
    order = clinic.refer()
    clinic.answer(order)
    clinic.store.write(lambda tx: tx.run("DELETE FROM bus_cursor"))
    clinic.clock.now += timedelta(days=days)
    clinic.poll()
    assert clinic.now(order).state is OrderState.COMPLETED
    with clinic.store.read() as reader:
        assert incoming.cursor(reader, results.CURSOR)


def test_an_instant_far_ahead_does_not_move_the_cursor(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    task = clinic.answer(clinic.refer())
    far = {"resourceType": "Task", "id": "x", "intent": "reflex-order", "meta": {"lastUpdated": "2999-01-01T00:00:00Z"}}
    pretend(clinic, monkeypatch, task, far)
    assert clinic.poll() == COMPLETED
    with clinic.store.read() as reader:
        assert "2000" < incoming.cursor(reader, results.CURSOR) < "2999"


def test_a_long_search_that_breaks_is_taken_up_where_it_broke(clinic: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 3)
    monkeypatch.setattr(results, "OVERLAP", timedelta())  # of the search by requester
    placed = [clinic.refer(owner=None, station_ae_titles=("XRAY_14",)) for _ in range(8)]
    for order in placed:
        clinic.answer(order)
    monkeypatch.setattr(search, "MAX_PAGES", 2)
    assert clinic.poll() == ResultPollSummary(taken=5, stopped="the bus returned only a part")
    assert clinic.poll() == ResultPollSummary(taken=3)


@pytest.mark.parametrize(
    "broken",
    [
        {"focus": None},
        {"focus": {"reference": "Binary/1"}},
        {"focus": {"reference": "http://evil.example.org/DiagnosticReport/1"}},
        {"focus": [1]},
    ],
)
def test_a_task_without_a_report_is_marked_for_attention(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch, broken: dict[str, Any]
) -> None:
    order = clinic.refer()
    pretend(clinic, monkeypatch, clinic.answer(order) | broken)
    assert clinic.poll().needs_attention == 1
    assert clinic.now(order).state is OrderState.REFERRED


@pytest.mark.parametrize(
    "nonsense",
    [{}, {"id": 5}, {"id": "../x"}, {"id": "x", "basedOn": 7, "intent": "reflex-order"}, {"id": "x", "owner": [[]]}],
)
def test_a_task_that_is_none_stops_nothing(clinic: Clinic, monkeypatch: pytest.MonkeyPatch, nonsense: Resource) -> None:
    pretend(clinic, monkeypatch, nonsense, clinic.answer(clinic.refer()))
    assert clinic.poll() == COMPLETED
