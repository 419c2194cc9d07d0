"""What other clinics order of us comes down once, whatever the line, the bus and its content do."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broker.bus.inbound.referrals import MAX_ATTEMPTS, ReferralPoll, ReferralPollSummary
from broker.bus.outbound.orders import order_bundle
from broker.bus.practice import (
    PRACTICE_ORGANISATION,
    PRACTICE_ORGANISATION_2,
    PRACTICE_TOKEN_2,
    PracticeBus,
    PracticeServer,
)
from broker.bus.transport.answers import Answer, Delivered, Paused, Rejected, Retry
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, n3, r4
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.domain.errors import WrongState
from broker.domain.incoming import ArrivalKind, ArrivalRecord, ArrivalState, IncomingReferral, IncomingState
from broker.domain.orders import OrderState, ReferralDraft
from broker.store.database import Store, Tx
from broker.store.queries import inbox
from broker.store.tables import incoming, orders, outbox
from broker.workflow.referrals import incoming_referrals
from broker.workflow.referrals import referrals as referral
from tests.bus import bundles, samples
from tests.bus.clinic import practising
from tests.bus.inbound.rubbish import holds, places, rubbish
from tests.bus.referrals import BASE, MIS, PROFILE, THEM, US, graph
from tests.peers.fhir_server import fhir_server
from tests.support import factory
from tests.support.clock import NOW, ZONE
from tests.support.practice import practice_bus
from ui.board.attention import _late
from ui.text.bus import incoming_reason

PRACTICE = replace(PROFILE, mis_oid=MIS)
PATHS = ("/Task/_search", "/ServiceRequest*", "/Patient*", "/Condition*")
# A code that our directory has not, with words that it has.
KNEE = bundles.concept(bundles.NSI + "1471", "9") | {"text": "Рентгенография коленного сустава"}


def client_of(server: PracticeServer) -> BusClient:
    return BusClient(server.url, lambda: PRACTICE_TOKEN_2, 5.0)


class Canned:
    """A bus at hand: searches find the Tasks of `resources`, reads give the rest; `answers` overrule by path."""

    url = BASE

    def __init__(self, resources: dict[str, Any] | None = None) -> None:
        self.resources = graph() if resources is None else resources
        self.answers: dict[str, list[Answer]] = {}
        self.calls: list[Call] = []
        self.clock = BusClock()
        self.entries: Callable[[list[Any]], list[Any]] = lambda found: found

    def call(self, call: Call) -> Answer:
        self.calls.append(call)
        path = call.path.partition("?")[0]
        if self.answers.get(path):
            return self.answers[path].pop(0)
        if "_search" in path or path == "/Task":
            return Delivered(deepcopy({"resourceType": "Bundle", "type": "searchset", "entry": self.found(call)}))
        found = self.resources.get(path[1:])
        return Delivered(deepcopy(found)) if isinstance(found, dict) else Rejected("HTTP 404")

    def found(self, call: Call) -> list[Any]:
        asked = dict(parse_qsl(urlsplit(call.path).query))
        if call.body:
            asked = {each["name"]: each["valueString"] for each in json.loads(call.body)["parameter"]}
        if "_lastUpdated" not in asked:  # a page that was named
            return [{"resource": self.resources["Task/t1"]}]
        since = datetime.fromisoformat(asked["_lastUpdated"].removeprefix("ge"))
        member = "owner" if "owner" in asked else "requester"
        tasks = [each for name, each in self.resources.items() if name.startswith("Task/")]
        tasks = [task for task in tasks if not isinstance(task, dict) or self.fits(task, member, asked[member], since)]
        return self.entries([{"resource": task} for task in tasks][: int(asked["_count"])])

    def fits(self, task: dict[str, Any], member: str, who: str, since: datetime) -> bool:
        at = task.get("meta", {}).get("lastUpdated")
        return task[member]["reference"] == who and (at is None or datetime.fromisoformat(at) >= since)

    def abort_calls(self) -> None:
        pass

    def asked(self, beginning: str) -> int:
        return sum(call.path.startswith(beginning) for call in self.calls)


class Scene:
    """A store and its poll for referrals."""

    def __init__(self, store: Store, client: Any, **options: Any) -> None:
        self.now = 1000.0
        limiter = RateLimiter(100_000, monotonic=lambda: self.now, chance=lambda: 0.0)
        self.limiter = options.pop("limiter", None) or limiter
        self.store, self.client = store, client
        self.auto_accept = options.pop("auto_accept", {})
        self.options = options
        self.poll = self.again()

    def again(self) -> ReferralPoll:
        """Make a new one, as after a restart."""
        options = dict(self.options)
        dialect = options.pop("dialect", n3)
        session = BusSession(self.store, self.client, self.limiter, SessionPriority.POLLING)
        self.poll = ReferralPoll(self.store, session, dialect, PRACTICE, factory.CLINIC, self.auto_accept, **options)
        return self.poll

    def waiting(self) -> list[IncomingReferral]:
        with self.store.read() as reader:
            return inbox.waiting(reader)

    def ledger(self) -> list[ArrivalRecord]:
        with self.store.read() as reader:
            return inbox.ledger(reader)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        with self.store.read() as reader:
            return reader.rows(sql)

    def form(self, known: IncomingReferral) -> ReferralDraft:
        """Complete a referral as a registrar does."""
        start = self.store.clock().astimezone(ZONE).replace(tzinfo=None) + timedelta(minutes=30)
        draft = incoming_referrals.draft_of(known, [], start)
        return replace(draft, procedure_code="WLB-KNEE", station_ae_titles=("XRAY_14",))

    def accept(self, number: int = 0) -> Any:
        known = self.waiting()[number]
        return self.store.write(
            incoming_referrals.accept, known.stored_id, self.form(known), factory.REGISTRAR, factory.CLINIC
        )


@pytest.fixture
def practice() -> Iterator[PracticeServer]:
    with practising(practice_bus(statuses=("cancelled", "rejected", "in-progress"))) as running:
        yield running


@pytest.fixture
def scene(store: Store, practice: PracticeServer) -> Iterator[Scene]:
    client = client_of(practice)
    yield Scene(store, client)
    client.close()


@pytest.fixture
def canned(store: Store) -> Scene:
    # A day that is near the referral's: the first search goes back some days only.
    store.clock = lambda: datetime(2026, 11, 24, 7, tzinfo=UTC)
    return Scene(store, Canned())


def bus_of(practice: PracticeServer) -> PracticeBus:
    return practice.bus


def place(practice: PracticeServer, **request: Any) -> str:
    """Let the other clinic order something of us; give the Task's id."""
    order = bundles.order()
    bundles.of(order, "ServiceRequest").update(request)
    answered = bus_of(practice).transaction(order)
    return str(bundles.part(answered, "Task")["id"])


# ---- with the practice bus ----


def test_a_referral_of_another_clinic_waits_with_all_its_content(scene: Scene, practice: PracticeServer) -> None:
    task = place(practice, note=[{"text": "Упала"}])
    assert scene.poll.run() == ReferralPollSummary(taken=1)
    [got] = scene.waiting()
    assert (got.task, got.requester, got.problems) == (task, PRACTICE_ORGANISATION, {})
    assert str(got.patient.name) == "Ёлкина Анна Сергеевна"
    assert (got.diagnosis_code, got.comment, str(got.referrer)) == ("J18.9", "Упала", "Петров Пётр")
    assert got.bus_accession_number.startswith("ODII")
    [item] = scene.ledger()
    with scene.store.read() as reader:
        kept = json.loads(inbox.item_json(reader, item.id))
    assert {entry["resource"]["resourceType"] for entry in kept["entry"]} >= {"Task", "ServiceRequest", "Patient"}


@pytest.mark.parametrize("days", [400, -400, 3650])
def test_a_fresh_program_whose_clock_is_wrong_by_years_finds_what_the_bus_has(
    scene: Scene, practice: PracticeServer, days: int
) -> None:
    place(practice)
    right = scene.store.clock()
    scene.store.clock = lambda: right + timedelta(days=days)
    for _ in range(2):
        scene.poll.run()
    assert len(scene.waiting()) == 1
    [cursor] = scene.rows("SELECT value FROM bus_cursor WHERE name = 'referrals'")
    assert cursor["value"][:10] == right.date().isoformat()  # of the bus: the next look asks for what is new


def test_a_second_look_brings_nothing_and_asks_little(scene: Scene, practice: PracticeServer) -> None:
    place(practice)
    scene.poll.run()
    before = bus_of(practice).log.total
    assert scene.poll.run() == scene.again().run() == ReferralPollSummary()
    assert bus_of(practice).log.total - before == 4  # two searches each
    assert len(scene.waiting()) == 1


def test_a_cancelled_referral_leaves_those_that_wait(scene: Scene, practice: PracticeServer) -> None:
    task = place(practice)
    scene.poll.run()
    bus_of(practice).update_status(task, "cancelled")
    assert scene.poll.run() == ReferralPollSummary(cancelled=1)
    assert scene.waiting() == []
    assert [(item.kind, item.state) for item in scene.ledger()] == [
        (ArrivalKind.CANCEL, ArrivalState.TAKEN),
        (ArrivalKind.REFERRAL, ArrivalState.TAKEN),
    ]


def test_an_order_whose_referral_is_cancelled_leaves_the_worklist_and_nothing_is_sent_to_the_bus(
    scene: Scene, practice: PracticeServer
) -> None:
    task = place(practice)
    scene.poll.run()
    order = scene.accept()
    bus_of(practice).update_status(task, "cancelled")
    assert scene.poll.run() == ReferralPollSummary(cancelled=1)
    with scene.store.read() as reader:
        after = orders.get(reader, order.id)
        assert inbox.too_late(reader) == []
    assert after is not None
    assert after.state is OrderState.CANCELLED
    assert scene.rows("SELECT * FROM outbox") == []


def test_our_own_orders_never_come_back_as_referrals(scene: Scene, practice: PracticeServer) -> None:
    order = scene.store.write(referral.register, factory.draft(), factory.REGISTRAR, factory.CLINIC)
    sent = bundles.order(order.accession_number)
    for member in ("requester", "owner"):
        bundles.of(sent, "Task")[member] = bundles.organisation(PRACTICE_ORGANISATION_2)
    bundles.of(sent, "Task")["identifier"][0]["system"] = f"urn:oid:{MIS}"
    task = bundles.part(bus_of(practice).transaction(sent), "Task")["id"]
    assert scene.poll.run() == ReferralPollSummary()
    assert scene.waiting() == []
    assert scene.ledger() == []
    bus_of(practice).update_status(task, "rejected")
    assert scene.poll.run() == ReferralPollSummary(cancelled=1)
    with scene.store.read() as reader:
        after = orders.get(reader, order.id)
    assert after is not None
    assert after.state is OrderState.CANCELLED
    assert scene.waiting() == []


@pytest.mark.slow
def test_faults_in_the_middle_lose_and_double_nothing(scene: Scene, practice: PracticeServer) -> None:
    start, bus, tasks = NOW, bus_of(practice), set()
    faults = [(kind, path) for path in PATHS for kind in ("503", "html", "drop", "401", "429")]
    for minutes, due in enumerate([*faults, *[None] * 30]):
        later = start + timedelta(minutes=10 * minutes)
        scene.store.clock = lambda later=later: later  # type: ignore[misc]
        scene.now += 4000  # every wait is over
        if due:
            tasks |= {place(practice), place(practice)}
            bus.fail_next(due[0], 1, due[1])
        scene.poll.run()
    assert {each.task for each in scene.waiting()} == tasks
    assert all(item.state is ArrivalState.TAKEN for item in scene.ledger())


def test_a_refused_token_pauses_the_channel_and_nothing_more_is_asked(scene: Scene, practice: PracticeServer) -> None:
    place(practice)
    bus_of(practice).fail_next("401", 1, "/Patient*")
    assert scene.poll.run().stopped.startswith("token refused")
    assert [row["state"] for row in scene.rows("SELECT state FROM bus_channel")] == ["paused"]
    before = bus_of(practice).log.total
    assert scene.poll.run() == ReferralPollSummary(stopped="waiting")
    assert bus_of(practice).log.total == before
    scene.now += 901
    assert scene.poll.run() == ReferralPollSummary(taken=1)
    assert [row["state"] for row in scene.rows("SELECT state FROM bus_channel")] == ["ok"]


def test_a_rule_puts_a_referral_straight_onto_a_worklist(store: Store, practice: PracticeServer) -> None:
    place(practice, code=KNEE)
    client = client_of(practice)
    scene = Scene(store, client, auto_accept={"DX": "XRAY_14"})
    assert scene.poll.run() == ReferralPollSummary(taken=1)
    assert scene.again().run() == ReferralPollSummary()
    client.close()
    assert scene.waiting() == []
    [row] = scene.rows("SELECT id FROM orders")
    with store.read() as reader:
        order = orders.get(reader, row["id"])
        references = outbox.references(reader, row["id"])
    assert order is not None
    assert order.steps[0].station_ae_titles == ("XRAY_14",)
    assert order.requester == THEM
    assert order.bus_accession_number == references.acsn
    assert references.service_request


# ---- what must not be performed ----

_FORBIDDEN: list[dict[str, Any]] = [
    {"status": "revoked"},
    {"status": "entered-in-error"},
    {"status": "draft"},
    {"status": "on-hold"},
    {"doNotPerform": True},
    {"intent": "proposal"},
    {"modifierExtension": [{"url": "urn:x", "valueBoolean": True}]},
    {"contained": [{"resourceType": "Device", "id": "d", "modifierExtension": [{"url": "urn:x"}]}]},
]


@pytest.mark.parametrize("members", _FORBIDDEN)
def test_what_must_not_be_performed_is_on_no_worklist_whatever_the_rules_are(
    store: Store, members: dict[str, Any]
) -> None:
    canned = Canned()
    canned.resources["ServiceRequest/s1"] |= {"code": KNEE}
    scene = Scene(store, canned, auto_accept={"DX": "XRAY_14"})
    canned.resources["ServiceRequest/s1"] |= members
    assert scene.poll.run() == ReferralPollSummary(needs_attention=1)
    assert scene.rows("SELECT id FROM orders") == []
    assert scene.waiting() == []
    [item] = scene.ledger()
    assert (item.state, item.kept) == (ArrivalState.NEEDS_ATTENTION, True)
    assert incoming_reason(item.reason) != item.reason  # in Russian


@pytest.mark.parametrize("members", _FORBIDDEN)
def test_a_waiting_referral_that_must_not_be_performed_any_more_cannot_be_accepted(
    canned: Scene, members: dict[str, Any]
) -> None:
    canned.poll.run()
    [known] = canned.waiting()
    before = canned.client.resources["ServiceRequest/s1"]
    canned.client.resources["ServiceRequest/s1"] = before | members
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:30:00Z")
    assert canned.poll.run() == ReferralPollSummary(needs_attention=1)
    assert [each.state for each in canned.waiting()] == [IncomingState.NEEDS_ATTENTION]
    with pytest.raises(WrongState):
        canned.store.write(
            incoming_referrals.accept, known.stored_id, canned.form(known), factory.REGISTRAR, factory.CLINIC
        )
    canned.client.resources["ServiceRequest/s1"] = before
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:40:00Z")
    assert canned.poll.run() == ReferralPollSummary(taken=1)
    assert [each.state for each in canned.waiting()] == [IncomingState.WAITING]


@pytest.mark.parametrize("members", _FORBIDDEN)
def test_of_an_order_whose_referral_must_not_be_performed_any_more_people_are_warned(
    canned: Scene, members: dict[str, Any]
) -> None:
    canned.poll.run()
    order = canned.accept()
    canned.client.resources["ServiceRequest/s1"] |= members
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:30:00Z")
    assert canned.poll.run() == ReferralPollSummary(needs_attention=1)
    with canned.store.read() as reader:
        [late] = inbox.too_late(reader)
    assert late.order_id == order.id
    shown = _late(late, amend=True)
    assert shown.why.endswith(f"{incoming_reason(late.reason)}. Решите с той клиникой, делать ли исследование.")


def test_a_referral_of_a_bus_behind_a_proxy_is_taken_by_its_ids(canned: Scene) -> None:
    inner = "http://bus-internal:8080/fhir/"
    text = json.dumps(canned.client.resources)
    canned.client.fits = lambda task, member, who, since: task[member]["reference"].endswith(who)
    text = re.sub(r'"reference": "([A-Z])', rf'"reference": "{inner}\1', text)
    canned.client.resources = json.loads(text)
    assert canned.poll.run() == ReferralPollSummary(taken=1)
    [known] = canned.waiting()
    assert (known.problems, known.bus_patient) == ({}, "p1")
    assert not [call.path for call in canned.client.calls if "internal" in call.path]


# ---- paging ----


class Direct(Canned):
    """The practice bus without HTTP: the same answers, a hundred times faster."""

    def __init__(self, bus: PracticeBus) -> None:
        super().__init__({})
        self.bus = bus

    def call(self, call: Call) -> Answer:
        self.calls.append(call)
        path = call.path.partition("?")[0]
        if path.endswith("_search"):
            return Delivered(self.bus._service.search("Task", json.loads(call.body), US))
        return Delivered(self.bus._service.read(*path[1:].split("/")))


@pytest.mark.parametrize(("number", "size"), [(70, 30), pytest.param(1200, 500, marks=pytest.mark.slow)])
def test_more_than_one_page_comes_down_page_by_page(store: Store, number: int, size: int) -> None:
    bus = practice_bus()
    expected = {bundles.part(bus.transaction(bundles.order()), "Task")["id"] for _ in range(number)}
    scene = Scene(store, client := Direct(bus), page=size)
    assert scene.poll.run() == ReferralPollSummary(taken=number)
    assert {each.task for each in scene.waiting()} == expected
    assert client.asked("/Task/_search") == 4  # three pages, and that of our own orders
    assert scene.again().run() == ReferralPollSummary()


def stamped(number: int, at: str, **members: Any) -> dict[str, Any]:
    task = graph()["Task/t1"]
    return task | {"id": f"t{number}", "meta": {"versionId": "1", "lastUpdated": at}} | members


def test_a_page_full_of_one_instant_does_not_stop_the_search_for_ever(store: Store) -> None:
    client = Canned()
    moment = "2026-11-24T06:00:00Z"
    for number in range(5):
        client.resources[f"Task/t{number}"] = stamped(number, moment if number < 4 else "2026-11-24T06:00:01Z")
    store.clock = lambda: datetime(2026, 11, 24, 7, tzinfo=UTC)
    scene = Scene(store, client, page=3)
    assert scene.poll.run().taken == 4  # of five; one is beyond what this bus can be asked for, and the log says so
    assert "t4" in {each.task for each in scene.waiting()}


def test_a_cut_answer_in_another_order_moves_no_cursor(canned: Scene) -> None:
    for number, hour in enumerate((6, 5, 4)):
        canned.client.resources[f"Task/t{number}"] = stamped(number, f"2026-11-24T0{hour}:00:00Z")
    canned.options["page"] = 3
    got = canned.again().run()
    assert got.taken == 3
    assert "not in the order of change" in got.stopped
    assert canned.rows("SELECT * FROM bus_cursor") == []


def test_a_named_next_page_is_followed_and_the_cursor_moves_at_the_end(canned: Scene) -> None:
    client = canned.client
    client.resources["Task/t2"] = stamped(2, "2026-11-24T06:00:05Z")
    first = Delivered(
        {
            "resourceType": "Bundle",
            "type": "searchset",
            "link": [{"relation": "next", "url": f"{BASE}/Task?page=2"}],
            "entry": [{"resource": client.resources["Task/t2"]}],
        }
    )
    canned.options["dialect"] = r4
    client.answers["/Task"] = [first, Retry("time-out")]
    assert canned.again().run().stopped == "time-out"
    assert canned.rows("SELECT * FROM bus_cursor") == []
    canned.now += 10
    client.answers["/Task"] = [first]
    assert canned.poll.run() == ReferralPollSummary(taken=1)
    assert {each.task for each in canned.waiting()} == {"t1", "t2"}
    assert sum("page=2" in call.path for call in client.calls) == 2
    [row] = canned.rows("SELECT value FROM bus_cursor WHERE name = 'referrals'")
    assert row["value"].startswith("2026-11-24T06:00:05")


def test_a_next_page_on_another_server_is_never_requested(canned: Scene) -> None:
    evil = {"relation": "next", "url": "http://evil.example/Task?page=2"}
    task = canned.client.resources["Task/t1"]
    answer = {"resourceType": "Bundle", "type": "searchset", "link": [evil], "entry": [{"resource": task}]}
    canned.client.answers["/Task/_search"] = [Delivered(answer)]
    assert canned.poll.run().taken == 1
    assert not any("evil" in call.path for call in canned.client.calls)


def test_the_cursor_follows_the_bus_and_no_misdated_task_moves_it_away(canned: Scene) -> None:
    canned.client.resources["Task/t2"] = stamped(2, "2099-01-01T00:00:00Z")
    canned.poll.run()
    assert [row["value"][:19] for row in canned.rows("SELECT value FROM bus_cursor")] == ["2026-11-24T06:00:01"]
    canned.client.resources["Task/t3"] = stamped(3, "2026-11-24T06:30:00Z")
    assert canned.poll.run() == ReferralPollSummary(taken=1)


def test_few_requests_a_minute_bring_everything_too(store: Store) -> None:
    client = Canned()
    for number in range(3):
        client.resources[f"Task/t{number}"] = stamped(number, f"2026-11-24T06:00:0{number}Z")
    store.clock = lambda: datetime(2026, 11, 24, 7, tzinfo=UTC)
    now = [1000.0]
    scene = Scene(store, client, limiter=RateLimiter(2, monotonic=lambda: now[0]))
    runs = []
    while len(scene.waiting()) < 3:
        runs.append(scene.poll.run().stopped)
        now[0] += 61
        assert len(runs) < 12
    assert set(runs) == {"rate"}


# ---- order, doubles, hostile content ----


@pytest.mark.parametrize("rate", [2, 10, 30, 50])
def test_a_long_queue_of_what_is_sent_does_not_keep_referrals_away(store: Store, rate: int) -> None:
    store.clock = lambda: datetime(2026, 11, 24, 7, tzinfo=UTC)
    scene = Scene(store, Canned())
    scene.limiter = RateLimiter(rate, monotonic=lambda: scene.now)
    scene.again()
    for _ in range(8):
        while scene.limiter.take(1, scene.limiter.polling_share):
            pass
        scene.poll.run()
        scene.now += 30
    assert len(scene.waiting()) == 1


def test_the_buss_words_about_what_is_marked_for_attention_are_not_logged(
    canned: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    canned.client.answers["/ServiceRequest/s1"] = [Rejected("Пациент Ёлкина не найден")]
    canned.poll.run()
    canned.client.answers["/Task/_search"] = [Rejected("Пациент Ёлкина не найден")]
    canned.poll.run()
    assert "Ёлкина" not in caplog.text
    assert [("Ёлкина" in item.reason) for item in canned.ledger()] == [True, True]


def test_the_newest_version_wins_in_whatever_order_they_come(canned: Scene) -> None:
    client = canned.client
    requested = client.resources["Task/t1"]
    cancelled = requested | {"status": "cancelled", "meta": {"versionId": "2", "lastUpdated": "2026-11-24T06:10:00Z"}}
    again = requested | {"meta": {"versionId": "3", "lastUpdated": "2026-11-24T06:20:00Z"}}
    client.resources["Task/t1"] = cancelled
    assert canned.poll.run() == ReferralPollSummary(cancelled=1)
    client.resources["Task/t1"] = requested | {"meta": {"versionId": "1", "lastUpdated": "2026-11-24T06:08:00Z"}}
    assert canned.poll.run() == ReferralPollSummary()
    assert canned.waiting() == []
    client.resources["Task/t1"] = again
    assert canned.poll.run() == ReferralPollSummary(taken=1)
    client.resources["Task/t1"] = cancelled | {"meta": {"versionId": "2", "lastUpdated": "2026-11-24T06:19:00Z"}}
    assert canned.poll.run() == ReferralPollSummary()
    assert len(canned.waiting()) == 1


def test_one_answer_with_the_same_task_twice_makes_one_referral(canned: Scene) -> None:
    canned.client.entries = lambda found: found * 3
    assert canned.poll.run().taken == 1
    assert len(canned.waiting()) == 1


def test_a_bus_without_times_is_polled_by_what_differs(canned: Scene) -> None:
    task = canned.client.resources["Task/t1"]
    del task["meta"]
    assert canned.poll.run().taken == 1
    assert canned.poll.run() == ReferralPollSummary()
    task["status"] = "cancelled"
    assert canned.poll.run() == ReferralPollSummary(cancelled=1)


def test_one_unreadable_item_is_marked_for_attention_and_the_others_come(canned: Scene) -> None:
    client = canned.client
    client.resources["Task/t2"] = stamped(2, "2026-11-24T06:00:02Z", focus={"reference": "http://evil.example/x"})
    client.resources["Task/t3"] = stamped(3, "2026-11-24T06:00:03Z")
    client.entries = lambda found: [
        None,
        7,
        {"resource": []},
        {"resource": {"resourceType": "Task", "id": "../x"}},
        *found,
        {"resource": {"resourceType": "OperationOutcome"}},
    ]
    got = canned.poll.run()
    assert got.taken == 2
    assert got.needs_attention == 5
    assert canned.poll.run() == ReferralPollSummary()
    aside = [item for item in canned.ledger() if item.state is ArrivalState.NEEDS_ATTENTION]
    [bad] = [item for item in aside if item.reference == "Task/t2"]
    assert bad.reason == "a reference leads away from the bus"
    with canned.store.read() as reader:
        assert "evil.example" in inbox.item_json(reader, bad.id)


def test_a_person_may_let_what_was_marked_for_attention_be_read_again(canned: Scene) -> None:
    patient = canned.client.resources.pop("Patient/p1")
    assert canned.poll.run() == ReferralPollSummary(needs_attention=1)
    [item] = canned.ledger()
    canned.client.resources["Patient/p1"] = patient
    assert canned.poll.run() == ReferralPollSummary()
    assert canned.store.write(incoming_referrals.retry, item.id, factory.REGISTRAR)
    assert canned.poll.run() == ReferralPollSummary(taken=1)
    assert len(canned.waiting()) == 1
    [item] = canned.ledger()
    assert (item.state, item.reason) == (ArrivalState.TAKEN, "")


def test_a_resource_that_always_fails_is_tried_a_few_times_and_holds_nothing_back(canned: Scene) -> None:
    client = canned.client
    client.resources["Task/t2"] = stamped(2, "2026-11-24T06:00:02Z")
    client.resources["Task/t1"]["focus"] = {"reference": "ServiceRequest/bad"}
    client.answers["/ServiceRequest/bad"] = [Retry("HTTP 500")] * 100
    assert canned.poll.run() == ReferralPollSummary(taken=1, failed=1)
    hours = 0
    while canned.ledger()[-1].state is ArrivalState.FAILED or canned.ledger()[0].state is ArrivalState.FAILED:
        hours += 1
        moment = datetime(2026, 11, 24, 7, tzinfo=UTC) + timedelta(hours=hours * 5)
        canned.store.clock = lambda moment=moment: moment  # type: ignore[misc]
        canned.now += 5000
        canned.poll.run()
        assert hours < 20
    assert client.asked("/ServiceRequest/bad") == MAX_ATTEMPTS
    assert {item.reference: item.state for item in canned.ledger()} == {
        "Task/t1": ArrivalState.NEEDS_ATTENTION,
        "Task/t2": ArrivalState.TAKEN,
    }


def test_a_line_that_breaks_at_two_items_is_down(canned: Scene) -> None:
    for number in range(2, 9):
        canned.client.resources[f"Task/t{number}"] = stamped(number, f"2026-11-24T06:00:0{number}Z")
    canned.client.answers["/ServiceRequest/s1"] = [Retry("HTTP 500")] * 100
    got = canned.poll.run()
    assert (got.failed, got.stopped) == (2, "HTTP 500")
    assert canned.rows("SELECT * FROM bus_cursor") == []
    assert [row["state"] for row in canned.rows("SELECT state FROM bus_channel")] == ["waiting"]
    assert canned.poll.run() == ReferralPollSummary(stopped="waiting")


@pytest.mark.parametrize("answer", [Retry("cannot connect", uncertain=False), Paused("token refused (HTTP 401)")])
def test_without_a_line_no_item_is_to_blame(canned: Scene, answer: Answer) -> None:
    canned.client.answers["/Patient/p1"] = [answer]
    assert canned.poll.run().stopped == answer.reason  # type: ignore[union-attr]
    assert canned.ledger() == []
    canned.now += 1000
    assert canned.poll.run() == ReferralPollSummary(taken=1)


def test_a_search_that_the_bus_refuses_is_shown_to_people_until_it_works(canned: Scene) -> None:
    canned.client.answers["/Task/_search"] = [Rejected("Неизвестный параметр")]
    assert canned.poll.run() == ReferralPollSummary(needs_attention=1, stopped="Неизвестный параметр")
    assert [item.reference for item in canned.ledger() if item.state is ArrivalState.NEEDS_ATTENTION] == [
        "Task/_search"
    ]
    canned.poll.run()
    assert [item for item in canned.ledger() if item.state is ArrivalState.NEEDS_ATTENTION] == []


def test_a_fault_of_ours_in_one_item_is_logged_and_the_others_come(
    canned: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    canned.client.resources["Task/t2"] = stamped(2, "2026-11-24T06:00:02Z")
    take = incoming_referrals.receive

    def clumsy(tx: Tx, got: IncomingReferral, *rest: Any, **more: Any) -> Any:
        if got.task == "t1":
            raise ZeroDivisionError
        return take(tx, got, *rest, **more)

    monkeypatch.setattr(incoming_referrals, "receive", clumsy)
    got = canned.poll.run()
    assert (got.taken, got.failed) == (1, 1)
    assert "Task/t1 could not be taken" in caplog.text


def test_a_bus_that_does_not_heed_what_is_asked_gives_us_nothing_of_others(canned: Scene) -> None:
    foreign = stamped(2, "2026-11-24T06:00:02Z", owner={"reference": f"Organization/{THEM}"})
    reflex = stamped(3, "2026-11-24T06:00:03Z", intent="reflex-order")
    done = stamped(4, "2026-11-24T06:00:04Z", status="completed")
    canned.client.entries = lambda found: [*found, *({"resource": task} for task in (foreign, reflex, done))]
    canned.poll.run()
    assert [each.task for each in canned.waiting()] == ["t1"]


def test_what_others_have_done_meanwhile_waits_no_longer(canned: Scene) -> None:
    canned.poll.run()
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:30:00Z", status="completed")
    assert canned.poll.run() == ReferralPollSummary(cancelled=1)
    with canned.store.read() as reader:
        known = incoming.by_task(reader, "bus", "t1")
    assert known is not None
    assert known.state is IncomingState.CANCELLED


def test_a_change_of_what_has_started_here_is_shown_to_people(canned: Scene) -> None:
    canned.poll.run()
    order = canned.accept()
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:30:00Z", status="in-progress")
    assert canned.poll.run() == ReferralPollSummary()
    canned.client.resources["ServiceRequest/s1"]["note"] = [{"text": "другая рука"}]
    canned.client.resources["Task/t1"] = stamped(1, "2026-11-24T06:40:00Z", status="in-progress")
    assert canned.poll.run() == ReferralPollSummary(late=1)
    with canned.store.read() as reader:
        assert [trouble.order_id for trouble in inbox.too_late(reader)] == [order.id]


@pytest.mark.slow
def test_a_fhir_server_that_was_not_written_here_is_polled_by_the_same_rules(store: Store, tmp_path: Path) -> None:
    with fhir_server(tmp_path) as server:
        client = BusClient(server.url, lambda: "token", 30.0)
        for number in range(5):
            ordered = samples.order(
                owner=US,
                accession_number=f"A-{number}",
                study_instance_uid=f"1.2.{number}",
                authored_on=NOW,
            )
            assert isinstance(client.call(r4.transaction(order_bundle(ordered, samples.PROFILE))), Delivered)
        scene = Scene(store, client, dialect=r4, page=2)
        assert scene.poll.run() == ReferralPollSummary(taken=5)
        assert scene.again().run() == ReferralPollSummary()
        [known, *_] = scene.waiting()
        assert (known.diagnosis_code, known.patient.weight, known.problems) == ("M17.1", 70.5, {})
        client.call(r4.set_status(known.task, "cancelled"))
        assert scene.poll.run() == ReferralPollSummary(cancelled=1)
        client.close()
    assert len(scene.waiting()) == 4


def test_a_crash_between_an_item_and_the_cursor_doubles_nothing(canned: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(incoming, "set_cursor", crash)
        patched.setattr(canned.store, "write", partial(_or_crash, canned.store.write))
        with pytest.raises(KeyboardInterrupt):
            canned.poll.run()
    assert len(canned.waiting()) == 1
    assert canned.again().run() == ReferralPollSummary()
    assert len(canned.waiting()) == 1
    assert len(canned.rows("SELECT * FROM bus_cursor")) == 1


def _or_crash(write: Callable[..., Any], fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if "set_cursor" in fn.__code__.co_names:
        raise KeyboardInterrupt
    return write(fn, *args, **kwargs)


def test_a_stopped_poll_ends_at_once(canned: Scene) -> None:
    canned.poll.stop()
    assert canned.poll.run() == ReferralPollSummary(stopped="stopping")
    assert canned.client.calls == []


@pytest.mark.slow
def test_a_page_that_is_too_long_is_asked_for_in_shorter_ones(canned: Scene) -> None:
    task = canned.client.resources["Task/t1"]
    for number in range(2, 100):
        late = f"2026-11-24T06:0{number // 20}:{number % 20:02}Z"
        canned.client.resources[f"Task/t{number}"] = task | stamped(number, late)
    canned.client.answers["/Task/_search"] = [Retry("not a FHIR answer: longer than 10485760 bytes")] * 4
    for _ in range(4):
        assert canned.poll.run().stopped
        canned.now += 4000
    assert canned.poll.run() == ReferralPollSummary(taken=99)
    asked = [json.loads(call.body) for call in canned.client.calls if call.path.startswith("/Task/_search")]
    counts = [each["valueString"] for body in asked for each in body["parameter"] if each["name"] == "_count"]
    assert counts[:5] == ["500", "250", "125", "62", "31"]
    assert counts[-1] == "500"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    opened = factory.open_store(tmp_path_factory.mktemp("poll") / "worklist.sqlite")
    opened.clock = lambda: datetime(2026, 11, 24, 7, tzinfo=UTC)
    yield Scene(opened, Canned())
    opened.close()


numbers = iter(range(10, 1_000_000))


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(places(graph()["Task/t1"])), rubbish), max_size=3), rubbish, rubbish)
def test_whatever_a_searchset_holds_the_next_referral_comes(
    shared: Scene, changes: list[tuple[tuple[Any, ...], Any]], entry: Any, link: Any
) -> None:
    bad: Any = stamped(next(numbers), "2026-11-24T06:00:03Z")
    for path, value in changes:
        node = bad
        for key in path[:-1]:
            node = node[key] if holds(node, key) else None
        if holds(node, path[-1]):
            node[path[-1]] = deepcopy(value)
    good = stamped(next(numbers), "2026-11-24T06:00:04Z")
    entries = [{"resource": bad}, entry, {"resource": entry}, {"resource": good}]
    answer = {"resourceType": "Bundle", "link": link, "entry": entries}
    shared.client.answers["/Task/_search"] = [Delivered(answer)]
    shared.now += 4000
    assert shared.poll.run().failed == 0
    with shared.store.read() as reader:
        assert incoming.by_task(reader, "bus", good["id"]) is not None
