"""Whoever reads reads once, nothing is known or sent before a case is concluded, and one report comes of it."""

from __future__ import annotations

import io
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader

from broker.documents import report_pdf
from broker.domain.actors import Actor, ActorKind, Role
from broker.domain.clinic.settings import Clinic
from broker.domain.errors import Forbidden, Invalid, Stale, WrongState
from broker.domain.orders import Order, Priority
from broker.domain.reading import report_form
from broker.domain.reading.opinions import Finding, Opinion, Read, ReadingRules
from broker.domain.reading.reports import Report
from broker.domain.studies.performed import PerformedChange, PerformedState, StepReference
from broker.store.database import Store, Tx
from broker.store.queries import order_card
from broker.store.queries.reading import reading_cases
from broker.store.tables import accounts
from broker.store.tables.reading import reads, reports
from broker.workflow.reading import reads as reading
from broker.workflow.reading import reports as written
from broker.workflow.reading import writing
from broker.workflow.reading.reports import ReportText
from broker.workflow.referrals import referrals
from broker.workflow.studies import performed_steps, step_links
from tests.support import factory
from tests.support.clock import ZONE, Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed

NORM, KNOWN, RECALL, TECHNICAL = map(Opinion, Finding)
ADMIN = Actor(ActorKind.PERSON, "admin", "Седов И. И.", frozenset({Role.ADMINISTRATOR}))
HOLD = timedelta(minutes=CLINIC.reading.hold_minutes)


def doctor(login: str) -> Actor:
    return Actor(ActorKind.PERSON, login, f"{login.capitalize()} А. Б.", frozenset({Role.RADIOLOGIST}))


ANNA, BORIS, VERA = map(doctor, ("anna", "boris", "vera"))


def text(who: Actor) -> ReportText:
    return ReportText(f"Описание {who.name}", f"Заключение {who.name}")


def pdf_text(made: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(made)).pages).split())


class Room:
    """A clinic whose knees are read twice."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.path = path
        self.store = factory.open_store(path, self.clock)
        self.clinic: Clinic = CLINIC
        self.number = 0
        self.store.write(reading.set_double, frozenset({"WLB-KNEE"}), ADMIN)

    def reopen(self) -> None:
        """Start again on the same database."""
        self.store.close()
        self.store = Store(self.path, clock=self.clock)

    def study(self, **changes: Any) -> Order:
        """Register a study whose images were made."""
        self.number += 1
        order = self.store.write(referrals.register, draft(**changes), REGISTRAR, CLINIC)
        self.images(order, f"1.2.{self.number}")
        return order

    def images(self, order: Order, uid: str) -> None:
        step = performed(uid, StepReference(order.study_instance_uid))
        self.store.write(performed_steps.start, step, message("create"), XRAY, CLINIC)
        done = PerformedChange(PerformedState.COMPLETED, images=2)
        self.store.write(performed_steps.change, performed_steps.ChangeRequest(uid, done, message("x")), XRAY, CLINIC)

    def open(self, order: Order, who: Actor) -> reading.OpenCase:
        return self.store.write(reading.open_case, order.id, who, self.clinic)

    def give(self, order: Order, who: Actor, opinion: Opinion = NORM, said: ReportText | None = None) -> Read:
        with self.store.read() as reader:
            seen = reports.images(reader, order)
            mine = [each for each in reads.of_order(reader, order.id) if each.reader == who.name]
        revision = mine[-1].revision if mine and mine[-1].images == seen.revision else 0
        return self.store.write(reading.give, order.id, revision, opinion, said or text(who), who, self.clinic, seen)

    def later(self, delta: timedelta = HOLD) -> None:
        self.clock.now += delta
        self.store.write(reading.conclude_due, self.clinic)

    def report(self, order: Order) -> Report | None:
        with self.store.read() as reader:
            return reports.signed(reader, order.id)

    def kinds(self) -> list[str]:
        with self.store.read() as reader:
            return [row["kind"] for row in reader.rows("SELECT kind FROM outbox WHERE kind = 'report'")]


@pytest.fixture
def room(tmp_path: Path) -> Any:
    made = Room(tmp_path / "worklist.sqlite")
    yield made
    made.store.close()


def test_two_who_agree_make_one_report_in_the_first_readers_words(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    assert (room.report(order), room.kinds()) == (None, [])
    room.give(order, BORIS, KNOWN)
    assert room.report(order) is None
    room.later()
    report = room.report(order)
    assert report is not None
    assert (report.author, report.conclusion) == ("anna", "Заключение anna")
    room.later()
    assert room.kinds() == ["report"]


def test_two_who_differ_wait_for_a_third_whose_words_are_the_report(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    room.give(order, BORIS, RECALL)
    room.later()
    assert room.report(order) is None
    opened = room.open(order, VERA)
    assert opened.arbitrates
    assert {each.conclusion for each in opened.case.standing} == {"Заключение anna", "Заключение boris"}
    room.give(order, VERA, RECALL)
    room.later()
    report = room.report(order)
    assert report is not None
    assert report.conclusion == "Заключение vera"
    assert room.kinds() == ["report"]


def test_nobody_reads_a_study_twice_nor_decides_on_the_own_read(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    with pytest.raises(WrongState):
        room.open(order, ANNA)
    room.give(order, BORIS, RECALL)
    room.later()
    for who in (ANNA, BORIS):
        with pytest.raises(WrongState):
            room.give(order, who, RECALL, ReportText("", "другое"))


def test_a_held_read_is_taken_back_by_its_reader_only_and_meanwhile_nobody_else_reads(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    with pytest.raises(WrongState):
        room.open(order, BORIS)
    with pytest.raises(WrongState):
        room.store.write(reading.take_back, order.id, BORIS, room.clinic)
    back = room.store.write(reading.take_back, order.id, ANNA, room.clinic)
    assert (back.given_at, back.conclusion) == (None, "Заключение anna")
    room.give(order, ANNA, RECALL)
    room.later()
    with pytest.raises(WrongState):
        room.store.write(reading.take_back, order.id, ANNA, room.clinic)


def test_finishing_lets_a_held_read_stand_at_once(room: Room) -> None:
    order, other = room.study(), room.study()
    room.give(order, ANNA)
    room.give(other, BORIS)
    assert room.store.write(reading.finish, (order.id, other.id), ANNA, room.clinic) == 1
    room.give(order, BORIS)
    assert room.store.write(reading.finish, (order.id, order.id), BORIS, room.clinic) == 1
    assert room.report(order) is not None


def test_without_a_hold_reads_stand_at_once(room: Room) -> None:
    room.clinic = replace(CLINIC, reading=ReadingRules(hold_minutes=0))
    order = room.study()
    room.give(order, ANNA)
    room.give(order, BORIS)
    assert room.report(order) is not None


def test_a_double_click_gives_one_read(room: Room) -> None:
    order = room.study()
    assert room.give(order, ANNA) == room.give(order, ANNA)
    with room.store.read() as reader:
        assert len(reads.of_order(reader, order.id)) == 1


def test_a_study_that_is_open_for_one_reader_is_not_for_another_until_the_lease_ends(room: Room) -> None:
    order = room.study()
    room.open(order, ANNA)
    room.open(order, ANNA)  # another window of the same reader
    with pytest.raises(WrongState):
        room.open(order, BORIS)
    room.store.write(writing.leave, order.id, BORIS)
    with pytest.raises(WrongState):
        room.open(order, BORIS)
    room.clock.now += timedelta(minutes=CLINIC.reading.lease_minutes)
    room.open(order, BORIS)
    with pytest.raises(Forbidden):
        room.store.write(reading.free_lease, order.id, ANNA)
    room.store.write(reading.free_lease, order.id, ADMIN)
    room.open(order, ANNA)


def test_a_draft_is_its_readers_and_another_window_does_not_overwrite_it_unseen(room: Room) -> None:
    order = room.study()
    kept = room.store.write(reading.keep, order.id, 0, None, text(ANNA), ANNA, room.clinic)
    with pytest.raises(Stale):
        room.store.write(reading.keep, order.id, 0, RECALL, text(ANNA), ANNA, room.clinic)
    assert room.open(order, ANNA).own == kept
    room.store.write(writing.leave, order.id, ANNA)
    assert room.open(order, BORIS).own.conclusion == ""


@pytest.mark.parametrize("event", ["more images", "images taken away"])
def test_other_images_reopen_a_case_and_its_reads_are_history(room: Room, event: str) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    if event == "more images":
        room.images(order, "1.2.99")
    else:
        room.store.write(step_links.unlink, "1.2.1", order.id, REGISTRAR, CLINIC)
        room.images(order, "1.2.98")
    room.give(order, BORIS)
    room.later()
    assert room.report(order) is None  # it is the first read of these images
    room.give(order, ANNA)
    room.later()
    report = room.report(order)
    assert report is not None
    assert report.author == "boris"
    with room.store.read() as reader:
        assert len(reads.of_order(reader, order.id)) == 3


def test_images_that_come_while_a_read_is_held_are_not_thought_read(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND", laterality="R")
    room.give(order, ANNA)
    room.images(order, "1.2.99")
    room.later()
    assert room.report(order) is None


def test_a_study_stays_one_that_is_read_twice_once_it_has_a_read(room: Room) -> None:
    order, other = room.study(), room.study()
    room.give(order, ANNA)
    room.later()
    room.store.write(reading.set_double, frozenset[str](), ADMIN)
    assert room.report(order) is None
    with pytest.raises(WrongState):
        room.store.write(written.sign, order.id, 0, text(BORIS), BORIS, CLINIC)
    room.give(other, ANNA)
    room.later()
    assert room.report(other) is not None


def test_where_no_second_reader_comes_the_head_lets_one_read_do_with_a_reason(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    with pytest.raises(Invalid):
        room.store.write(reading.read_once, order.id, " ", ADMIN, CLINIC)
    with pytest.raises(Forbidden):
        room.store.write(reading.read_once, order.id, "второй врач болеет", ANNA, CLINIC)
    room.store.write(reading.read_once, order.id, "второй врач болеет", ADMIN, CLINIC)
    report = room.report(order)
    assert report is not None
    assert report.author == "anna"


def test_what_is_put_aside_is_read_by_nobody_until_it_is_taken_up_again(room: Room) -> None:
    order = room.study()
    with pytest.raises(Invalid):
        room.store.write(reading.defer, order.id, "", ANNA, CLINIC)
    room.store.write(reading.defer, order.id, "Снимки другого пациента?", ANNA, CLINIC)
    for who in (ANNA, BORIS):
        with pytest.raises(WrongState):
            room.open(order, who)
    with pytest.raises(Forbidden):
        room.store.write(reading.resume, order.id, BORIS)
    room.store.write(reading.resume, order.id, ADMIN)
    room.open(order, BORIS)


def test_the_doctor_who_referred_does_not_read_unless_the_clinic_allows_it(room: Room) -> None:
    snils = "11223344595"
    roles = frozenset({Role.RADIOLOGIST})
    room.store.write(lambda tx: accounts.add(tx, "anna", "Анна А. Б.", roles, "x", snils=snils))
    order = room.study(referrer_snils=snils)
    with pytest.raises(WrongState):
        room.open(order, ANNA)
    room.clinic = replace(CLINIC, reading=ReadingRules(own_referrals=True))
    room.open(order, ANNA)


def test_a_study_that_is_read_twice_is_not_signed_by_one(room: Room) -> None:
    order = room.study()
    with pytest.raises(WrongState):
        room.store.write(written.save_report, order.id, 0, text(ANNA), ANNA, CLINIC)
    with pytest.raises(WrongState):
        room.store.write(written.sign, order.id, 0, text(ANNA), ANNA, CLINIC)
    assert room.kinds() == []


def test_what_the_images_are_must_be_what_the_reader_saw(room: Room) -> None:
    order = room.study()
    with room.store.read() as reader:
        seen = reports.images(reader, order)
    room.images(order, "1.2.99")
    with pytest.raises(Invalid) as caught:
        room.store.write(reading.give, order.id, 0, NORM, text(ANNA), ANNA, CLINIC, seen)
    assert caught.value.problems == {"images": "changed"}


def test_an_opinion_needs_a_conclusion_and_a_person(room: Room) -> None:
    order = room.study()
    with pytest.raises(Invalid) as caught:
        room.give(order, ANNA, NORM, ReportText("Описание"))
    assert caught.value.problems == {"conclusion": "required"}
    with pytest.raises(Forbidden):
        room.give(order, SYSTEM)
    with pytest.raises(Forbidden):
        room.give(order, REGISTRAR)


def test_the_database_itself_keeps_a_read_that_stands(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    for change in ("UPDATE study_read SET conclusion = 'x'", "DELETE FROM study_read"):
        with pytest.raises(sqlite3.IntegrityError):
            room.store.write(Tx.run, change)


def marked(room: Room) -> tuple[Order, ReportText]:
    order = room.study()
    secret = ReportText("ТАЙНА-1 описание", "ТАЙНА-1 заключение", "ТАЙНА-1 совет")
    room.give(order, ANNA, RECALL, secret)
    return order, secret


@pytest.mark.parametrize("stands", [False, True])
def test_nothing_of_a_read_is_on_the_card_or_in_its_history_before_the_case_is_concluded(
    room: Room, stands: bool
) -> None:
    order, _ = marked(room)
    if stands:
        room.later()
    with room.store.read() as reader:
        card = order_card.card(reader, order.accession_number)
    shown = repr(card)
    assert "ТАЙНА" not in shown
    assert "anna" not in shown
    assert "read_give" not in shown


def test_neither_the_second_reader_is_shown_a_word(room: Room) -> None:
    order, _ = marked(room)
    room.later()
    opened = room.open(order, BORIS)
    assert not opened.arbitrates
    assert "ТАЙНА" not in repr(opened)
    assert "anna" not in repr(opened)


# ---- lists ----


def listed(room: Room, who: Actor) -> list[tuple[str, str, bool]]:
    with room.store.read() as reader:
        now = room.clock()
        found = reading_cases.waiting(reader, who.name, room.clinic.reading, now, now - timedelta(days=30))
    return [(each.order.accession_number, each.stage, each.is_free) for each in found]


def test_a_list_has_what_its_reader_may_read_and_says_only_for_which_reading_it_waits(room: Room) -> None:
    order, other = room.study(), room.study()
    mine, next_one = order.accession_number, other.accession_number
    assert listed(room, ANNA) == [(mine, "first", True), (next_one, "first", True)]
    room.give(order, ANNA)
    assert listed(room, BORIS) == [(next_one, "first", True)]  # it is held
    room.later()
    assert listed(room, ANNA) == [(next_one, "first", True)]
    assert listed(room, BORIS) == [(mine, "second", True), (next_one, "first", True)]
    room.open(order, BORIS)
    assert listed(room, VERA) == [(mine, "second", False), (next_one, "first", True)]
    room.give(order, BORIS, RECALL)
    room.later()
    assert listed(room, BORIS) == [(next_one, "first", True)]
    assert listed(room, VERA) == [(mine, "arbitration", True), (next_one, "first", True)]
    room.store.write(reading.defer, order.id, "нет прежних снимков", VERA, room.clinic)
    assert listed(room, VERA) == [(next_one, "first", True)]


def test_urgent_studies_come_first_and_then_the_oldest(room: Room) -> None:
    first = room.study()
    room.clock.now += timedelta(minutes=5)
    second = room.study()
    room.clock.now += timedelta(minutes=5)
    third = room.study(priority=Priority.URGENT)
    numbers = [number for number, _, _ in listed(room, ANNA)]
    assert numbers == [third.accession_number, first.accession_number, second.accession_number]


def test_what_can_be_taken_back_is_listed_for_its_reader_until_it_stands(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    with room.store.read() as reader:
        [mine] = reading_cases.held(reader, "anna", room.clock())
        assert (mine.order.id, mine.read.opinion) == (order.id, NORM)
        assert reading_cases.held(reader, "boris", room.clock()) == []
    room.later()
    with room.store.read() as reader:
        assert reading_cases.held(reader, "anna", room.clock()) == []
        assert reading_cases.read_since(reader, "anna", room.clock() - timedelta(days=1)) == (1, 1)


def test_a_study_whose_report_is_begun_is_not_read_beside_it(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    room.store.write(written.save_report, order.id, 0, text(BORIS), BORIS, CLINIC)
    assert listed(room, ANNA) == listed(room, BORIS) == []


# ---- afterwards ----


def test_the_paper_names_the_second_reader_and_not_what_they_said(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    room.give(order, BORIS, KNOWN)
    room.later()
    with room.store.read() as reader:
        signed = reports.signed_report(reader, order)
    assert signed is not None
    paper = pdf_text(report_pdf.report_pdf(signed, "Клиника", ZONE))
    assert "Второе чтение" in paper
    assert "Boris А. Б." in paper
    assert "Заключение anna" in paper
    assert "Заключение boris" not in paper


def test_a_study_that_one_doctor_read_names_no_second(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    room.give(order, ANNA)
    room.later()
    with room.store.read() as reader:
        signed = reports.signed_report(reader, order)
    assert signed is not None
    assert signed.reads == ()
    assert "Второе чтение" not in pdf_text(report_pdf.report_pdf(signed, "Клиника", ZONE))


# ---- what comes between ----


def test_a_concluded_study_whose_images_are_in_doubt_gets_its_report_once_the_doubt_is_gone(room: Room) -> None:
    order = room.study()
    room.give(order, ANNA)
    room.later()
    room.give(order, BORIS)
    room.store.write(lambda tx: tx.run("UPDATE performed_step_link SET conflict = 'patient_name'"))
    room.later()
    assert room.report(order) is None
    room.store.write(lambda tx: tx.run("UPDATE performed_step_link SET conflict = ''"))
    room.later(timedelta(minutes=1))
    report = room.report(order)
    assert report is not None
    assert (report.author, room.kinds()) == ("anna", ["report"])


def test_a_report_that_is_begun_is_not_overwritten_by_an_opinion(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    begun = room.store.write(written.save_report, order.id, 0, text(BORIS), BORIS, CLINIC)
    for who in (ANNA, BORIS):
        with pytest.raises(WrongState):
            room.open(order, who)
    room.store.write(written.sign, order.id, begun.revision, text(BORIS), BORIS, CLINIC)


def test_who_has_a_study_open_in_a_session_keeps_others_from_writing_its_report(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    room.open(order, ANNA)
    with pytest.raises(WrongState):
        room.store.write(written.save_report, order.id, 0, text(BORIS), BORIS, CLINIC)
    with pytest.raises(WrongState):
        room.store.write(written.sign, order.id, 0, text(BORIS), BORIS, CLINIC)
    room.store.write(writing.leave, order.id, ANNA)
    room.store.write(written.sign, order.id, 0, text(BORIS), BORIS, CLINIC)


def test_what_another_doctor_had_typed_into_the_form_is_not_signed_with_the_reads(room: Room) -> None:
    room.store.write(reading.set_double, frozenset(), ADMIN)
    order = room.study()
    typed = replace(text(BORIS), form=report_form.pack({"anamnesis": "Борис расспросил"}))
    room.store.write(written.save_report, order.id, 0, typed, BORIS, CLINIC)
    room.later(timedelta(hours=1))
    room.store.write(reading.set_double, frozenset({"WLB-KNEE"}), ADMIN)
    room.give(order, ANNA)
    room.later()
    room.give(order, VERA)
    room.later()
    report = room.report(order)
    assert report
    assert (report.author, report.form) == ("anna", "")


def test_what_was_begun_before_two_were_to_read_it_is_its_doctors_draft_of_a_read(room: Room) -> None:
    order = room.study(procedure_code="WLB-HAND")
    room.store.write(written.save_report, order.id, 0, text(BORIS), BORIS, CLINIC)
    room.store.write(writing.leave, order.id, BORIS)
    room.store.write(reading.set_double, frozenset({"WLB-HAND"}), ADMIN)
    assert [number for number, _, _ in listed(room, ANNA)] == [order.accession_number]
    assert room.open(order, ANNA).own.conclusion == ""
    room.store.write(writing.leave, order.id, ANNA)
    assert room.open(order, BORIS).own.conclusion == "Заключение boris"
