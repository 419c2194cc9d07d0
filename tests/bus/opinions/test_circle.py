"""Two clinics on one bus: the one asks about a study that is made, the other answers, and no worklist ever shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.inbound.results import ResultPoll
from broker.bus.outbound.delivery import Delivery
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN,
    PRACTICE_TOKEN_2,
    PracticeBus,
    PracticeServer,
)
from broker.bus.profile import Profile
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import DIALECTS
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.errors import Invalid, WrongState
from broker.domain.incoming import IncomingReferral
from broker.domain.opinions.requests import (
    OpinionPartner,
    OpinionRequest,
    OpinionRules,
    OpinionState,
    asked_about,
    request_text,
)
from broker.domain.orders import Order, Priority
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.queries import inbox
from broker.store.queries.opinions import opinion_lists
from broker.store.tables import orders
from broker.workflow.opinions import answering, asking
from broker.workflow.reading import reports
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import incoming_referrals, referrals
from broker.workflow.studies import performed_steps
from tests.bus.clinic import practising
from tests.bus.samples import PROFILE
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR, XRAY, draft, message, performed
from tests.support.practice import practice_bus

DOCTOR = Actor(ActorKind.PERSON, "volskaya", "Вольская Т. А.", frozenset({Role.RADIOLOGIST}))
CONSULTANT = Actor(ActorKind.PERSON, "somov", "Сомов В. Г.", frozenset({Role.RADIOLOGIST}))
OTHER_MIS = "1.2.643.2.69.1.2.901"
ALL_STATUSES = ("cancelled", "rejected", "in-progress")


class Side:
    """One clinic: its database and its exchange; `now` is moved by hand."""

    def __init__(self, path: Path, url: str, token: str, profile: Profile, asks: str, dialect: str) -> None:
        self.store = factory.open_store(path)
        rules = OpinionRules((OpinionPartner(asks, understands=True),))
        self.clinic = replace(CLINIC, organisation=profile.organisation, opinions=rules)
        self.now = 5000.0
        self.client = BusClient(url, lambda: token, 5.0)
        limiter = RateLimiter(60_000, lambda: self.now)

        def session(priority: SessionPriority) -> BusSession:
            return BusSession(self.store, self.client, limiter, priority)

        speaks = DIALECTS[dialect]
        self.exchange = Delivery(
            self.store, session(SessionPriority.DELIVERY), profile, lambda signed: b"%PDF-1.4", dialect=speaks
        )
        automatic = {"DX": "XRAY_14"}  # whatever comes goes onto the worklist without a person
        self.referrals = ReferralPoll(
            self.store, session(SessionPriority.POLLING), speaks, profile, self.clinic, automatic
        )
        self.results = ResultPoll(self.store, session(SessionPriority.BACKGROUND), speaks, profile)

    def exchange_all(self) -> None:
        self.now += 3600
        assert self.exchange.deliver().needs_attention == 0
        assert not self.referrals.run().stopped
        assert not self.results.run().stopped

    def reported(self) -> Order:
        """Register a study, make it and sign its report."""
        order = self.store.write(referrals.register, draft(), REGISTRAR, self.clinic)
        step = performed("1.2.3.4", StepReference(study_instance_uid=order.study_instance_uid))
        self.store.write(performed_steps.start, step, message("create"), XRAY, self.clinic)
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        change = performed_steps.ChangeRequest("1.2.3.4", done, message("final"))
        self.store.write(performed_steps.change, change, XRAY, self.clinic)
        text = ReportText("Суставная щель сужена.", "Гонартроз II ст.")
        self.store.write(reports.sign, order.id, 0, text, DOCTOR, self.clinic)
        return order

    def ask(self, order: Order, question: str = "Нет ли перелома?", *, confirmed: bool = True) -> OpinionRequest:
        partner = self.clinic.opinions.partners[0].organisation
        return self.store.write(
            asking.ask, order.id, 1, partner, question, Priority.URGENT, DOCTOR, self.clinic, is_confirmed=confirmed
        )

    def request(self, asked: OpinionRequest) -> OpinionRequest:
        with self.store.read() as reader:
            [found] = [each.request for each in opinion_lists.of_report(reader, asked.order_id)]
        return found

    def asked(self) -> list[IncomingReferral]:
        with self.store.read() as reader:
            return [each.referral for each in opinion_lists.waiting_for_us(reader)]

    def orders(self) -> int:
        with self.store.read() as reader:
            return int(reader.value("SELECT count(*) FROM orders") or 0)

    def waiting(self) -> list[IncomingReferral]:
        with self.store.read() as reader:
            return inbox.waiting(reader)

    def close(self) -> None:
        self.client.close()
        self.store.close()


@pytest.fixture(params=["n3", "r4"])
def server(request: pytest.FixtureRequest) -> Iterator[PracticeServer]:
    with practising(practice_bus(lenient=True, statuses=ALL_STATUSES, dialect=request.param)) as running:
        yield running


@pytest.fixture
def sides(server: PracticeServer, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[tuple[Side, Side]]:
    dialect = str(request.node.callspec.params["server"])
    other = replace(PROFILE, organisation=PRACTICE_ORGANISATION_2, mis_oid=OTHER_MIS)
    ours = Side(tmp_path / "ours.sqlite", server.url, PRACTICE_TOKEN, PROFILE, PRACTICE_ORGANISATION_2, dialect)
    theirs = Side(tmp_path / "theirs.sqlite", server.url, PRACTICE_TOKEN_2, other, PRACTICE_ORGANISATION, dialect)
    yield ours, theirs
    ours.close()
    theirs.close()


def bus(server: PracticeServer) -> PracticeBus:
    return server.bus


def test_a_request_is_answered_and_the_answer_stands_beside_our_report(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    order = ours.reported()
    asked = ours.ask(order)
    assert ours.request(asked).state is OpinionState.QUEUED
    ours.exchange_all()
    assert ours.request(asked).state is OpinionState.SENT

    theirs.exchange_all()
    [came] = theirs.asked()
    about = asked_about(came.comment)
    assert about.question == "Нет ли перелома?"
    assert about.conclusion == "Гонартроз II ст."
    assert order.accession_number in about.study
    assert (str(came.patient.name), came.priority) == ("Кузнецова Марина Петровна", Priority.URGENT)
    assert (theirs.orders(), theirs.waiting()) == (0, [])  # although the device of its modality takes what comes

    text = ReportText("Линия перелома не видна.", "Перелома нет.", "МРТ.")
    theirs.store.write(answering.answer, came.stored_id, text, came, CONSULTANT, theirs.clinic)
    theirs.store.write(answering.answer, came.stored_id, text, came, CONSULTANT, theirs.clinic)  # a double click
    theirs.exchange_all()
    assert theirs.asked() == []
    ours.exchange_all()
    request = ours.request(asked)
    assert request.state is OpinionState.ANSWERED
    assert request.answer is not None
    said = request.answer.description, request.answer.conclusion, request.answer.recommendations
    assert said == ("Линия перелома не видна.", "Перелома нет.", "МРТ.")
    assert (request.answer.organisation, request.answer.doctor) == (PRACTICE_ORGANISATION_2, "Сомов В. Г.")
    with ours.store.read() as reader:
        [listed] = opinion_lists.asked_by_us(reader)
    assert listed.request == request  # until a doctor has seen it
    ours.store.write(asking.heed, asked.stored_id, DOCTOR)
    ours.exchange_all()
    theirs.exchange_all()
    with ours.store.read() as reader:
        assert opinion_lists.asked_by_us(reader) == []
        assert orders.require(reader, order.id).state == "completed"
    assert (theirs.orders(), theirs.asked(), theirs.waiting()) == (0, [], [])


def test_no_person_can_make_an_order_of_a_request(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    ours.ask(ours.reported())
    ours.exchange_all()
    theirs.exchange_all()
    [came] = theirs.asked()
    with pytest.raises(WrongState):
        theirs.store.write(incoming_referrals.accept, came.stored_id, draft(), REGISTRAR, theirs.clinic)
    assert theirs.orders() == 0


def test_a_request_that_is_taken_back_is_no_longer_asked(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    asked = ours.ask(ours.reported())
    ours.exchange_all()
    theirs.exchange_all()
    assert len(theirs.asked()) == 1
    ours.store.write(asking.withdraw, asked.stored_id, "ответили сами", DOCTOR)
    ours.exchange_all()
    theirs.exchange_all()
    assert theirs.asked() == []
    assert ours.request(asked).state is OpinionState.WITHDRAWN


def test_a_request_that_was_never_sent_leaves_nothing_on_the_bus(
    sides: tuple[Side, Side], server: PracticeServer
) -> None:
    ours, _ = sides
    asked = ours.ask(ours.reported())
    ours.store.write(asking.withdraw, asked.stored_id, "", DOCTOR)
    ours.exchange_all()
    assert not [each for each in bus(server).tasks() if "opinion" in str(each["identifier"])]


def test_who_is_asked_may_decline(sides: tuple[Side, Side]) -> None:
    ours, theirs = sides
    asked = ours.ask(ours.reported())
    ours.exchange_all()
    theirs.exchange_all()
    [came] = theirs.asked()
    theirs.store.write(
        incoming_referrals.decline, came.stored_id, "Нет рентгенолога", CONSULTANT, theirs.clinic, seen=came
    )
    theirs.exchange_all()
    ours.exchange_all()
    request = ours.request(asked)
    assert request.state is OpinionState.DECLINED
    assert request.reason in ("Нет рентгенолога", "")  # the n3 dialect has no member for it


def test_the_first_request_to_a_clinic_has_to_be_confirmed_and_one_that_sees_a_referral_every_time(
    sides: tuple[Side, Side],
) -> None:
    ours, _ = sides
    order = ours.reported()
    with pytest.raises(Invalid, match="partner: unconfirmed"):
        ours.ask(order, confirmed=False)
    asked = ours.ask(order)
    ours.store.write(asking.withdraw, asked.stored_id, "", DOCTOR)
    again = ours.ask(order, confirmed=False)
    ours.store.write(asking.withdraw, again.stored_id, "", DOCTOR)
    [partner] = ours.clinic.opinions.partners
    ordinary = OpinionRules((partner._replace(understands=False),))
    ours.clinic = replace(ours.clinic, opinions=ordinary)
    with pytest.raises(Invalid, match="partner: unconfirmed"):
        ours.ask(order, confirmed=False)


def test_a_clinic_that_is_not_configured_is_not_asked(sides: tuple[Side, Side]) -> None:
    ours, _ = sides
    order, stranger = ours.reported(), "0e0e0e0e-0000-4000-8000-000000000003"
    with pytest.raises(Invalid, match="partner: unknown"):
        ours.store.write(
            asking.ask, order.id, 1, stranger, "?", Priority.ROUTINE, DOCTOR, ours.clinic, is_confirmed=True
        )


def test_a_lost_answer_makes_no_second_request(sides: tuple[Side, Side], server: PracticeServer) -> None:
    ours, theirs = sides
    asked = ours.ask(ours.reported())
    ours.exchange.deliver()
    ours.store.write(lambda tx: tx.run("UPDATE outbox SET state = 'pending', uncertain = 1 WHERE opinion_id > 0"))
    ours.exchange_all()
    requests = [each for each in bus(server).tasks() if "/opinion/" in str(each["identifier"])]
    assert len(requests) == 1
    assert ours.request(asked).task == requests[0]["id"]
    theirs.exchange_all()
    assert len(theirs.asked()) == 1


def test_a_request_says_what_it_asks_and_what_was_found() -> None:
    text = request_text("BI-RADS 3 или 4?", "K2611-0083", None, "BI-RADS R3 L1.\nПлотность D.", "https://pacs/1")
    about = asked_about(" ".join(text.split()))  # a bus may fold the lines
    assert about == ("BI-RADS 3 или 4?", "№ K2611-0083", "BI-RADS R3 L1. Плотность D.", "https://pacs/1")
    assert asked_about("Второе мнение: что это?; Сторона: левая").question == "что это?; Сторона: левая"
