"""Two readers who differ decide together where no third doctor may: one writes, the other confirms, both are named."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from broker.documents import report_pdf
from broker.domain.actors import Actor
from broker.domain.errors import Forbidden, Invalid, Occupied, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.reading.joint_decisions import JointDecision
from broker.domain.reading.opinions import Opinion
from broker.store.queries import order_card
from broker.store.queries.reading import reading_cases, reading_figures
from broker.store.tables import accounts
from broker.store.tables.reading import reads, reports
from broker.workflow.reading import joint_decisions as together
from broker.workflow.reading import reads as reading
from broker.workflow.reading.reports import ReportText
from tests.support.clock import ZONE
from tests.support.factory import REGISTRAR
from tests.workflow.reading.test_reads import ADMIN, ANNA, BORIS, HOLD, NORM, RECALL, VERA, Room, pdf_text

SAID = ReportText("Вместе посмотрели.", "Тень справа.", "КТ.")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    """A clinic with two doctors."""
    made = Room(tmp_path / "worklist.sqlite")
    for who in (ANNA, BORIS):
        made.store.write(accounts.add, who.name, who.title, who.roles, "hash")
    yield made
    made.store.close()


@pytest.fixture
def order(room: Room) -> Order:
    """A study on which Anna and Boris differ."""
    made = room.study()
    differ(room, made)
    return made


def differ(room: Room, order: Order) -> None:
    room.give(order, ANNA, NORM)
    room.later()
    room.give(order, BORIS, RECALL)
    room.later()


def add_third(room: Room) -> None:
    room.store.write(accounts.add, VERA.name, VERA.title, VERA.roles, "hash")


def propose(
    room: Room, order: Order, who: Actor = ANNA, revision: int = 0, opinion: Opinion = RECALL, said: ReportText = SAID
) -> JointDecision:
    with room.store.read() as reader:
        seen = reports.images(reader, order)
    return room.store.write(together.propose, order.id, revision, opinion, said, who, room.clinic, seen)


def confirm(room: Room, order: Order, who: Actor = BORIS, revision: int = 1) -> JointDecision:
    with room.store.read() as reader:
        seen = reports.images(reader, order)
    return room.store.write(together.confirm, order.id, revision, who, room.clinic, seen)


def opened(room: Room, order: Order, who: Actor) -> together.OpenTogether:
    with room.store.read() as reader:
        return together.open_together(reader, order.id, who, room.clinic, room.clock.now)


def waiting(room: Room, who: Actor) -> list[int]:
    with room.store.read() as reader:
        found = together.waiting_for(reader, who.name, room.clinic, room.clock.now)
    return [each.order.id for each in found]


def test_what_one_proposes_and_the_other_confirms_is_the_report_and_both_are_named(room: Room, order: Order) -> None:
    assert [waiting(room, who) for who in (ANNA, BORIS)] == [[order.id], [order.id]]
    propose(room, order)
    assert (room.report(order), room.kinds()) == (None, [])
    confirm(room, order)
    report = room.report(order)
    assert report is not None
    assert (report.conclusion, report.author, room.kinds()) == ("Тень справа.", "anna", ["report"])
    with room.store.read() as reader:
        made = reads.of_report(reader, order.id)
        document = reports.signed_report(reader, order)
    assert [str(each.decided_with) for each in made] == ["", "", "Boris А. Б."]
    assert document is not None
    paper = pdf_text(report_pdf.report_pdf(document, "Клиника", ZONE))
    assert "Решили вместе" in paper
    assert "Anna А. Б. и Boris А. Б." in paper
    assert "Заключение boris" not in paper
    assert waiting(room, ANNA) == []


def test_both_see_both_reads_only_when_they_have_differed(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA, NORM)
    for who, error in ((ANNA, WrongState), (BORIS, Forbidden)):
        with pytest.raises(error):
            opened(room, order, who)
    room.later()
    room.give(order, BORIS, RECALL)
    for who in (ANNA, BORIS):
        with pytest.raises(WrongState):
            opened(room, order, who)  # held: Boris may take it back
    room.clock.now += HOLD
    found = opened(room, order, ANNA)
    assert [read.conclusion for read in found.reads] == ["Заключение anna", "Заключение boris"]
    with pytest.raises(Forbidden):
        opened(room, order, VERA)


def test_never_one_of_the_two_alone(room: Room, order: Order) -> None:
    propose(room, order)
    with pytest.raises(Forbidden):
        confirm(room, order, ANNA)
    with pytest.raises(Forbidden):
        confirm(room, order, VERA)
    assert room.report(order) is None


def test_what_is_confirmed_is_what_was_seen(room: Room, order: Order) -> None:
    propose(room, order)
    propose(room, order, revision=1, said=replace(SAID, conclusion="Другое."))
    with pytest.raises(Stale):
        confirm(room, order, revision=1)
    with pytest.raises(Stale):
        propose(room, order, BORIS, revision=1)
    propose(room, order, BORIS, revision=2)  # now he writes, and she confirms
    confirm(room, order, ANNA, revision=3)
    report = room.report(order)
    assert report is not None
    assert report.author == "boris"


def test_a_double_click_proposes_and_confirms_once(room: Room, order: Order) -> None:
    assert propose(room, order) == propose(room, order)
    assert confirm(room, order) == confirm(room, order)
    assert room.kinds() == ["report"]
    with pytest.raises(WrongState):
        propose(room, order, revision=2, said=replace(SAID, conclusion="Другое."))


def test_a_proposal_can_be_taken_away_and_made_again(room: Room, order: Order) -> None:
    propose(room, order)
    room.store.write(together.withdraw, order.id, BORIS, room.clinic)
    with pytest.raises(Stale):
        confirm(room, order)
    with pytest.raises(WrongState):
        room.store.write(together.withdraw, order.id, BORIS, room.clinic)
    propose(room, order, BORIS)
    confirm(room, order, ANNA)


def test_where_there_is_a_third_doctor_the_third_decides_unless_the_clinic_says_otherwise(
    room: Room, order: Order
) -> None:
    add_third(room)
    assert waiting(room, ANNA) == []
    with pytest.raises(WrongState):
        propose(room, order)
    room.clinic = replace(room.clinic, reading=replace(room.clinic.reading, decide_together=True))
    propose(room, order)
    room.open(order, VERA)
    with pytest.raises(Occupied):
        confirm(room, order)  # the third doctor reads it just now
    room.clock.now += timedelta(minutes=room.clinic.reading.lease_minutes)
    confirm(room, order)
    with pytest.raises(WrongState):
        room.open(order, VERA)


def test_a_third_doctor_who_has_referred_it_is_none(room: Room) -> None:
    room.store.write(lambda tx: accounts.add(tx, VERA.name, VERA.title, VERA.roles, "hash", snils="11223344595"))
    order = room.study(referrer_snils="11223344595")
    differ(room, order)
    assert waiting(room, ANNA) == [order.id]


def test_a_proposal_is_about_the_images_that_both_have_read(room: Room, order: Order) -> None:
    propose(room, order)
    room.images(order, "1.2.77")
    with pytest.raises((Forbidden, Stale, WrongState)):
        confirm(room, order)
    assert waiting(room, ANNA) == []
    differ(room, order)  # they read the new images, too, and nothing is proposed yet
    assert opened(room, order, ANNA).proposal is None
    propose(room, order)
    confirm(room, order)
    assert room.kinds() == ["report"]


def test_an_opinion_and_a_conclusion_are_needed(room: Room, order: Order) -> None:
    with pytest.raises(Invalid):
        propose(room, order, said=ReportText("Только описание"))
    with pytest.raises(Invalid):
        propose(room, order, opinion=Opinion.of_breasts(1, 4))
    with pytest.raises(Forbidden):
        propose(room, order, REGISTRAR)


def test_nothing_of_it_is_shown_to_others_before_it_is_decided(room: Room, order: Order) -> None:
    propose(room, order)
    with room.store.read() as reader:
        shown = repr(order_card.card(reader, order.accession_number))
        listed = repr(reading_cases.waiting(reader, "vera", room.clinic.reading, room.clock.now, room.clock.now - HOLD))
    for word in ("Вместе посмотрели", "anna", "boris", "together"):
        assert word not in shown
        assert word not in listed


def test_the_figures_count_it_as_decided_after_a_difference(room: Room, order: Order) -> None:
    propose(room, order)
    confirm(room, order)
    with room.store.read() as reader:
        found = reading_figures.pairs(reader, room.clock.now - timedelta(days=1), room.clock.now + timedelta(days=1))
    [pair] = found[order.modality]
    assert (pair.decided, pair.was_arbitrated) == (RECALL, True)


def test_it_is_signed_once_the_doubt_about_its_images_is_gone(room: Room, order: Order) -> None:
    propose(room, order)
    room.store.write(lambda tx: tx.run("UPDATE orders SET state = 'in_progress' WHERE id = ?", [order.id]))
    with pytest.raises(WrongState):
        confirm(room, order)
    room.store.write(lambda tx: tx.run("UPDATE orders SET state = 'completed' WHERE id = ?", [order.id]))
    confirm(room, order)
    assert room.report(order) is not None


def test_the_database_itself_keeps_what_both_have_decided(room: Room, order: Order) -> None:
    propose(room, order)
    confirm(room, order)
    with pytest.raises(sqlite3.IntegrityError):
        room.store.write(lambda tx: tx.run("DELETE FROM joint_decision"))
    with pytest.raises(sqlite3.IntegrityError):
        room.store.write(lambda tx: tx.run("UPDATE joint_decision SET said = '{}'"))


def test_one_read_that_does_ends_the_question(room: Room, order: Order) -> None:
    with pytest.raises(WrongState):
        room.store.write(reading.read_once, order.id, "нет третьего", ADMIN, room.clinic)
