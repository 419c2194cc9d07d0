"""The region is asked who somebody is: in the background, once, within the rate, audited, and not believed blindly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from broker.bus.inbound.patient_lookup import FRESH, RETRY_AFTER, PatientLookup
from broker.bus.practice import PRACTICE_TOKEN, PracticeServer
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Forbidden
from broker.domain.patients.people import PersonName
from broker.domain.patients.region_people import RegionAnswer, RegionQuestion
from broker.store.database import Store, StoreError
from broker.workflow.patients import region_people
from tests.bus.clinic import practising
from tests.bus.strangers import person, tells
from tests.bus.wire import Connect, Serve, answering
from tests.support.factory import KUZNETSOVA, REGISTRAR
from tests.support.practice import practice_bus
from tests.support.waiting import wait_until

BY_NUMBER = RegionQuestion(snils="11223344595")
BY_NAME = RegionQuestion(name=KUZNETSOVA.name, birth_date=KUZNETSOVA.birth_date)


@pytest.fixture
def practice() -> Iterator[PracticeServer]:
    with practising(practice_bus(lenient=True)) as running:
        yield running


class Desk:
    """A lookup before a practice bus, by a clock that is moved by hand."""

    def __init__(self, store: Store, practice: PracticeServer, rate: int = 6000) -> None:
        self.store, self.bus, self.now = store, practice.bus, 1000.0
        self.client = BusClient(practice.url, lambda: PRACTICE_TOKEN, 5.0)
        self.limiter = RateLimiter(rate, monotonic=lambda: self.now)
        session = BusSession(store, self.client, self.limiter, SessionPriority.BACKGROUND)
        self.lookup = PatientLookup(store, session, n3)

    def close(self) -> None:
        self.lookup.stop()
        self.client.close()

    def ask(self, question: RegionQuestion, actor: Actor = REGISTRAR) -> RegionAnswer:
        return self.lookup.look_up(question, actor)

    def searches(self) -> int:
        return sum(each.path.startswith("/Patient/_search") for each in self.bus.requests)

    def audited(self) -> list[dict[str, Any]]:
        with self.store.read() as reader:
            rows = reader.rows("SELECT actor, details FROM audit WHERE action = 'region_ask' ORDER BY seq")
        return [{"actor": row["actor"], **json.loads(row["details"])} for row in rows]


@pytest.fixture
def desk(store: Store, practice: PracticeServer) -> Iterator[Desk]:
    opened = Desk(store, practice)
    yield opened
    opened.close()


def know(desk: Desk, **changes: Any) -> None:
    """Let another clinic make a record of a patient."""
    patient = replace(KUZNETSOVA, **{key: changes.pop(key) for key in tuple(changes) if hasattr(KUZNETSOVA, key)})
    tells(desk.bus, patient=person(patient, **changes))


@pytest.mark.parametrize("question", [BY_NUMBER, BY_NAME, RegionQuestion(policy="7800000012345671")])
def test_a_number_or_a_name_with_a_date_finds_what_the_region_knows(desk: Desk, question: RegionQuestion) -> None:
    know(desk)
    know(desk, name=PersonName("Попова", "Анна"), snils="08765430300", policy="", birth_date=date(1980, 1, 1))
    [found] = desk.ask(question).people
    assert found.patient == replace(KUZNETSOVA, id=None)
    assert desk.searches() == 1


def test_namesakes_are_all_there(desk: Desk) -> None:
    know(desk)
    know(desk, snils="08765430300", policy="")
    assert {each.patient.snils for each in desk.ask(BY_NAME).people} == {"11223344595", "08765430300"}


def test_records_that_are_not_in_use_are_marked_and_former_numbers_lead_to_nobody(desk: Desk) -> None:
    know(desk, deceasedBoolean=True)
    assert [each.standing for each in desk.ask(BY_NUMBER).people] == ["deceased"]
    old = person(replace(KUZNETSOVA, snils="08765430300", policy=""))
    old["identifier"][1]["use"] = "old"
    tells(desk.bus, patient=old)
    assert desk.ask(RegionQuestion(snils="08765430300")).people == ()


def test_every_question_is_in_the_trail_before_it_is_asked(desk: Desk) -> None:
    desk.ask(BY_NUMBER)
    desk.ask(BY_NAME)
    assert desk.audited() == [
        {"actor": "orlova", "snils": "11223344595"},
        {"actor": "orlova", "name": "Кузнецова Марина Петровна", "birth_date": "1961-03-12"},
    ]
    doctor = Actor(ActorKind.PERSON, "lvova", "Львова А. С.", frozenset({Role.RADIOLOGIST}))
    with pytest.raises(Forbidden):
        desk.ask(BY_NUMBER, doctor)
    assert desk.searches() == 2


def test_a_page_asks_and_goes_on_and_reads_the_answer_when_it_is_there(desk: Desk) -> None:
    know(desk)
    notified: list[int] = []
    desk.store.subscribe(lambda: notified.append(1))
    assert desk.lookup.ask(BY_NUMBER, REGISTRAR) is None
    assert wait_until(lambda: desk.lookup.ask(BY_NUMBER, REGISTRAR))
    assert wait_until(lambda: notified)
    desk.now += FRESH - 1
    assert desk.lookup.ask(BY_NUMBER, REGISTRAR) is not None
    assert desk.searches() == 1
    colleague = replace(REGISTRAR, name="belova")  # whoever reads an answer has asked for it, and the trail says so
    assert desk.lookup.ask(BY_NUMBER, colleague) is None
    assert wait_until(lambda: desk.lookup.ask(BY_NUMBER, colleague))
    assert [each["actor"] for each in desk.audited()] == ["orlova", "belova"]


def test_a_bus_that_does_not_answer_is_left_alone_for_a_while(desk: Desk) -> None:
    desk.bus.fail_next("503")
    desk.lookup.ask(BY_NUMBER, REGISTRAR)
    assert wait_until(lambda: desk.lookup.ask(BY_NUMBER, REGISTRAR)) == RegionAnswer(failed=True)
    desk.now += RETRY_AFTER - 1
    assert desk.lookup.ask(BY_NUMBER, REGISTRAR) == RegionAnswer(failed=True)
    desk.now += 2
    assert desk.lookup.ask(BY_NUMBER, REGISTRAR) is None


def test_a_bus_that_refuses_the_search_by_name_is_asked_by_numbers_from_then_on(
    store: Store, serve: Serve, connect: Connect
) -> None:
    issue = {"severity": "error", "code": "not-supported", "diagnostics": "Неизвестный параметр поиска family"}
    refusal = answering("422 Unprocessable Entity", {"resourceType": "OperationOutcome", "issue": [issue]})
    session = BusSession(store, connect(serve(refusal)), RateLimiter(6000), SessionPriority.BACKGROUND)
    lookup = PatientLookup(store, session, n3)
    assert lookup.look_up(BY_NUMBER, REGISTRAR).failed
    assert lookup.by_name
    assert lookup.look_up(BY_NAME, REGISTRAR).failed
    assert not lookup.by_name


def test_while_the_connection_is_down_nothing_is_sent(desk: Desk) -> None:
    desk.limiter.pause()
    assert desk.ask(BY_NUMBER).failed
    assert desk.searches() == 0


def test_a_disk_that_is_full_when_an_answer_comes_ends_no_further_question(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    know(desk)
    write = desk.store.write
    failures: list[object] = []

    def failing(use_case: Any, *args: Any, **kwargs: Any) -> Any:
        if use_case is region_people.note_answer and not failures:
            failures.append(use_case)
            raise StoreError("the disk is full")
        return write(use_case, *args, **kwargs)

    monkeypatch.setattr(desk.store, "write", failing)
    for question in (BY_NUMBER, BY_NAME):
        desk.lookup.ask(question, REGISTRAR)
        wait_until(lambda asked=question: desk.lookup.ask(asked, REGISTRAR) is not None, "an answer")  # type: ignore[misc]
    assert failures
