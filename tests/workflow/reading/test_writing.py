"""While one doctor writes a report nobody else does, and what was written is lost for none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker.domain.actors import Actor
from broker.domain.errors import Forbidden, NotFound, Occupied, WrongState
from broker.domain.orders import Order
from broker.domain.reading.leases import Lease, LeasePurpose
from broker.domain.reading.reports import ReportChange
from broker.store.tables import accounts
from broker.store.tables.reading import leases
from broker.workflow.reading import kept_texts, writing
from broker.workflow.reading import reads as reading
from broker.workflow.reading import reports as written
from broker.workflow.reading.reports import ReportText, Revision
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.reading.test_reads import ADMIN, ANNA, BORIS, VERA, Room, text

LEASE = timedelta(minutes=CLINIC.reading.lease_minutes)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "worklist.sqlite")
    for who in (ANNA, BORIS):
        made.store.write(accounts.add, who.name, who.title, who.roles, "hash")
    yield made
    made.store.close()


@pytest.fixture
def order(room: Room) -> Order:
    return room.study(procedure_code="WLB-HAND")  # read once


def lease_of(room: Room, order: Order) -> Lease | None:
    with room.store.read() as reader:
        return leases.of_order(reader, order.id, room.clock.now)


def own_texts(room: Room, who: Actor, order: Order) -> list[ReportText]:
    with room.store.read() as reader:
        return [ReportText(**each.text) for each in kept_texts.of_order(reader, order.id, who)]


def test_who_saves_writes_and_nobody_else_saves_or_signs(room: Room, order: Order) -> None:
    began = room.clock.now
    saved = room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    assert lease_of(room, order) == Lease(order.id, LeasePurpose.REPORT, "anna", "Anna А. Б.", began, began + LEASE)
    for call in (written.save_report, written.sign):
        with pytest.raises(Occupied):
            room.store.write(call, order.id, saved.revision, text(BORIS), BORIS, CLINIC)
    with pytest.raises(Occupied):
        room.store.write(writing.begin, order.id, BORIS, CLINIC)


def test_two_windows_of_a_doctor_share_the_lease_and_every_save_prolongs_it(room: Room, order: Order) -> None:
    began = room.clock.now
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    room.clock.now += timedelta(minutes=10)
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    saved = room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.store.write(written.save_report, order.id, saved.revision, ReportText("Ещё"), ANNA, CLINIC)
    lease = lease_of(room, order)
    assert lease is not None
    assert (lease.since, lease.until) == (began, began + timedelta(minutes=10) + LEASE)


def test_a_lease_ends_by_itself_and_who_goes_on_takes_no_text_away(room: Room, order: Order) -> None:
    saved = room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.clock.now += LEASE
    assert lease_of(room, order) is None
    taken = room.store.write(written.save_report, order.id, saved.revision, text(BORIS), BORIS, CLINIC)
    assert taken.author == "boris"
    assert own_texts(room, ANNA, order) == [text(ANNA)]
    assert own_texts(room, BORIS, order) == []
    with pytest.raises(Occupied):
        room.store.write(written.save_report, order.id, taken.revision, text(ANNA), ANNA, CLINIC)


def test_who_signs_another_text_than_the_draft_takes_no_text_away_either(room: Room, order: Order) -> None:
    saved = room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.clock.now += LEASE
    room.store.write(written.sign, order.id, saved.revision, text(BORIS), BORIS, CLINIC)
    assert own_texts(room, ANNA, order) == [text(ANNA)]


def test_who_signs_the_very_draft_of_another_leaves_nothing_behind(room: Room, order: Order) -> None:
    saved = room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.clock.now += LEASE
    room.store.write(written.sign, order.id, saved.revision, text(ANNA), BORIS, CLINIC)
    assert own_texts(room, ANNA, order) == []


def test_what_could_not_be_saved_is_set_aside_each_text_once_and_until_its_doctor_drops_it(
    room: Room, order: Order
) -> None:
    for said in ("раз", "два", "раз"):
        room.store.write(kept_texts.set_aside, order.id, asdict(ReportText(said)), ANNA)
    assert own_texts(room, ANNA, order) == [ReportText("два"), ReportText("раз")]
    room.store.write(kept_texts.drop, order.id, ANNA)
    assert own_texts(room, ANNA, order) == []
    with pytest.raises(Forbidden):
        room.store.write(kept_texts.set_aside, order.id, asdict(ReportText("раз")), REGISTRAR)


def test_leaving_and_signing_end_a_lease(room: Room, order: Order) -> None:
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    room.store.write(writing.leave, order.id, BORIS)
    assert lease_of(room, order) is not None
    room.store.write(writing.leave, order.id, ANNA)
    assert lease_of(room, order) is None
    room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.store.write(written.sign, order.id, 1, text(ANNA), ANNA, CLINIC)
    assert lease_of(room, order) is None


def test_an_administrator_ends_the_lease_of_who_does_not_come_back(room: Room, order: Order) -> None:
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    with pytest.raises(Forbidden):
        room.store.write(reading.free_lease, order.id, BORIS)
    room.store.write(reading.free_lease, order.id, ADMIN)
    room.store.write(writing.begin, order.id, BORIS, CLINIC)


def test_a_new_version_is_signed_by_who_writes_it(room: Room, order: Order) -> None:
    room.store.write(written.sign, order.id, 0, text(ANNA), ANNA, CLINIC)
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    addition = Revision(ReportChange.ADDITION, "контроль")
    with pytest.raises(Occupied):
        room.store.write(written.revise, order.id, 1, addition, BORIS, CLINIC)
    room.store.write(written.revise, order.id, 1, addition, ANNA, CLINIC)
    room.store.write(written.revise, order.id, 2, addition, BORIS, CLINIC)


def test_who_writes_a_report_keeps_a_session_from_reading_the_study(room: Room, order: Order) -> None:
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    with pytest.raises(Occupied):
        room.open(order, BORIS)
    assert issubclass(Occupied, WrongState)  # a session goes on with the next study


def test_only_doctors_write_and_only_about_what_there_is(room: Room, order: Order) -> None:
    with pytest.raises(Forbidden):
        room.store.write(writing.begin, order.id, REGISTRAR, CLINIC)
    with pytest.raises(NotFound):
        room.store.write(writing.begin, 999, ANNA, CLINIC)


def test_two_people_may_write_different_things_about_one_study(room: Room, order: Order) -> None:
    room.store.write(writing.begin, order.id, ANNA, CLINIC)
    room.store.write(writing.begin, order.id, BORIS, CLINIC, LeasePurpose.OVER_READ)
    room.store.write(writing.leave, order.id, BORIS, LeasePurpose.OVER_READ)
    lease = lease_of(room, order)
    assert lease is not None
    assert lease == replace(lease, reader="anna")


def test_what_one_had_begun_before_two_read_it_stays_with_them(room: Room, order: Order) -> None:
    room.store.write(written.save_report, order.id, 0, text(VERA), VERA, CLINIC)
    room.store.write(writing.leave, order.id, VERA)
    room.store.write(accounts.add, VERA.name, VERA.title, VERA.roles, "hash")
    room.store.write(reading.set_double, frozenset({"WLB-HAND"}), ADMIN)
    for who in (ANNA, BORIS):
        room.give(order, who)
        room.later()
    assert room.report(order) is not None
    assert own_texts(room, VERA, order) == [text(VERA)]
