"""A step whose device has died is ended after its hours, unless the clock cannot be trusted; and it may come back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.app.clock import ClockWatch
from broker.domain.orders import Order, OrderState
from broker.domain.studies.performed import MppsOutcome, PerformedChange, PerformedState, StepReference
from broker.store.database import Store
from broker.store.queries import schedule
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps
from broker.workflow.studies.stale_steps import StaleStepJob
from tests.support import factory
from tests.support.clock import NOW, ZONE
from tests.support.factory import CLINIC, REGISTRAR, XRAY, message, performed

DONE = PerformedChange(PerformedState.COMPLETED, images=2)


@dataclass
class Time:
    """A wall clock that somebody may set, and the time that really passes."""

    wall: datetime = NOW
    passed: float = 0.0

    def pass_by(self, **delta: float) -> None:
        self.wall += timedelta(**delta)
        self.passed += timedelta(**delta).total_seconds()

    def watch(self) -> ClockWatch:
        return ClockWatch(lambda: self.wall.timestamp(), lambda: self.passed)


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: Path, time: Time) -> Iterator[Store]:
    opened = factory.open_store(tmp_path / "worklist.sqlite", clock=lambda: time.wall)
    yield opened
    opened.close()


@pytest.fixture
def abandoned(store: Store, time: Time) -> StaleStepJob:
    return StaleStepJob(store, CLINIC, time.watch().times_set)


@pytest.fixture
def order(store: Store) -> Order:
    made = store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
    store.write(
        performed_steps.start, performed("1.2", StepReference(made.study_instance_uid)), message("c"), XRAY, CLINIC
    )
    return made


def state(store: Store, order: Order) -> OrderState:
    with store.read() as reader:
        found = orders.get(reader, order.id)
    assert found is not None
    return found.state


def finish(store: Store, change: PerformedChange = DONE, digest: str = "final") -> MppsOutcome:
    return store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2", change, message(digest)), XRAY, CLINIC
    ).outcome


def test_a_step_is_ended_after_the_hours_of_its_device(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time
) -> None:
    time.pass_by(hours=11, minutes=59)
    assert abandoned.run() == 0
    time.pass_by(minutes=1)
    assert abandoned.run() == 1
    assert abandoned.run() == 0
    assert state(store, order) is OrderState.DISCONTINUED
    with store.read() as reader:
        [step] = schedule.performed_steps(reader, [order.id])[order.id]
        line = reader.one("SELECT * FROM audit ORDER BY seq DESC LIMIT 1")
        [note] = devices.notes(reader)["XRAY_14"]
    assert (step.state, step.provisional) == (PerformedState.DISCONTINUED, True)
    assert line is not None
    assert (line["action"], line["actor_kind"], line["order_id"]) == ("expire", "system", order.id)
    assert note.kind == "mpps_unfinished"


def test_every_device_has_its_own_hours_and_an_unknown_one_the_default(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time
) -> None:
    store.write(lambda tx: devices.put(tx, replace(factory.DEVICES[0], mpps_hours=2)))
    stranger = replace(XRAY, name="STRANGER")
    store.write(performed_steps.start, performed("1.3", ae_title="STRANGER"), message("s"), stranger, CLINIC)
    time.pass_by(hours=2)
    assert abandoned.run() == 1
    time.pass_by(hours=10)
    assert abandoned.run() == 1


def test_a_step_that_its_device_still_reports_does_not_expire(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time
) -> None:
    time.pass_by(hours=11)
    store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2", PerformedChange(), message("p")), XRAY, CLINIC
    )
    time.pass_by(hours=11)
    assert abandoned.run() == 0
    assert finish(store) is MppsOutcome.ACCEPTED
    time.pass_by(hours=13)
    assert abandoned.run() == 0
    assert state(store, order) is OrderState.COMPLETED


def test_a_device_that_comes_back_has_the_last_word(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time
) -> None:
    time.pass_by(hours=12)
    abandoned.run()
    store.write(
        performed_steps.change, performed_steps.ChangeRequest("1.2", PerformedChange(), message("p")), XRAY, CLINIC
    )  # says nothing of a state
    assert state(store, order) is OrderState.DISCONTINUED
    assert finish(store) is MppsOutcome.ACCEPTED
    assert finish(store) is MppsOutcome.REPEATED
    assert state(store, order) is OrderState.COMPLETED
    assert finish(store, digest="other") is MppsOutcome.FINAL  # its own end is final
    with store.read() as reader:
        kinds = [row["kind"] for row in reader.rows("SELECT kind FROM outbox ORDER BY seq")]
    assert kinds == ["order", "images"]


def test_a_device_that_reports_after_the_order_was_rescheduled_is_believed(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time
) -> None:
    time.pass_by(hours=12)
    abandoned.run()
    with store.read() as reader:
        stopped = orders.get(reader, order.id)
    assert stopped is not None
    start = time.wall.astimezone(ZONE).replace(tzinfo=None)
    store.write(referrals.amend, order.id, stopped.revision, factory.draft(start=start), REGISTRAR, CLINIC)
    running = PerformedChange(PerformedState.IN_PROGRESS)
    store.write(performed_steps.change, performed_steps.ChangeRequest("1.2", running, message("p")), XRAY, CLINIC)
    assert state(store, order) is OrderState.IN_PROGRESS
    assert finish(store) is MppsOutcome.ACCEPTED
    assert state(store, order) is OrderState.COMPLETED


@pytest.mark.parametrize("set_by", [timedelta(days=400), timedelta(days=-20000)])
def test_setting_the_clock_ends_nothing(
    store: Store, order: Order, abandoned: StaleStepJob, time: Time, set_by: timedelta
) -> None:
    time.pass_by(minutes=5)
    assert abandoned.run() == 0
    time.wall += set_by  # a dead battery, and what mends it
    assert abandoned.run() == 0
    time.pass_by(minutes=5)
    assert abandoned.run() == 0
    time.wall -= set_by
    assert abandoned.run() == 0
    time.pass_by(hours=11, minutes=50)
    assert abandoned.run() == 0
    time.pass_by(minutes=10)
    assert abandoned.run() == 1  # hours that really passed since the clock was last set


def test_after_a_start_in_1970_nothing_is_ended(store: Store, order: Order, time: Time) -> None:
    time.wall = datetime(1970, 1, 1, tzinfo=UTC)
    again = StaleStepJob(store, CLINIC, time.watch().times_set)
    time.pass_by(hours=30)
    assert again.run() == 0
    assert state(store, order) is OrderState.IN_PROGRESS


def test_after_a_restart_the_hours_before_count(store: Store, order: Order, time: Time) -> None:
    time.pass_by(hours=12)
    assert StaleStepJob(store, CLINIC, time.watch().times_set).run() == 1
