"""A poll for results costs what is new, however many referrals are out, and none of them waits for ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from pathlib import Path

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound.referrals import ReferralPoll
from broker.bus.inbound.results import ResultPoll
from broker.bus.outbound.delivery import Delivery
from broker.bus.practice import PRACTICE_TOKEN, PracticeServer
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Dialect, n3
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.orders import Order, OrderState
from broker.store.database import Store, Tx
from broker.store.tables import orders
from broker.workflow.referrals import referrals
from tests.bus import strangers
from tests.bus.samples import PROFILE
from tests.bus.strangers import STRANGER
from tests.support import factory
from tests.support.clock import NOW, Clock
from tests.support.factory import CLINIC, REGISTRAR, draft, soon
from tests.support.practice import practice_bus

MANY = 10_000
A_LOOK = timedelta(minutes=1)
RESULT_REQUESTS = 6  # that reading one result takes


class Clinic:
    """A clinic with very many referrals out, and the bus that has some of them."""

    def __init__(self, store: Store, server: PracticeServer, clock: Clock) -> None:
        self.store, self.clock = store, clock
        self.bus = server.bus = practice_bus(lenient=True, clock=clock)
        self.client = BusClient(server.url, lambda: PRACTICE_TOKEN, 5.0)
        self.look_with()
        self.real: Order

    def look_with(self, rate: int = 50, dialect: Dialect = n3) -> None:
        """Poll by this rate from now on, as after a start of the program."""
        self.seconds = 0.0
        self.limiter = RateLimiter(rate, lambda: self.seconds)

        def session(priority: SessionPriority) -> BusSession:
            return BusSession(self.store, self.client, self.limiter, priority)

        self.results = ResultPoll(self.store, session(SessionPriority.BACKGROUND), dialect, PROFILE)
        self.referrals = ReferralPoll(self.store, session(SessionPriority.POLLING), dialect, PROFILE, CLINIC, {})

    def refer(self, count: int) -> None:
        """Add referrals that the bus was given an hour ago; their Tasks are `task(number)`."""

        def add(tx: Tx) -> None:
            first = int(tx.value("SELECT coalesce(max(id), 0) FROM orders"))
            at = (self.clock() - timedelta(hours=1)).isoformat()
            for id in range(first + 1, first + 1 + count):
                tx.run(
                    "INSERT INTO orders (id, accession_number, study_instance_uid, requested_procedure_id, patient_id,"
                    " state, state_since, procedure_code, procedure_name, procedure_local, modality, priority, finance,"
                    " authored_on, created_by, bus_role, owner) VALUES (?, ?, ?, ?, 1, 'referred', ?, 'WLB-KNEE',"
                    " 'Knee', 1, 'DX', 'routine', '1', ?, 'test', 'placer', ?)",
                    [id, f"R{id}", f"1.2.3.{id}", f"R{id}", at, at, STRANGER],
                )
                tx.run("INSERT INTO bus_reference (order_id, name, value) VALUES (?, 'task', ?)", [id, task(id)])
                tx.run(
                    "INSERT INTO outbox (order_id, kind, state, created_at, delivered_at, order_revision)"
                    " VALUES (?, 'order', 'delivered', ?, ?, 1)",
                    [id, at, at],
                )

        self.store.write(add)

    def refer_really(self) -> Order:
        """Register a referral to the stranger, and let the bus have it."""
        session = BusSession(self.store, self.client, RateLimiter(6000), SessionPriority.DELIVERY)
        referral = draft(owner=STRANGER, start=soon(days=1), station_ae_titles=())
        order = self.store.write(referrals.register, referral, REGISTRAR, CLINIC)
        Delivery(self.store, session, PROFILE, lambda signed: b"%PDF-1.4").deliver()
        return order

    def answer(self, status: str = "final", requester: str = "") -> None:
        """Let the stranger report on the real referral; `requester`: whom the result names as such."""
        original = next(each for each in self.bus.tasks() if each["intent"] == "original-order")
        bundle = strangers.result(of=original, status=status, uid="1.2.643.5")
        if requester:
            bundle["entry"][-1]["resource"]["requester"] = {"reference": f"Organization/{requester}"}
        self.bus.transaction(bundle)

    def state(self) -> OrderState:
        with self.store.read() as reader:
            return orders.require(reader, self.real.id).state

    def look(self) -> list[Resource]:
        """Poll once; return what was asked."""
        before = len(self.bus.requests)
        self.referrals.run()
        self.results.run()
        self.clock.now += A_LOOK
        self.seconds += A_LOOK.total_seconds()
        return [json.loads(request.body or b"{}") for request in self.bus.requests[before:]]


def task(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def listed(asked: list[Resource]) -> set[str]:
    """Return the Tasks that were asked about by their ids."""
    values = [each["valueString"] for body in asked for each in body["parameter"] if each["name"] == "based-on"]
    return {id.removeprefix("Task/") for value in values for id in value.split(",")}


def few_ids(most: int) -> Dialect:
    """Return a dialect whose searches take no more ids."""
    dialect = copy(n3)
    dialect.ids_in_search = most
    return dialect


@pytest.fixture
def clinic(tmp_path: Path, server: PracticeServer) -> Iterator[Clinic]:
    clock = Clock(NOW)
    store = factory.open_store(tmp_path / "worklist.sqlite", clock=clock)
    opened = Clinic(store, server, clock)
    opened.real = opened.refer_really()
    yield opened
    opened.client.close()
    store.close()


def look_until_all_are_known(clinic: Clinic) -> None:
    for _ in range(MANY // n3.ids_in_search * 2):
        clinic.look()


@pytest.mark.slow
def test_with_ten_thousand_referrals_out_a_look_is_five_requests_and_the_newest_result_is_in_the_first(
    clinic: Clinic,
) -> None:
    clinic.refer(MANY)
    look_until_all_are_known(clinic)
    assert [len(clinic.look()) for _ in range(3)] == [5, 5, 5]
    clinic.answer()
    clinic.look()
    assert clinic.state() is OrderState.COMPLETED


@pytest.mark.slow
def test_a_result_that_does_not_name_this_clinic_is_found_in_turn_however_old_the_referral_is(clinic: Clinic) -> None:
    clinic.refer(MANY)
    look_until_all_are_known(clinic)
    clinic.answer(requester=STRANGER)
    for _ in range(MANY // n3.ids_in_search + 1):
        assert len(clinic.look()) <= 5 + RESULT_REQUESTS
    assert clinic.state() is OrderState.COMPLETED


def test_every_referral_has_its_turn_in_a_round_also_while_others_come(clinic: Clinic) -> None:
    clinic.look_with(rate=6000, dialect=few_ids(10))
    clinic.refer(100)
    clinic.look()
    clinic.clock.now += timedelta(hours=2)
    asked: set[str] = set()
    for _ in range(11):
        asked |= listed(clinic.look())
        clinic.refer(1)
    assert {task(number) for number in range(2, 102)} <= asked


def test_a_look_that_is_cut_by_the_rate_is_continued_by_the_next(clinic: Clinic) -> None:
    clinic.look_with(rate=6, dialect=few_ids(10))
    clinic.refer(200)
    asked: set[str] = set()
    for _ in range(12):
        requests = clinic.look()
        assert len(requests) <= 6
        asked |= listed(requests)
    assert len(asked) == 201


def test_a_program_that_was_restarted_continues_the_round(clinic: Clinic) -> None:
    clinic.refer(100)
    asked: list[set[str]] = []
    for _ in range(3):
        clinic.clock.now += timedelta(hours=2)
        clinic.look_with(rate=6000, dialect=few_ids(10))
        asked.append(listed(clinic.look()))
    turns = [each - {task(number) for number in range(92, 102)} for each in asked[1:]]
    assert [len(each) for each in turns] == [10, 10]
    assert not turns[0] & turns[1]


def test_a_referral_is_not_asked_about_for_ever(clinic: Clinic) -> None:
    clinic.refer(3)
    clinic.look()
    clinic.clock.now += timedelta(days=89)
    assert listed(clinic.look())
    clinic.clock.now += timedelta(days=2)
    assert listed(clinic.look()) == set()
    clinic.answer()
    clinic.look()
    assert clinic.state() is OrderState.COMPLETED  # it names this clinic


def test_images_are_not_read_beside_their_report(clinic: Clinic) -> None:
    clinic.answer(status="partial")
    clinic.answer()
    asked = len(clinic.look())
    clinic.answer(status="partial")
    assert asked <= 5 + RESULT_REQUESTS
    assert len(clinic.look()) <= 5
    assert clinic.state() is OrderState.COMPLETED
