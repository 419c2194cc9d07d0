"""A colleague reads a signed report over only when asked; nothing of it is the report, and nothing goes out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.domain.errors import Forbidden, Invalid, Occupied, Stale, WrongState
from broker.domain.orders import Order
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.domain.reading.reports import ReportChange
from broker.store.queries import order_card
from broker.store.queries.reading import over_read_requests
from broker.store.tables import accounts
from broker.store.tables.reading import leases
from broker.workflow.reading import over_reads, writing
from broker.workflow.reading import reports as written
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.studies import step_links
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.reading.test_reads import ADMIN, ANNA, BORIS, NORM, VERA, Room, text

AGREES, DIFFERS = OverReadOutcome.AGREES, OverReadOutcome.DIFFERS
OWN = OverReadText("Тень в S6 слева.", "Очаговая тень слева.", "КТ.")


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    made = Room(tmp_path / "worklist.sqlite")
    for who in (ANNA, BORIS, VERA, ADMIN):
        made.store.write(accounts.add, who.name, who.title, who.roles, "hash")
    yield made
    made.store.close()


@pytest.fixture
def order(room: Room) -> Order:
    """A study that Anna has reported."""
    made = room.study(procedure_code="WLB-HAND")
    room.store.write(written.sign, made.id, 0, text(ANNA), ANNA, CLINIC)
    return made


def ask(room: Room, order: Order, whom: str = "boris", question: str = "нет ли тени слева?", version: int = 1) -> int:
    return room.store.write(over_reads.ask, order.id, version, whom, question, ANNA).stored_id


def all_of(room: Room, order: Order) -> tuple[OverRead, ...]:
    with room.store.read() as reader:
        return over_read_requests.of_report(reader, order.id)


def waiting(room: Room, login: str) -> list[str]:
    with room.store.read() as reader:
        return [found.accession_number for found, _ in over_read_requests.waiting_for(reader, login)]


def asked_by(room: Room, login: str) -> list[OverReadOutcome | None]:
    with room.store.read() as reader:
        return [each.outcome for _, each in over_read_requests.asked_by(reader, login)]


def outgoing(room: Room) -> list[tuple[str, int]]:
    with room.store.read() as reader:
        return [(row["kind"], row["order_id"]) for row in reader.rows("SELECT kind, order_id FROM outbox ORDER BY seq")]


def actions(room: Room, order: Order) -> list[tuple[str, str]]:
    with room.store.read() as reader:
        rows = reader.rows("SELECT action, details FROM audit WHERE action LIKE 'over_read%' ORDER BY seq")
    return [(row["action"], row["details"]) for row in rows]


# ---- asking and answering ----


def test_a_colleague_who_was_asked_reads_over_and_both_texts_are_there_afterwards(room: Room, order: Order) -> None:
    assert waiting(room, "boris") == []  # nothing waits before somebody asks
    before = outgoing(room)
    asked = ask(room, order)
    assert (waiting(room, "boris"), waiting(room, "vera")) == ([order.accession_number], [])
    assert asked_by(room, "anna") == [None]
    room.store.write(over_reads.answer, asked, 1, DIFFERS, OWN, BORIS, CLINIC)
    [found] = all_of(room, order)
    assert (found.outcome, found.said, found.ended_by_title, found.version) == (DIFFERS, OWN, "Boris А. Б.", 1)
    assert (waiting(room, "boris"), asked_by(room, "anna")) == ([], [DIFFERS])
    report = room.report(order)
    assert report is not None
    assert (report.conclusion, report.author, report.version) == ("Заключение anna", "anna", 1)
    assert outgoing(room) == before
    room.store.write(over_reads.heed, asked, ANNA)
    assert asked_by(room, "anna") == []


def test_who_agrees_may_add_a_remark_and_who_differs_writes_a_conclusion(room: Room, order: Order) -> None:
    asked = ask(room, order)
    with pytest.raises(Invalid) as caught:
        room.store.write(over_reads.answer, asked, 1, DIFFERS, OverReadText(), BORIS, CLINIC)
    assert caught.value.problems == {"conclusion": "required"}
    with pytest.raises(Invalid):
        room.store.write(over_reads.answer, asked, 1, OverReadOutcome.WITHDRAWN, OWN, BORIS, CLINIC)
    room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), BORIS, CLINIC)
    assert all_of(room, order)[0].outcome is AGREES


def test_any_doctor_but_who_knows_the_report_may_answer_a_request_to_all(room: Room, order: Order) -> None:
    asked = ask(room, order, "")
    mine = [order.accession_number]
    assert [waiting(room, who) for who in ("anna", "boris", "vera")] == [[], mine, mine]
    with pytest.raises(Forbidden):
        room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), ANNA, CLINIC)
    room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), VERA, CLINIC)


def test_whom_one_may_ask_are_doctors_who_have_not_read_it(room: Room) -> None:
    order = room.study()  # read twice
    room.give(order, ANNA)
    room.later()
    room.give(order, BORIS)
    room.later()
    with room.store.read() as reader:
        assert over_read_requests.colleagues(reader, order.id, "anna") == {"vera": "Vera А. Б."}
        assert over_read_requests.colleagues(reader, order.id, "vera") == {}
    for whom in ("boris", "anna", "admin", "somebody"):
        with pytest.raises(Invalid) as caught:
            room.store.write(over_reads.ask, order.id, 1, whom, "", ANNA)
        assert caught.value.problems == {"asked_of": "unknown"}


def test_only_a_signed_report_is_read_over_and_one_request_is_open_at_a_time(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    with pytest.raises(WrongState):
        ask(room, order)
    room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    with pytest.raises(WrongState):
        ask(room, order)
    room.store.write(written.sign, order.id, 1, text(ANNA), ANNA, CLINIC)
    with pytest.raises(Stale):
        ask(room, order, version=2)
    first = ask(room, order)
    assert ask(room, order) == first  # a double click
    with pytest.raises(WrongState):
        ask(room, order, "vera")
    assert [action for action, _ in actions(room, order)] == ["over_read_ask"]


def test_only_doctors_ask_and_answer(room: Room, order: Order) -> None:
    for who in (REGISTRAR, ADMIN):
        with pytest.raises(Forbidden):
            room.store.write(over_reads.ask, order.id, 1, "", "", who)
    asked = ask(room, order, "")
    for who in (REGISTRAR, ADMIN):
        with pytest.raises(Forbidden):
            room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), who, CLINIC)


def test_an_answer_is_about_the_version_that_was_read(room: Room, order: Order) -> None:
    asked = ask(room, order)
    room.store.write(written.revise, order.id, 1, Revision(ReportChange.ADDITION, "контроль"), ANNA, CLINIC)
    with pytest.raises(Stale):
        room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), BORIS, CLINIC)
    assert room.store.write(over_reads.answer, asked, 2, AGREES, OverReadText(), BORIS, CLINIC).version == 2


def test_a_double_click_answers_once_and_another_answer_is_refused(room: Room, order: Order) -> None:
    asked = ask(room, order)
    first = room.store.write(over_reads.answer, asked, 1, DIFFERS, OWN, BORIS, CLINIC)
    assert room.store.write(over_reads.answer, asked, 1, DIFFERS, OWN, BORIS, CLINIC) == first
    with pytest.raises(WrongState):
        room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), BORIS, CLINIC)
    assert [action for action, _ in actions(room, order)] == ["over_read_ask", "over_read_answer"]


def test_two_doctors_do_not_write_one_answer(room: Room, order: Order) -> None:
    asked = ask(room, order, "")
    room.store.write(over_reads.begin, asked, BORIS, CLINIC)
    for call in (
        lambda: room.store.write(over_reads.begin, asked, VERA, CLINIC),
        lambda: room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), VERA, CLINIC),
        lambda: room.store.write(over_reads.withdraw, asked, "", ANNA),
        lambda: room.store.write(over_reads.ask_another, asked, "vera", ANNA),
    ):
        with pytest.raises(Occupied):
            call()
    room.store.write(writing.begin, order.id, ANNA, CLINIC)  # the report itself may be revised meanwhile
    room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), BORIS, CLINIC)
    with room.store.read() as reader:
        assert leases.of_order(reader, order.id, room.clock.now, LeasePurpose.OVER_READ) is None


def test_images_that_are_perhaps_anothers_are_not_read_over(room: Room, order: Order) -> None:
    asked = ask(room, order)
    room.store.write(step_links.unlink, "1.2.1", order.id, REGISTRAR, CLINIC)
    with pytest.raises((Invalid, WrongState)):
        room.store.write(over_reads.answer, asked, 1, AGREES, OverReadText(), BORIS, CLINIC)


# ---- a way out ----


def test_who_does_not_come_is_replaced_by_another_and_the_waiting_begins_again(room: Room, order: Order) -> None:
    asked = ask(room, order)
    room.clock.now += timedelta(hours=25)
    within = timedelta(hours=CLINIC.reading.over_read_hours)
    assert all_of(room, order)[0].hangs(room.clock.now, within)
    with pytest.raises(Forbidden):
        room.store.write(over_reads.ask_another, asked, "vera", BORIS)
    room.store.write(over_reads.ask_another, asked, "vera", ANNA)
    assert (waiting(room, "boris"), waiting(room, "vera")) == ([], [order.accession_number])
    [found] = all_of(room, order)
    assert not found.hangs(room.clock.now, within)
    assert found.question == "нет ли тени слева?"
    room.store.write(over_reads.ask_another, asked, "", ADMIN)  # where who asked is away
    assert waiting(room, "boris") == [order.accession_number]
    assert len(actions(room, order)) == 3


def test_a_request_is_taken_back_by_who_asked_by_the_author_or_by_an_administrator(room: Room, order: Order) -> None:
    asked = room.store.write(over_reads.ask, order.id, 1, "boris", "", VERA).stored_id
    with pytest.raises(Forbidden):
        room.store.write(over_reads.withdraw, asked, "", BORIS)
    with pytest.raises(Forbidden):
        room.store.write(over_reads.withdraw, asked, "", REGISTRAR)
    room.store.write(over_reads.withdraw, asked, "уже не нужно", ANNA)
    assert (all_of(room, order)[0].outcome, waiting(room, "boris")) == (OverReadOutcome.WITHDRAWN, [])
    room.store.write(over_reads.withdraw, ask(room, order), "", ADMIN)
    ask(room, order, "vera")  # and asked again
    with pytest.raises(WrongState):
        room.store.write(over_reads.withdraw, asked, "", ANNA)


def test_who_was_asked_by_name_may_decline_with_a_reason_that_who_asked_sees(room: Room, order: Order) -> None:
    asked = ask(room, order)
    with pytest.raises(Invalid):
        room.store.write(over_reads.decline, asked, " ", BORIS)
    with pytest.raises(Forbidden):
        room.store.write(over_reads.decline, asked, "не моё", VERA)
    room.store.write(over_reads.decline, asked, "в отпуске до пятницы", BORIS)
    assert asked_by(room, "anna") == [OverReadOutcome.DECLINED]
    assert all_of(room, order)[0].reason == "в отпуске до пятницы"
    assert [action for action, _ in actions(room, order)] == ["over_read_ask", "over_read_decline"]


def test_a_withdrawn_report_waits_for_no_colleague(room: Room, order: Order) -> None:
    asked = ask(room, order)
    room.store.write(written.revise, order.id, 1, Revision(ReportChange.WITHDRAWAL, "не тот пациент"), ANNA, CLINIC)
    assert waiting(room, "boris") == []
    assert all_of(room, order)[0].outcome is OverReadOutcome.WITHDRAWN
    with pytest.raises(WrongState):
        room.store.write(over_reads.answer, asked, 2, AGREES, OverReadText(), BORIS, CLINIC)
    with pytest.raises(WrongState):
        ask(room, order, version=2)


# ---- what becomes of the words ----


def test_nothing_of_an_answer_is_on_the_card_in_the_trail_or_on_its_way_out(room: Room, order: Order) -> None:
    room.store.write(over_reads.answer, ask(room, order), 1, DIFFERS, OWN, BORIS, CLINIC)
    with room.store.read() as reader:
        shown = repr(order_card.card(reader, order.accession_number))
        trail = repr([row["details"] for row in reader.rows("SELECT details FROM audit")])
    for said in (OWN.description, OWN.conclusion):
        assert said not in shown
        assert said not in trail


def test_what_is_taken_over_is_a_version_that_the_doctor_signs(room: Room, order: Order) -> None:
    room.store.write(over_reads.answer, ask(room, order), 1, DIFFERS, OWN, BORIS, CLINIC)
    before = outgoing(room)
    taken = Revision(
        ReportChange.CORRECTION, "по второму мнению", ReportText(OWN.description, OWN.conclusion, OWN.recommendations)
    )
    room.store.write(written.revise, order.id, 1, taken, ANNA, CLINIC)
    report = room.report(order)
    assert report is not None
    assert (report.conclusion, report.author, report.version) == (OWN.conclusion, "anna", 2)
    assert len(outgoing(room)) >= len(before)
    assert ask(room, order, "vera", version=2)  # and it can be read over again


def test_the_database_itself_keeps_what_was_answered(room: Room, order: Order) -> None:
    asked = ask(room, order)
    with pytest.raises(sqlite3.IntegrityError):
        room.store.write(lambda tx: tx.run("DELETE FROM over_read"))
    room.store.write(over_reads.answer, asked, 1, DIFFERS, OWN, BORIS, CLINIC)
    with pytest.raises(sqlite3.IntegrityError):
        room.store.write(lambda tx: tx.run("UPDATE over_read SET conclusion = 'Рак'"))


def test_a_blind_reader_is_offered_no_over_read(room: Room) -> None:
    order = room.study()  # read twice, by one so far
    room.give(order, ANNA, NORM)
    room.later()
    with pytest.raises(WrongState):
        ask(room, order)
