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
from broker.domain.clinic.device_advice import Explanation, RuleResult
from broker.domain.clinic.devices import Device
from broker.domain.orders import Order
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.tables import devices, orders
from broker.store.tables import worklist as store_worklist
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from tests.support import factory
from tests.support.clock import ZONE
from tests.support.factory import CLINIC, REGISTRAR, XRAY

NOW = datetime(2026, 11, 24, 6, 47, tzinfo=UTC)  # 09:47 in the clinic
TEN = datetime(2026, 11, 24, 10, 0)


class Scene:
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
        self.note_contact("worklist", ae_title=ae_title)
        self.store.write(lambda tx: devices.keep_sample(tx, ae_title, "worklist", samples.mask(asked)))

    def note_contact(self, service: str, address: str = "10.0.4.14", ae_title: str = "XRAY_14") -> None:
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
def scene(tmp_path: Path) -> Any:
    made = Scene(tmp_path / "worklist.sqlite")
    yield made
    made.store.close()


def against(explained: Explanation) -> dict[str, RuleResult]:
    """Return the reasons against, by code."""
    return {each.code: each for each in explained.results if not each.ok and each.decides}


def codes(explained: Explanation) -> set[str]:
    return {each.code for each in explained.results}


def test_an_order_that_is_on_the_list_has_no_reason_against(scene: Scene) -> None:
    order = scene.register()
    scene.ask({"ScheduledStationAETitle": "XRAY_14", "ScheduledProcedureStepStartDate": "20261124", "Modality": "DX"})
    explained = scene.why(order)
    assert explained.seen
    assert against(explained) == {}
    assert {"registered", "asked", "open", "near", "key_station", "key_time", "key_modality"} <= codes(explained)
    assert scene.serve() == [order.id]


def test_a_device_that_never_asked_is_judged_by_a_usual_query(scene: Scene) -> None:
    explained = scene.why(scene.register())
    assert explained.seen
    assert explained.asked_at is None
    assert {"never_asked", "query_usual"} <= codes(explained)


def test_an_unknown_device_sees_nothing_unless_unknown_devices_are_served(scene: Scene) -> None:
    order = scene.register()
    assert "unknown_device" in against(scene.why(order, "NOBODY"))
    scene.store.write(lambda tx: devices.learn(tx, "US_7", "10.0.4.7"))
    assert "not_approved" in against(scene.why(order, "US_7"))
    scene.set("US_7", own_only=False, approved=False)
    assert scene.why(order, "US_7", learns=True).seen


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
def test_the_key_that_fails_is_named(scene: Scene, step: dict[str, str], code: str, asked: str, has: str) -> None:
    order = scene.register()
    scene.ask(step)
    if code == "key":  # whom it asks for is not kept
        assert "masked" in codes(scene.why(order))
        return
    explained = scene.why(order)
    assert not explained.seen
    assert list(against(explained)) == [code]
    assert (against(explained)[code].details["asked"], against(explained)[code].details["has"]) == (asked, has)
    assert scene.serve() == []


def test_a_number_of_another_order_is_named(scene: Scene) -> None:
    order = scene.register()
    scene.ask(AccessionNumber="K9")
    reported = against(scene.why(order))["key"].details
    assert reported == {"keyword": "AccessionNumber", "asked": "K9", "has": order.accession_number}


def test_a_name_of_question_marks_matches_no_patient_and_is_reported(scene: Scene) -> None:
    order = scene.register()
    scene.ask(PatientName="?????????")
    assert list(against(scene.why(order))) == ["undecodable"]
    assert scene.serve() == []


def test_the_requested_patient_is_not_stored_and_that_is_shown(scene: Scene) -> None:
    order = scene.register()
    scene.ask(PatientName="Иванов*", PatientID="5")
    explained = scene.why(order)
    [masked] = [each for each in explained.results if each.code == "masked"]
    assert masked.details["keys"] == "PatientName, PatientID"
    assert explained.seen


def test_a_malformed_key_is_named_as_the_service_names_it(scene: Scene) -> None:
    order = scene.register()
    scene.ask({"ScheduledProcedureStepStartDate": "20260230"})
    reported = against(scene.why(order))["malformed"]
    assert reported.key == "ScheduledProcedureStepStartDate"
    assert reported.details["comment"] == "not a date"


def test_another_device_s_order_is_seen_where_it_sees_all(scene: Scene) -> None:
    order = scene.register()
    scene.ask(ae_title="FLG_12")
    assert list(against(scene.why(order, "FLG_12"))) == ["planned_on_other"]
    scene.set("FLG_12", own_only=False)
    assert scene.why(order, "FLG_12").seen
    assert scene.serve("FLG_12") == [order.id]


def test_days_beyond_the_policy_are_named(scene: Scene) -> None:
    late, order = scene.register(TEN + timedelta(days=31)), scene.register()
    scene.ask()
    assert against(scene.why(late))["ahead"].details["days"] == "30"
    scene.now += timedelta(days=2)
    assert against(scene.why(order))["past"].details["days"] == "1"


def test_states_are_named_and_a_completed_one_lingers_as_set(scene: Scene) -> None:
    order, other = scene.register(), scene.register(TEN + timedelta(minutes=10))
    scene.ask()
    step = factory.performed("1.2.3", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
    scene.store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    assert "started" in codes(scene.why(order))
    assert scene.why(order).seen
    change = PerformedChange(state=PerformedState.COMPLETED)
    scene.store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2.3", change, factory.message("2")), XRAY, CLINIC
    )
    assert list(against(scene.why(order))) == ["completed"]
    scene.set(closed_hours=2)
    assert scene.why(order).seen
    assert sorted(scene.serve()) == [order.id, other.id]
    scene.now += timedelta(hours=3)
    assert list(against(scene.why(order))) == ["completed"]
    scene.store.write(referrals.cancel, other.id, other.revision, "", REGISTRAR, CLINIC)
    assert list(against(scene.why(other))) == ["cancelled"]


def test_a_step_started_by_another_station_is_explained_to_the_others(scene: Scene) -> None:
    order = scene.register(station_ae_titles=("XRAY_14", "FLG_12"))
    for ae_title in ("XRAY_14", "FLG_12"):
        scene.ask(ae_title=ae_title)
    step = factory.performed("1.2.3", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
    scene.store.write(performed_steps.start, step, factory.message("1"), XRAY, CLINIC)
    assert scene.why(order).seen
    assert against(scene.why(order, "FLG_12"))["started_on_other"].details["stations"] == "XRAY_14"
    assert (scene.serve(), scene.serve("FLG_12")) == ([order.id], [])


def test_a_rejected_device_is_shown_with_its_address(scene: Scene) -> None:
    order = scene.register()
    scene.set(address="10.0.4.14")
    scene.ask()
    scene.now += timedelta(minutes=1)
    scene.note_contact("refused", "10.9.9.9")
    reported = against(scene.why(order))["other_address"].details
    assert reported == {"address": "10.9.9.9", "registered": "10.0.4.14"}
    scene.set(address="10.0.4.14, 10.9.9.9")
    assert scene.why(order).seen


def test_a_list_that_was_asked_for_before_the_order_came_needs_a_refresh(scene: Scene) -> None:
    scene.ask()
    scene.now += timedelta(minutes=5)
    order = scene.register()
    assert "asked_before" in codes(scene.why(order))
    scene.now += timedelta(minutes=1)
    scene.ask()
    assert "asked" in codes(scene.why(order))
    scene.store.write(lambda tx: store_worklist.note_delivery(tx, [order.steps[0].id], "XRAY_14"))
    assert "delivered" in codes(scene.why(order))


def test_yesterday_s_question_for_today_is_asked_for_this_day(scene: Scene) -> None:
    scene.ask({"ScheduledProcedureStepStartDate": "2026.11.24"})
    scene.now += timedelta(days=1)
    order = scene.register(TEN + timedelta(days=1))
    assert scene.why(order).seen
    scene.ask({"ScheduledProcedureStepStartDate": "20261124-20261125"})
    scene.now += timedelta(days=3)
    assert against(scene.why(order))["key_time"].details["asked"] == "20261127-20261128"


@pytest.mark.parametrize("key", ["20260230", "x", "-", "99991231", ""])
def test_a_date_that_cannot_be_moved_stays(key: str) -> None:
    query = dataset(ScheduledProcedureStepSequence=[dataset(ScheduledProcedureStepStartDate=key)])
    moved = explain.moved_to_today(query, NOW, NOW + timedelta(days=1), ZONE)
    assert str(moved.ScheduledProcedureStepSequence[0].ScheduledProcedureStepStartDate or "") == key


def test_characters_that_cannot_be_sent_to_a_device_are_reported(scene: Scene) -> None:
    order = scene.register(comment="№ 5")
    scene.ask()
    assert "letters_whole" in codes(scene.why(order))
    scene.set(longest=8)
    scene.ask(RequestedProcedureDescription="")
    [reported] = [each for each in scene.why(order).results if each.code == "letters_altered"]
    assert reported.details["cut"] != "0"
    assert scene.why(order).seen


def test_a_usual_query_brings_everything_and_may_name_a_day() -> None:
    asked = query.parse(explain.typical_query(date(2026, 11, 24), "ISO_IR 144"))
    assert asked.key("ScheduledProcedureStepStartDate") == "20261124"
    assert asked.charset == "ISO_IR 144"
    assert asked.unsupported == ()
    assert not query.parse(explain.typical_query()).step_keys


@pytest.mark.slow
def test_the_verdicts_sum_up_to_what_the_service_answers(scene: Scene) -> None:
    """Devices, orders and queries of many kinds, in every combination that a fixed seed picks."""
    chance = random.Random(3)
    made = [
        scene.register(TEN + timedelta(days=days, hours=hours), station_ae_titles=stations)
        for days, hours in ((0, 0), (0, 5), (1, 0), (40, 0))
        for stations in (("XRAY_14",), ("FLG_12",), ("XRAY_14", "FLG_12"))
    ]
    for count, (order, ae_title) in enumerate(zip(made[::2], itertools.cycle(("XRAY_14", "FLG_12")), strict=False)):
        step = factory.performed(f"1.2.{count}", StepReference(study_instance_uid=order.study_instance_uid), start=TEN)
        actor = replace(XRAY, name=ae_title)
        scene.store.write(
            performed_steps.start, replace(step, ae_title=ae_title), factory.message(f"{count}"), actor, CLINIC
        )
        if count % 2:
            change = PerformedChange(state=PerformedState.COMPLETED)
            scene.store.write(
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
        scene.now = NOW + timedelta(days=chance.choice([0, 0, 1, 2]), hours=chance.choice([0, 4]))
        scene.set(
            ae_title,
            own_only=chance.random() < 0.5,
            days_before=chance.choice([0, 1, 3]),
            days_after=chance.choice([0, 1, 60]),
            closed_hours=chance.choice([0, 2, 200]),
        )
        step_keys = {keyword: chance.choice(values) for keyword, values in keys}
        scene.ask(step_keys, ae_title, **{keyword: chance.choice(values) for keyword, values in tops})
        with scene.store.read() as reader:
            asked = explain.latest_query(reader, ae_title)
            assert asked
            try:
                query.parse(asked.query)
            except MalformedKey:
                expected: list[int] = []
            else:
                expected = sorted(scene.serve(ae_title))
        stated = sorted(order.id for order in made if scene.why(order, ae_title).seen)
        assert stated == expected, (ae_title, step_keys)
        seen += len(stated)
    assert seen > 30  # the comparison was about something
