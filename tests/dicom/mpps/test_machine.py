"""Two devices report whatever they like, in any order, more than once: model, database and outbox stay one.

The model below knows the rules in its own words; after every step everything in the database is compared with it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from pydicom.dataset import Dataset

from broker.dicom.devices.registry import Caller
from broker.dicom.statuses import Status
from broker.domain.clinic.devices import Device
from broker.domain.errors import WrongState
from broker.domain.studies.performed import WRONG_ENTRY
from broker.store.database import Tx
from broker.store.tables import devices, orders
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from broker.workflow.studies.stale_steps import ACTOR
from tests.support import factory
from tests.support.factory import CLINIC, REGISTRAR
from tests.support.modality import change, code, create, creation, ending, scheduled, strict

DEVICES = (Caller("XRAY_14", "10.0.0.1"), Caller("FLG_12", "10.0.0.2"))
UIDS = ("1.2.1", "1.2.2", "1.2.3")
RUNNING, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"
BEGUN = {RUNNING: "in_progress", COMPLETED: "completed", DISCONTINUED: "discontinued"}
STEP_STATES = {
    "scheduled": "SCHEDULED",
    "cancelled": "CANCELLED",
    "in_progress": "STARTED",
    "completed": "COMPLETED",
    "discontinued": "DISCONTINUED",
}
REASON = "PerformedProcedureStepDiscontinuationReasonCodeSequence"


@dataclass
class Step:
    """A performed step as the model knows it."""

    created_by: tuple[str, str]
    state: str = RUNNING
    orders: set[int] = field(default_factory=set)
    ended_by_us: bool = False
    last: str = ""
    accepted: set[tuple[str, str]] = field(default_factory=set)


@dataclass
class Waiting:
    """An order as the model knows it."""

    state: str = "scheduled"
    cancelled: bool = False
    images: bool = False  # a message that the images are made is queued
    ordered: bool = True  # … and one that orders it: what is cancelled again, and was not told yet, need not be
    by_hand: set[str] = field(default_factory=set)


def _act_for_others(device: Device, tx: Tx) -> None:
    devices.put(tx, replace(device, for_others=True))


class Devices(RuleBasedStateMachine):
    """What may happen between two devices, the registrar, the program, and the line in between."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="mpps-"))
        self.store = factory.open_store(self.directory / "worklist.sqlite")
        for each in factory.DEVICES:  # what those do that may not act for others, waits for a person besides
            self.store.write(partial(_act_for_others, each))
        self.steps: dict[str, Step] = {}
        self.orders: dict[int, Waiting] = {}
        self.studies: dict[int, str] = {}
        self.sent: list[tuple[str, str, str]] = []  # uid, operation, outcome of every message

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.directory)

    @initialize()
    def begin(self) -> None:
        strict(self.store)  # one of the two is held to the standard, which it keeps
        self.register()

    # ---- people ----

    @rule(data=st.data())
    def something_happens(self, data: st.DataObject) -> None:
        """Let one thing happen.

        One rule with weights of its own: left to itself hypothesis leaves whole rules out of most examples, and a
        device that never ends anything proves nothing.
        """
        happening = data.draw(st.sampled_from(_HAPPENINGS), label="what")
        getattr(self, happening)(*([data] if happening != "register" else []))

    def register(self) -> None:
        """Register a referral; a few are enough."""
        if len(self.orders) == 2:
            return
        made = self.store.write(referrals.register, factory.draft(), REGISTRAR, CLINIC)
        self.orders[made.id], self.studies[made.id] = Waiting(), made.study_instance_uid

    def cancel(self, data: st.DataObject) -> None:
        """Cancel a referral, where that is allowed."""
        id, order = self._any_order(data)
        allowed = order.state in ("scheduled", "discontinued")
        self._try(allowed, lambda: self.store.write(referrals.cancel, id, self._revision(id), "", REGISTRAR, CLINIC))
        if allowed:
            order.state, order.cancelled = "cancelled", True

    def reschedule(self, data: st.DataObject) -> None:
        """Plan an abandoned study anew."""
        id, order = self._any_order(data)
        if order.state == "discontinued":
            self.store.write(referrals.amend, id, self._revision(id), factory.draft(), REGISTRAR, CLINIC)
            order.state, order.cancelled = "scheduled", False

    def link(self, data: st.DataObject) -> None:
        """Let a person say whose a walk-in's study is."""
        id, _ = self._any_order(data)
        if (uid := self._any_step(data)) is None:
            return
        step = self.steps[uid]
        self._try(not step.orders, lambda: self.store.write(step_links.link, uid, id, REGISTRAR, CLINIC))
        if not step.orders:
            step.orders.add(id)
            self._settle([id])

    def unlink(self, data: st.DataObject) -> None:
        """Let a person take a link off."""
        id, order = self._any_order(data)
        if (uid := self._any_step(data)) is None:
            return
        step = self.steps[uid]
        linked = id in step.orders
        self._try(linked, lambda: self.store.write(step_links.unlink, uid, id, REGISTRAR, CLINIC))
        if linked:
            step.orders.discard(id)
            self._take_away(order, self._states(id))

    def close(self, data: st.DataObject) -> None:
        """Let a person say that it was made."""
        id, order = self._any_order(data)
        allowed = order.state in ("scheduled", "in_progress", "discontinued")
        self._try(allowed, lambda: self.store.write(step_links.close, id, self._revision(id), REGISTRAR, CLINIC))
        if not allowed:
            return
        running = [step for step in self.steps.values() if id in step.orders and step.state == RUNNING]
        touched = {id}
        for step in running:
            step.state, step.ended_by_us = COMPLETED, True
            touched |= step.orders
        if not running:
            with self.store.read() as reader:
                made = reader.value("SELECT sop_instance_uid FROM performed_step ORDER BY id DESC LIMIT 1")
            order.by_hand.add(made)
        self._settle(touched)

    def undo_closing(self, data: st.DataObject) -> None:
        """Let a person take back that it was made."""
        id, order = self._any_order(data)
        for uid in sorted(order.by_hand):
            self.store.write(step_links.unlink, uid, id, REGISTRAR, CLINIC)
            order.by_hand.discard(uid)
            self._take_away(order, self._states(id))

    # ---- the program ----

    def expire(self, data: st.DataObject) -> None:
        """Let the program end a step whose device has died."""
        uid = data.draw(st.sampled_from(UIDS), label="uid")
        step = self.steps.get(uid)
        running = step is not None and step.state == RUNNING
        late = self.store.clock() + timedelta(seconds=1)
        assert self.store.write(performed_steps.expire_step, uid, late, ACTOR, CLINIC) == running
        if step is not None and running:
            step.state, step.ended_by_us = DISCONTINUED, True
            self._settle(step.orders)

    # ---- devices ----

    def create(self, data: st.DataObject) -> None:
        """Let a device begin a step for some orders, or for none, perhaps twice over."""
        uid, device = data.draw(st.sampled_from(UIDS), label="uid"), data.draw(st.sampled_from(DEVICES))
        ids = data.draw(st.lists(st.sampled_from(sorted(self.orders)), unique=True, max_size=2), label="orders")
        shared, content, times = data.draw(st.booleans()), data.draw(_CONTENTS), data.draw(_TIMES)
        ds = self._creation(ids, shared, content)
        stated = json.dumps([ids, shared and len(ids) > 1, content])
        for _ in range(times):
            step = self.steps.get(uid)
            if step is None:
                expected, outcome = Status.SUCCESS, "accepted"
                self.steps[uid] = Step((device.ae_title, stated), orders=set(ids))
                self._settle(ids)
            elif step.created_by == (device.ae_title, stated):
                expected, outcome = Status.SUCCESS, "repeated"
            else:
                expected, outcome = Status.DUPLICATE_SOP_INSTANCE, "duplicate"
            self.sent.append((uid, "N-CREATE", outcome))
            answered = create(self.store, ds, uid, device)
            assert answered.Status == expected, (answered, outcome)

    def change(self, data: st.DataObject) -> None:
        """Let a device tell of a step, whether or not it was begun, has ended, or was told of so before."""
        uid = data.draw(st.sampled_from([*sorted(self.steps) * 4, "9.9.9"]), label="uid")
        device, state = data.draw(st.sampled_from(DEVICES)), data.draw(_STATES, label="state")
        content, times = data.draw(_CONTENTS), data.draw(_TIMES)
        stated = f"{state} {content}"
        for _ in range(times):
            expected, outcome = self._judged(uid, device, state, stated)
            self.sent.append((uid, "N-SET", outcome))
            answered = change(self.store, _change(state, content), uid, device)
            assert answered.Status == expected, (answered, outcome)

    def _judged(self, uid: str, device: Caller, state: str, stated: str) -> tuple[Status, str]:
        step = self.steps.get(uid)
        if step is None:
            return Status.NO_SUCH_SOP_INSTANCE, "unknown"
        if step.last == stated:
            return Status.SUCCESS, "repeated"
        if step.state != RUNNING and not step.ended_by_us:
            if (device.ae_title, stated) in step.accepted:
                return Status.SUCCESS, "repeated"
            return Status.PROCESSING_FAILURE, "final"
        step.last = stated
        step.accepted.add((device.ae_title, stated))
        if state:
            step.state = DISCONTINUED if state == WRONG_ENTRY else state
            # Another device's word is believed until the one that began the step says otherwise.
            step.ended_by_us = state != RUNNING and device.ae_title != step.created_by[0]
        touched = step.orders
        if state == WRONG_ENTRY:
            step.orders = set()
            for id in touched:
                left = self._states(id)
                self._take_away(self.orders[id], left if {RUNNING, COMPLETED} & set(left) else [])
        else:
            self._settle(touched)
        return Status.SUCCESS, "accepted"

    def _creation(self, ids: list[int], shared: bool, content: str) -> Dataset:
        with self.store.read() as reader:
            numbers = [order.accession_number for order in orders.get_many(reader, ids)]
        studies = [self.studies[id] for id in ids]
        if shared and len(ids) > 1:  # all items bear the first order's study
            items = [scheduled(studies[0], AccessionNumber=number) for number in numbers]
        else:
            items = [scheduled(study) for study in studies] or [scheduled("1.9.9")]
        return creation(ScheduledStepAttributesSequence=items, StudyID=content)

    # ---- the model's rules ----

    def _states(self, id: int) -> list[str]:
        by_hand = [COMPLETED] * len(self.orders[id].by_hand)
        return [step.state for step in self.steps.values() if id in step.orders] + by_hand

    def _settle(self, ids: Iterable[int]) -> None:
        for id in ids:
            order, states = self.orders[id], self._states(id)
            order.state = next(BEGUN[state] for state in (RUNNING, COMPLETED, DISCONTINUED) if state in states)
            order.images = (order.images or order.state == "completed") and COMPLETED in states
            order.ordered = True

    def _take_away(self, order: Waiting, left: list[str]) -> None:
        """Follow what becomes of an order when something that was done for it was not."""
        if order.state in ("scheduled", "cancelled"):
            return
        idle = "cancelled" if order.cancelled else "scheduled"
        order.state = next((BEGUN[state] for state in (RUNNING, COMPLETED, DISCONTINUED) if state in left), idle)
        order.images = order.state == "completed"
        order.ordered = order.ordered and order.state != "cancelled"

    # ---- what must be true after every step ----

    @invariant()
    def the_database_is_the_model(self) -> None:
        """Compare everything."""
        with self.store.read() as reader:
            found = {order.id: order for order in orders.get_many(reader, list(self.orders))}
            steps = reader.rows("SELECT * FROM performed_step WHERE source = 'modality'")
            links = reader.rows(
                "SELECT p.sop_instance_uid AS uid, s.order_id AS id FROM performed_step_link l"
                " JOIN performed_step p ON p.id = l.performed_step_id"
                " JOIN scheduled_step s ON s.id = l.scheduled_step_id"
            )
            messages = reader.rows(
                "SELECT sop_instance_uid, operation, outcome FROM performed_step_message ORDER BY id"
            )
            started = reader.rows(
                "SELECT order_id, details, count(*) AS n FROM audit WHERE action = 'start' GROUP BY 1, 2"
            )
        assert {id: str(order.state) for id, order in found.items()} == {
            id: order.state for id, order in self.orders.items()
        }
        for order in found.values():
            assert [str(step.state) for step in order.steps] == [STEP_STATES[str(order.state)]]
        assert {row["sop_instance_uid"]: (row["state"], bool(row["provisional"])) for row in steps} == {
            uid: (step.state, step.ended_by_us) for uid, step in self.steps.items()
        }
        assert {(row["uid"], row["id"]) for row in links} == {
            *((uid, id) for uid, step in self.steps.items() for id in step.orders),
            *((uid, id) for id, order in self.orders.items() for uid in order.by_hand),
        }
        assert [tuple(row.values()) for row in messages] == self.sent
        assert all(row["n"] == 1 for row in started)  # one beginning is one event, however often it is told

    @invariant()
    def the_outbox_is_the_model(self) -> None:
        """Every completed order tells of its images once, and nothing tells of what was taken back."""
        with self.store.read() as reader:
            rows = reader.rows(
                "SELECT order_id, kind, count(*) AS n FROM outbox WHERE state <> 'dropped' GROUP BY 1, 2"
            )
        reported = {(row["order_id"], row["kind"]): row["n"] for row in rows}
        for id, order in self.orders.items():
            assert reported.get((id, "order"), 0) == int(order.ordered)
            assert reported.get((id, "images"), 0) == int(order.images)
            assert order.images or order.state != "completed"

    # ---- helpers ----

    def _any_order(self, data: st.DataObject) -> tuple[int, Waiting]:
        id = data.draw(st.sampled_from(sorted(self.orders)))
        return id, self.orders[id]

    def _any_step(self, data: st.DataObject) -> str | None:
        return data.draw(st.sampled_from(sorted(self.steps)), label="step") if self.steps else None

    def _revision(self, id: int) -> int:
        with self.store.read() as reader:
            [order] = orders.get_many(reader, [id])
        return order.revision

    def _try(self, allowed: bool, verb: Any) -> None:
        if allowed:
            verb()
        else:
            with pytest.raises(WrongState):
                verb()


_HAPPENINGS = (
    "register",
    *("create",) * 6,
    *("change",) * 12,
    *("cancel", "reschedule", "link", "unlink", "unlink", "close", "undo_closing", "expire"),
)
_STATES = st.sampled_from(("", "", RUNNING, COMPLETED, DISCONTINUED, WRONG_ENTRY))
_CONTENTS, _TIMES = st.sampled_from(("a", "b")), st.integers(1, 2)


def _change(state: str, content: str) -> Dataset:
    if state in (COMPLETED, DISCONTINUED, WRONG_ENTRY):
        reason = [code(WRONG_ENTRY, "Incorrect worklist entry selected")] if state == WRONG_ENTRY else None
        status = DISCONTINUED if state == WRONG_ENTRY else state
        return ending(status, PerformedProcedureStepDescription=content, **{REASON: reason})
    ds = Dataset()
    ds.PerformedProcedureStepDescription = content
    if state:
        ds.PerformedProcedureStepStatus = state
    return ds


def run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Devices,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.slow
def test_whatever_two_devices_report_model_database_and_outbox_are_one() -> None:
    run(examples=60, steps=30)


@pytest.mark.slow
def test_however_long_they_go_on() -> None:
    run(examples=250, steps=60)
