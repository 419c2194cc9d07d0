"""Why a device sees an order or not: every reason is named, and the sum is what the service itself answers."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from broker.dicom.codec.dates import MalformedKey
from broker.dicom.devices import samples
from broker.dicom.worklist import explain, query
from broker.dicom.worklist import service as worklist
from broker.domain.device_advice import Explanation, RuleResult
from broker.domain.devices import Device
from broker.domain.orders import Order
from broker.domain.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.store.tables import worklist as store_worklist
from broker.workflow import performed_steps, referrals
from tests.support import factory
from tests.support.clock import ZONE
from tests.support.factory import CLINIC, REGISTRAR, XRAY

NOW = datetime(2026, 11, 24, 6, 47, tzinfo=UTC)  # 09:47 in the clinic
TEN = datetime(2026, 11, 24, 10, 0)


class House:
    """A database with a clock of its own, and what is asked there."""

    def __init__(self, path: Path) -> None:
        self.now = NOW
        self.store: Store = factory.open_store(path, clock=lambda: self.now)

    def register(self, start: datetime = TEN, **changes: Any) -> Order:
        return self.store.write(referrals.register, factory.draft(start=start, **changes), REGISTRAR, CLINIC)

    def set(self, ae_title: str = "XRAY_14", **changes: Any) -> None:
        with self.store.read() as reader:
            known = devices.get(reader, ae_title) or Device(ae_title, ae_title, "DX")
        self.store.write(lambda tx: devices.put(tx, replace(known, **changes)))

    def ask(self, step: dict[str, Any] | None = None, ae_title: str = "XRAY_14", **keys: Any) -> None:
        """Let a device ask: it is heard, and its query is kept."""
        asked = dataset(**{"PatientName": "", **keys})
        asked.ScheduledProcedureStepSequence = [dataset(**(step or {"ScheduledProcedureStepID": ""}))]
        self.hear("worklist", ae_title=ae_title)
        self.store.write(lambda tx: devices.keep_sample(tx, ae_title, "worklist", samples.mask(asked)))

    def hear(self, service: str, address: str = "10.0.4.14", ae_title: str = "XRAY_14") -> None:
        self.store.write(lambda tx: devices.note_contact(tx, ae_title, service, address, ""))

    def why(self, order: Order, ae_title: str = "XRAY_14", learns: bool = False) -> Explanation:
        with self.store.read() as reader:
            now = orders.get(reader, order.id)
            assert now
            return explain.explain_order(reader, now, ae_title, self.now, CLINIC, learns=learns)

    def serve(self, ae_title: str = "XRAY_14") -> list[int]:
        """Return the orders that the service itself gives the device for what it asked last."""
        with self.store.read() as reader:
            asked = explain.latest_query(reader, ae_title)
            assert asked
            assert asked.at
            ds = explain.moved_to_today(asked.query, asked.at, self.now, ZONE)
            found = worklist.search(query.parse(ds), ae_title, reader, CLINIC, self.now)
        return [item.order.id for item in found.items]


def dataset(**keys: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in keys.items():
        setattr(ds, keyword, value)
    return ds


@pytest.fixture
def house(tmp_path: Path) -> Any:
    made = House(tmp_path / "worklist.sqlite")
    yield made
    made.store.close()


def against(explained: Explanation) -> dict[str, RuleResult]:
    """Return the reasons against, by code."""
    return {each.code: each for each in explained.results if not each.ok and each.decides}


def codes(explained: Explanation) -> set[str]:
    return {each.code for each in explained.results}


def test_an_order_that_is_on_the_list_has_no_reason_against(house: House) -> None:
    order = house.register()
    house.ask({"ScheduledStationAETitle": "XRAY_14", "ScheduledProcedureStepStartDate": "20261124", "Modality": "DX"})
    explained = house.why(order)
    assert explained.seen
    assert against(explained) == {}
    assert {"registered", "asked", "open", "near", "key_station", "key_time", "key_modality"} <= codes(explained)
    assert house.serve() == [order.id]


def test_a_device_that_never_asked_is_judged_by_a_usual_query(house: House) -> None:
    explained = house.why(house.register())
    assert explained.seen
    assert explained.asked_at is None
    assert {"never_asked", "query_usual"} <= codes(explained)


def test_a_stranger_sees_nothing_unless_strangers_are_served(house: House) -> None:
    order = house.register()
    assert "unknown_device" in against(house.why(order, "NOBODY"))
    house.store.write(lambda tx: devices.learn(tx, "US_7", "10.0.4.7"))
    assert "not_approved" in against(house.why(order, "US_7"))
    house.set("US_7", own_only=False, approved=False)
    assert house.why(order, "US_7", learns=True).seen


@pytest.mark.parametrize(
    ("step", "code", "asked", "has"),
    [
        ({"Modality": "CR"}, "key_modality", "CR", "DX"),
        ({"ScheduledStationAETitle": "DR"}, "key_station", "DR", "XRAY_14"),
        ({"ScheduledProcedureStepStartDate": "20261125"}, "key_time", "20261125", "20261124 100000"),
        ({"ScheduledProcedureStepStartTime": "1100-"}, "key_time", "1100-", "20261124 100000"),
        ({"ScheduledPerformingPhysicianName": "A*"}, "key", "", ""),
    ],
)
def test_the_key_that_fails_is_named(house: House, step: dict[str, str], code: str, asked: str, has: str) -> None:
    order = house.register()
    house.ask(step)
    if code == "key":  # whom it asks for is not kept
        assert "masked" in codes(house.why(order))
        return
    explained = house.why(order)
    assert not explained.seen
    assert list(against(explained)) == [code]
    assert (against(explained)[code].details["asked"], against(explained)[code].details["has"]) == (asked, has)
    assert house.serve() == []


def test_a_number_of_another_order_is_named(house: House) -> None:
    order = house.register()
    house.ask(AccessionNumber="K9")
    told = against(house.why(order))["key"].details
    assert told == {"keyword": "AccessionNumber", "asked": "K9", "has": order.accession_number}


def test_a_name_of_question_marks_finds_nobody_and_is_named(house: House) -> None:
    order = house.register()
    house.ask(PatientName="?????????")
    assert list(against(house.why(order))) == ["undecodable"]
    assert house.serve() == []


def test_for_whom_it_asked_is_not_kept_and_said_so(house: House) -> None:
    order = house.register()
    house.ask(PatientName="Иванов*", PatientID="5")
    explained = house.why(order)
    [masked] = [each for each in explained.results if each.code == "masked"]
    assert masked.details["keys"] == "PatientName, PatientID"
    assert explained.seen


def test_a_malformed_key_is_named_as_the_service_names_it(house: House) -> None:
    order = house.register()
    house.ask({"ScheduledProcedureStepStartDate": "20260230"})
    told = against(house.why(order))["malformed"]
    assert told.key == "ScheduledProcedureStepStartDate"
    assert told.details["comment"] == "not a date"


def test_another_device_s_order_is_seen_where_it_sees_all(house: House) -> None:
    order = house.register()
    house.ask(ae_title="FLG_12")
    assert list(against(house.why(order, "FLG_12"))) == ["planned_elsewhere"]
    house.set("FLG_12", own_only=False)
    assert house.why(order, "FLG_12").seen
    assert house.serve("FLG_12") == [order.id]


def test_days_beyond_the_policy_are_named(house: House) -> None:
    late, order = house.register(TEN + timedelta(days=31)), house.register()
    house.ask()
    assert against(house.why(late))["ahead"].details["days"] == "30"
    house.now += timedelta(days=2)
    assert against(house.why(order))["past"].details["days"] == "1"


def test_states_are_named_and_a_completed_one_lingers_as_set(house: House) -> None:
    order, other = house.register(), house.register(TEN + timedelta(minutes=10))
    house.ask()
    step = factory.performed("1.2.3", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
    house.store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    assert "started" in codes(house.why(order))
    assert house.why(order).seen
    change = PerformedChange(state=PerformedState.COMPLETED)
    house.store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2.3", change, factory.message("2")), XRAY, CLINIC
    )
    assert list(against(house.why(order))) == ["completed"]
    house.set(closed_hours=2)
    assert house.why(order).seen
    assert sorted(house.serve()) == [order.id, other.id]
    house.now += timedelta(hours=3)
    assert list(against(house.why(order))) == ["completed"]
    house.store.write(referrals.cancel, other.id, other.revision, "", REGISTRAR, CLINIC)
    assert list(against(house.why(other))) == ["cancelled"]


def test_what_another_station_has_begun_is_said_to_the_others(house: House) -> None:
    order = house.register(station_ae_titles=("XRAY_14", "FLG_12"))
    for ae_title in ("XRAY_14", "FLG_12"):
        house.ask(ae_title=ae_title)
    step = factory.performed("1.2.3", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
    house.store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    assert house.why(order).seen
    assert against(house.why(order, "FLG_12"))["begun_elsewhere"].details["stations"] == "XRAY_14"
    assert (house.serve(), house.serve("FLG_12")) == ([order.id], [])


def test_a_device_that_is_turned_away_is_told_from_which_address(house: House) -> None:
    order = house.register()
    house.set(address="10.0.4.14")
    house.ask()
    house.now += timedelta(minutes=1)
    house.hear("refused", "10.9.9.9")
    told = against(house.why(order))["other_address"].details
    assert told == {"address": "10.9.9.9", "registered": "10.0.4.14"}
    house.set(address="10.0.4.14, 10.9.9.9")
    assert house.why(order).seen


def test_a_list_that_was_asked_for_before_the_order_came_needs_a_refresh(house: House) -> None:
    house.ask()
    house.now += timedelta(minutes=5)
    order = house.register()
    assert "asked_before" in codes(house.why(order))
    house.now += timedelta(minutes=1)
    house.ask()
    assert "asked" in codes(house.why(order))
    house.store.write(lambda tx: store_worklist.note_delivery(tx, [order.steps[0].id], "XRAY_14"))
    assert "delivered" in codes(house.why(order))


def test_yesterday_s_question_for_today_is_asked_for_this_day(house: House) -> None:
    house.ask({"ScheduledProcedureStepStartDate": "2026.11.24"})
    house.now += timedelta(days=1)
    order = house.register(TEN + timedelta(days=1))
    assert house.why(order).seen
    house.ask({"ScheduledProcedureStepStartDate": "20261124-20261125"})
    house.now += timedelta(days=3)
    assert against(house.why(order))["key_time"].details["asked"] == "20261127-20261128"


@pytest.mark.parametrize("key", ["20260230", "x", "-", "99991231", ""])
def test_a_date_that_cannot_be_moved_stays(key: str) -> None:
    query = dataset(ScheduledProcedureStepSequence=[dataset(ScheduledProcedureStepStartDate=key)])
    moved = explain.moved_to_today(query, NOW, NOW + timedelta(days=1), ZONE)
    assert str(moved.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate or "") == key


def test_letters_that_a_device_cannot_be_told_are_said(house: House) -> None:
    order = house.register(comment="№ 5")
    house.ask()
    assert "letters_whole" in codes(house.why(order))
    house.set(longest=8)
    house.ask(RequestedProcedureDescription="")
    [told] = [each for each in house.why(order).results if each.code == "letters_altered"]
    assert told.details["cut"] != "0"
    assert house.why(order).seen


def test_a_usual_query_brings_everything_and_may_name_a_day() -> None:
    asked = query.parse(explain.typical_query(date(2026, 11, 24), "ISO_IR 144"))
    assert asked.key("ScheduledProcedureStepStartDate") == "20261124"
    assert asked.charset == "ISO_IR 144"
    assert asked.unsupported == ()
    assert not query.parse(explain.typical_query()).step_keys


def test_the_verdicts_sum_up_to_what_the_service_answers(house: House) -> None:
    """Devices, orders and queries of many kinds, in every combination that a fixed seed picks."""
    chance = random.Random(3)
    made = [
        house.register(TEN + timedelta(days=days, hours=hours), station_ae_titles=stations)
        for days, hours in ((0, 0), (0, 5), (1, 0), (40, 0))
        for stations in (("XRAY_14",), ("FLG_12",), ("XRAY_14", "FLG_12"))
    ]
    for count, (order, ae_title) in enumerate(zip(made[::2], itertools.cycle(("XRAY_14", "FLG_12")), strict=False)):
        step = factory.performed(f"1.2.{count}", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
        actor = replace(XRAY, name=ae_title)
        house.store.write(
            performed_steps.start, replace(step, ae_title=ae_title), factory.message(f"{count}"), actor, CLINIC
        )
        if count % 2:
            change = PerformedChange(state=PerformedState.COMPLETED)
            house.store.write(
                performed_steps.change,
                performed_steps.ChangeRequest(f"1.2.{count}", change, factory.message(f"f{count}")),
                actor,
                CLINIC,
            )
    number, uid = made[0].accession_number, made[2].study_instance_uid
    keys: list[tuple[str, list[str]]] = [
        ("ScheduledStationAETitle", ["", "", "", "XRAY_14", "FLG*", "DR"]),
        ("Modality", ["", "", "DX", "CR", "D?"]),
        (
            "ScheduledProcedureStepStartDate",
            ["", "", "20261124", "20261124-20261125", "20261125-", "2026.11.24", "2026"],
        ),
        ("ScheduledProcedureStepStartTime", ["", "", "", "", "1000", "0900-1100", "-12"]),
        ("ScheduledProcedureStepStatus", ["", "", "", "SCHEDULED", "STARTED"]),
    ]
    tops: list[tuple[str, list[str]]] = [
        ("AccessionNumber", ["", "", "", "", number, "K*"]),
        ("StudyInstanceUID", ["", "", "", "", "", uid]),
        ("RequestedProcedurePriority", ["", "", "", "ROUTINE", "STAT"]),
    ]
    seen = 0
    for _ in range(60):
        ae_title = chance.choice(["XRAY_14", "FLG_12"])
        house.now = NOW + timedelta(days=chance.choice([0, 0, 1, 2]), hours=chance.choice([0, 4]))
        house.set(
            ae_title,
            own_only=chance.random() < 0.5,
            days_before=chance.choice([0, 1, 3]),
            days_after=chance.choice([0, 1, 60]),
            closed_hours=chance.choice([0, 2, 200]),
        )
        step_keys = {keyword: chance.choice(values) for keyword, values in keys}
        house.ask(step_keys, ae_title, **{keyword: chance.choice(values) for keyword, values in tops})
        with house.store.read() as reader:
            asked = explain.latest_query(reader, ae_title)
            assert asked
            try:
                query.parse(asked.query)
            except MalformedKey:
                expected: list[int] = []
            else:
                expected = sorted(house.serve(ae_title))
        said = sorted(order.id for order in made if house.why(order, ae_title).seen)
        assert said == expected, (ae_title, step_keys)
        seen += len(said)
    assert seen > 30  # the comparison was about something
