"""Searches of the bus in either dialect: every page once, no page of another host, and when nothing is asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import cast

import pytest

from broker.bus.fhir import Resource
from broker.bus.inbound import search
from broker.bus.inbound.resolver import BusUnavailable, Unusable
from broker.bus.inbound.search import BusSearch
from broker.bus.transport.answers import Answer, Delivered, Rejected, Retry
from broker.bus.transport.bus_clock import BusClock
from broker.bus.transport.client import BusClient
from broker.bus.transport.dialect import Call, Dialect, n3, r4
from broker.bus.transport.rate_limit import RateLimiter
from broker.bus.transport.session import BusSession, SessionPriority
from broker.store.database import Store

URL = "http://bus.example.org/fhir"


class Bus:
    """Gives prepared answers, one after the other, and remembers the calls."""

    url = URL

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.calls: list[Call] = []
        self.clock = BusClock()

    def call(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answers.pop(0)

    def abort_calls(self) -> None:
        """Nothing is under way."""


Opened = Callable[..., BusSearch]


@pytest.fixture
def opened(store: Store) -> Opened:
    """Open a search of a bus."""

    def open_one(bus: Bus, dialect: Dialect = r4) -> BusSearch:
        return BusSearch(session(store, bus), dialect)

    return open_one


def session(store: Store, bus: Bus) -> BusSession:
    return BusSession(store, cast(BusClient, bus), RateLimiter(100), SessionPriority.BACKGROUND)


def page(numbers: Sequence[int], following: str = "", **changes: object) -> Delivered:
    tasks = [
        {"resourceType": "Task", "id": f"t{n}", "meta": {"lastUpdated": f"2026-11-24T09:{n:02}:00Z"}} for n in numbers
    ]
    bundle: Resource = {"resourceType": "Bundle", "entry": [{"resource": task | changes} for task in tasks]}
    return Delivered(bundle | ({"link": [{"relation": "next", "url": following}]} if following else {}))


def ids(found: list[Resource]) -> list[str]:
    return [each["id"] for each in found]


def test_a_named_page_is_followed_and_each_resource_given_once(opened: Opened) -> None:
    bus = Bus(page([1, 2], f"{URL}/Task?page=2"), page([2, 3]))
    found, whole = opened(bus).search("Task", {"intent": "reflex-order"})
    assert (ids(found), whole) == (["t1", "t2", "t3"], True)
    assert [call.path for call in bus.calls] == [
        f"/Task?intent=reflex-order&_count={search.PAGE}&_sort=_lastUpdated",
        "/Task?page=2",
    ]


def test_a_page_of_another_host_is_not_asked_for_and_something_is_missing_then(opened: Opened) -> None:
    bus = Bus(page([2, 1], "http://evil.example.org/Task?page=2"))
    found, whole = opened(bus).search("Task", {})
    assert (ids(found), whole) == (["t2", "t1"], False)


def test_a_full_page_without_a_next_one_is_gone_on_from_its_last_instant(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    bus = Bus(page([1, 2]), page([2, 3]), page([3]))
    found, whole = opened(bus, n3).search("Task", {"owner": "x"})
    assert (ids(found), whole) == (["t1", "t2", "t3"], True)
    asked = json.loads(bus.calls[1].body)["parameter"]
    assert {"name": "_lastUpdated", "valueString": "ge2026-11-24T09:02:00.000Z"} in asked


def test_changes_of_one_millisecond_are_in_order_however_two_pages_part_them(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    [early, late] = [page([n], meta={"lastUpdated": f"2026-11-24T09:02:00.000{n}00Z"}) for n in (3, 4)]
    first, second = (
        {"resourceType": "Bundle", "entry": [*page([1]).resource["entry"], *late.resource["entry"]]},
        {"resourceType": "Bundle", "entry": early.resource["entry"]},
    )
    pages = list(opened(Bus(Delivered(first), Delivered(second))).pages("Task", {}))
    assert [(ids(each.resources), each.last, each.in_order) for each in pages] == [
        (["t1", "t4"], False, True),
        (["t3"], True, True),
    ]


def test_a_bus_that_repeats_its_page_for_ever_is_left(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    bus = Bus(*[page([1, 2])] * 5)
    found, whole = opened(bus, n3).search("Task", {})
    assert (ids(found), whole) == (["t1", "t2"], False)
    assert len(bus.calls) == 2


def test_resources_without_an_instant_or_an_id_or_of_another_type_do_no_harm(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "PAGE", 2)
    assert opened(Bus(page([1, 2], meta=7))).search("Task", {})[1] is False
    assert opened(Bus(page([1, 2], id=[1]))).search("Task", {}) == ([], False)
    assert opened(Bus(page([1, 2], resourceType="Patient"))).search("Task", {}) == ([], True)
    assert opened(Bus(Delivered({"resourceType": "Bundle", "entry": "many"}))).search("Task", {}) == ([], True)


def test_a_refused_search_and_a_failed_connection_are_distinguished(opened: Opened) -> None:
    with pytest.raises(Unusable, match="unknown parameter"):
        opened(Bus(Rejected("unknown parameter"))).search("Patient", {})
    with pytest.raises(BusUnavailable, match="HTTP 503"):
        opened(Bus(Retry("HTTP 503"))).search("Patient", {})


def test_a_nested_answer_without_end_is_refused(opened: Opened) -> None:
    deep: list[object] = []
    for _ in range(100):
        deep = [deep]
    with pytest.raises(Unusable, match="nested"):
        opened(Bus(Delivered({"resourceType": "Bundle", "entry": deep}))).search("Task", {})


def test_everybody_waits_when_the_bus_asks_for_it(opened: Opened) -> None:
    asked = opened(Bus(Retry("HTTP 429", after=30.0)))
    with pytest.raises(BusUnavailable):
        asked.search("Task", {})
    with pytest.raises(BusUnavailable, match="the connection to the bus is down"):
        asked.search("Task", {})


def test_a_stopped_session_asks_nothing(store: Store) -> None:
    bus = Bus()
    stopped = session(store, bus)
    stopped.stop()
    with pytest.raises(BusUnavailable, match="stopping"):
        BusSearch(stopped, r4).search("Task", {})
    assert bus.calls == []
