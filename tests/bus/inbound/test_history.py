"""What the bus tells of a patient while the referral is typed: other clinics' studies, cached, with age and failure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound import history, search
from broker.bus.inbound.history import NO_NUMBER, History
from broker.bus.practice import PRACTICE_TOKEN, PracticeServer
from broker.bus.transport import session
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.patients.people import Patient, PersonName
from broker.domain.studies import prior_studies
from broker.store.database import Store
from broker.store.queries.patients import patient_history
from broker.workflow.referrals import referrals
from tests.bus import bundles, strangers
from tests.bus.samples import PROFILE
from tests.bus.strangers import STRANGER, tells
from tests.support import factory
from tests.support.clock import NOW, Clock
from tests.support.factory import CLINIC, KUZNETSOVA, REGISTRAR, draft, soon
from tests.support.practice import practice_bus
from tests.support.waiting import wait_for_result, wait_until


class Desk:
    """A clinic that asks a practice bus about its patients."""

    def __init__(self, store: Store, server: PracticeServer, clock: Clock) -> None:
        self.store, self.server, self.clock = store, server, clock
        self.bus = server.bus = practice_bus(lenient=True)
        self.token = PRACTICE_TOKEN
        self.client = BusClient(server.url, lambda: self.token, 5.0)
        self.limiter = RateLimiter(6000)
        self.history = self.opened()
        self.patient = self.typed()

    def opened(self, **options: Any) -> History:
        session = BusSession(self.store, self.client, self.limiter, SessionPriority.BACKGROUND)
        self.history = History(self.store, session, n3, PROFILE, **options)
        return self.history

    def typed(self, patient: Patient = KUZNETSOVA) -> Patient:
        return self.store.write(
            referrals.register, draft(patient=patient, start=soon(days=1)), REGISTRAR, CLINIC
        ).patient

    def reported(self) -> patient_history.ExternalHistory:
        with self.store.read() as reader:
            return patient_history.external(reader, self.patient.stored_id)

    def ask(self) -> patient_history.ExternalHistory:
        self.history.ask(self.patient.stored_id)
        return self.reported()

    def calls(self) -> list[str]:
        return [request.path.split("?")[0] for request in self.bus.requests]

    def audited(self) -> int:
        with self.store.read() as reader:
            return int(reader.value("SELECT count(*) FROM audit WHERE action = 'history'"))


@pytest.fixture
def desk(tmp_path: Path, server: PracticeServer, clock: Clock) -> Iterator[Desk]:
    store = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    opened = Desk(store, server, clock)
    yield opened
    opened.history.stop()
    opened.client.close()
    store.close()


def looked_through(desk: Desk, number: int) -> None:
    """Wait until whoever was wanted has been looked at: somebody without numbers comes last, and costs no call."""
    nameless = replace(KUZNETSOVA, name=PersonName("Последняя", "Я" * number), snils="", policy="")
    last = desk.typed(nameless).stored_id
    assert desk.history.request(last)

    def seen() -> bool:
        with desk.store.read() as reader:
            return patient_history.external(reader, last).reason == NO_NUMBER

    wait_until(seen, "the last one in the queue")


def test_a_study_of_another_clinic_is_shown_with_its_conclusion_and_dose(desk: Desk) -> None:
    tells(desk.bus, uid="1.2.643.9.9")
    [study] = desk.ask().studies
    assert (study.organisation, study.conclusion, study.effective_dose) == (STRANGER, "Пневмония справа", 3.1)
    assert (study.modality, study.studied_on) == ("CT", soon(days=-10).date())
    assert (study.study_instance_uid, study.accession_number) == ("1.2.643.9.9", "ODII0000000099")
    assert study.procedure_name == "КТ органов грудной клетки"
    assert desk.reported().answered_at is not None
    assert desk.reported().reason == ""
    assert desk.audited() == 1


def test_an_earlier_study_in_another_clinic_is_a_repetition(desk: Desk) -> None:
    tells(desk.bus, days_ago=20)
    [found] = prior_studies.repeated_studies("CT", "4", soon().date(), [], desk.ask().studies, {"CT": 30})
    assert (found.organisation, found.conclusion, found.effective_dose) == (STRANGER, "Пневмония справа", 3.1)
    assert not found.site_known
    assert prior_studies.dose_of_year(soon().date(), [], desk.reported().studies).millisieverts == 3.1


def test_a_patient_without_reports_has_a_complete_empty_answer(desk: Desk) -> None:
    tells(desk.bus, patient=strangers.person(replace(KUZNETSOVA, snils="08765430300", policy="")))
    assert desk.ask().studies == ()
    assert desk.reported().answered_at is not None


def test_only_the_number_of_the_right_kind_finds_a_person_and_only_who_may_be_the_same(desk: Desk) -> None:
    card = [bundles.own_id(KUZNETSOVA.snils)]  # somebody's card elsewhere bears the same digits
    tells(desk.bus, patient=strangers.person(identifier=card))
    other = replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, family="Совсемдругая"), birth_date=date(1990, 1, 1))
    tells(desk.bus, patient=strangers.person(other))
    assert desk.ask().studies == ()


def test_a_person_of_another_family_name_and_the_same_birth_date_has_married(desk: Desk) -> None:
    married = replace(KUZNETSOVA, name=replace(KUZNETSOVA.name, family="Замужняя"))
    tells(desk.bus, patient=strangers.person(married))
    assert len(desk.ask().studies) == 1


def test_a_person_is_found_by_policy_alone(desk: Desk) -> None:
    tells(desk.bus, patient=strangers.person(replace(KUZNETSOVA, snils="")))
    assert len(desk.ask().studies) == 1


def test_our_own_results_are_not_shown_as_external(desk: Desk) -> None:
    tells(desk.bus, owner=PROFILE.organisation)
    assert desk.ask().studies == ()


def test_without_numbers_the_bus_cannot_be_asked_and_that_is_noted_once(desk: Desk) -> None:
    desk.patient = desk.typed(replace(KUZNETSOVA, snils="", policy="", birth_date=date(1950, 5, 5)))
    received: list[int] = []
    desk.store.subscribe(lambda: received.append(1))
    assert desk.ask().reason == NO_NUMBER
    desk.ask()
    assert len(received) == 1
    assert desk.calls() == []


def test_a_fresh_answer_is_not_asked_for_again_and_an_old_one_is(desk: Desk) -> None:
    tells(desk.bus)
    assert desk.history.request(desk.patient.stored_id)
    wait_until(lambda: desk.reported().answered_at, "an answer")
    calls = len(desk.calls())
    desk.history.request(desk.patient.stored_id)
    looked_through(desk, 1)
    desk.clock.now = NOW + timedelta(hours=11)
    desk.history.request(desk.patient.stored_id)
    looked_through(desk, 2)
    assert len(desk.calls()) == calls
    before = desk.reported().answered_at
    desk.clock.now = NOW + timedelta(hours=13)
    desk.history.request(desk.patient.stored_id)
    wait_until(lambda: desk.reported().answered_at != before, "a newer answer")
    # What was read already and has not changed is not read again: two people, one list.
    assert len(desk.calls()) == calls + 3


def test_pages_learn_of_an_answer(desk: Desk) -> None:
    received: list[int] = []
    desk.store.subscribe(lambda: received.append(1))
    desk.history.request(desk.patient.stored_id)
    wait_until(lambda: received, "news of the answer")


def test_a_failure_is_noted_beside_the_older_answer_and_rests_a_while(desk: Desk) -> None:
    tells(desk.bus)
    answered_at = desk.ask().answered_at
    desk.clock.now = NOW + timedelta(hours=13)
    desk.bus.fail_next("503")
    reported = desk.ask()
    assert (reported.answered_at, reported.reason) == (answered_at, "HTTP 503")
    assert reported.failed_at is not None
    assert len(reported.studies) == 1
    calls = len(desk.calls())
    desk.history.request(desk.patient.stored_id)
    looked_through(desk, 1)
    assert len(desk.calls()) == calls
    desk.clock.advance(seconds=61)
    desk.history.request(desk.patient.stored_id)
    wait_until(lambda: not desk.reported().reason, "an answer without a failure")


@pytest.mark.parametrize(("fault", "reason"), [("401", "token refused"), ("html", "not a FHIR answer")])
def test_every_kind_of_bad_answer_is_a_failure_with_its_reason(desk: Desk, fault: str, reason: str) -> None:
    desk.bus.fail_next(fault)
    assert desk.ask().reason.startswith(reason)


@pytest.mark.slow
def test_a_silent_bus_is_abandoned_in_time_and_earlier_answers_stay(desk: Desk) -> None:
    tells(desk.bus)
    desk.opened(seconds=0.6)
    report = desk.bus.resources("Observation")[0]
    desk.bus.fail_next("timeout-after-commit", path=f"/Observation/{report['id']}")
    reported = wait_for_result(desk.ask, "the end of a question to a silent bus")
    assert reported.reason == f"1 of 1 reports not read: {session.OUT_OF_TIME}"
    assert reported.answered_at is None
    [study] = reported.studies  # clinic, date and kind were in the list already
    assert (study.organisation, study.modality, study.conclusion) == (STRANGER, "CT", "")
    desk.opened(seconds=60)  # however busy the machine is
    assert desk.ask().studies[0].conclusion == "Пневмония справа"


def test_a_question_costs_a_part_of_the_minute_and_the_next_one_goes_on(desk: Desk) -> None:
    for number in range(8):
        tells(desk.bus, conclusion=f"Заключение {number}", days_ago=number + 1)
    desk.limiter = RateLimiter(40)
    desk.opened(seconds=2.0)
    reported = desk.ask()
    assert len(desk.calls()) <= 20
    assert session.NO_ROOM in reported.reason
    assert len(reported.studies) == 8
    read = [study.conclusion for study in reported.studies if study.conclusion]
    assert read == [f"Заключение {number}" for number in range(len(read))]  # the newest first
    desk.limiter = RateLimiter(6000)
    desk.opened()
    assert all(study.conclusion for study in desk.ask().studies)


def test_no_call_is_made_while_the_connection_is_down(desk: Desk) -> None:
    desk.limiter.pause()
    assert desk.ask().reason == "the connection to the bus is down"
    assert desk.calls() == []


def test_only_the_newest_reports_are_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_REPORTS", 2)
    for number in range(4):
        tells(desk.bus, days_ago=number)
    assert [study.studied_on for study in desk.ask().studies] == [soon(days=-day).date() for day in (0, 1)]


def test_a_list_of_several_pages_is_read_to_its_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    for number in range(5):
        tells(desk.bus, days_ago=number)
    assert len(desk.ask().studies) == 5


def test_more_patients_than_can_wait_are_left_out(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MAX_WAITING", 1)
    desk.opened(seconds=2.0)
    desk.bus.fail_next("slow")
    queued = [desk.history.request(number) for number in (desk.patient.stored_id, 10_001, 10_002, 10_003)]
    assert queued[0]
    assert not all(queued)


def test_stopping_ends_the_question_and_takes_no_more(desk: Desk) -> None:
    desk.bus.fail_next("timeout-after-commit")
    desk.history.request(desk.patient.stored_id)
    wait_until(lambda: desk.bus.requests, "a question")
    wait_for_result(desk.history.stop, "the end of the question")
    assert not desk.history.request(desk.patient.stored_id)


def original_of(desk: Desk) -> Resource:
    """Return the Task of an order of the third clinic, whose patient is ours."""
    return bundles.part(desk.bus.transaction(bundles.order()), "Task")


def test_images_are_not_read_where_the_report_is_there(desk: Desk) -> None:
    original = original_of(desk)
    for status in ("partial", "final"):
        tells(desk.bus, of=original, status=status, uid="1.2.643.5", patient=strangers.person())
    reads = len(desk.calls())
    assert [study.status for study in desk.ask().studies] == ["final"]
    reports = [call for call in desk.calls()[reads:] if call.startswith(("/Observation", "/ImagingStudy"))]
    assert len(reports) == len(set(reports)) == 3  # the conclusion, the dose and the images of one


def test_images_whose_report_is_not_there_are_shown(desk: Desk) -> None:
    tells(desk.bus, of=original_of(desk), status="partial", patient=strangers.person())
    assert [study.status for study in desk.ask().studies] == ["partial"]
