"""Whatever happens in whatever order: no data of two people are joined unless a person said so, and no study is lost.

Four people who are easily taken for one another are registered, examined, found in the archive, linked, unlinked,
merged and taken apart; other clinics refer them here and report on those who were referred there. What is true of whom
is known here only.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from broker.domain.errors import BrokerError, Invalid
from broker.domain.import_result import ImportPlace, ImportSource
from broker.domain.orders import Order
from broker.domain.patients import correction, names
from broker.domain.patients.confirmation import Confirmation
from broker.domain.patients.people import Patient, PersonName, Sex
from broker.domain.studies.archive import ArchiveStudy
from broker.domain.studies.performed import StepReference
from broker.store.queries import inbox, lookups, undecided
from broker.store.queries.patients import made_studies
from broker.store.queries.studies import archive_gaps
from broker.store.queries.studies import unreferred_studies as unreferred_queries
from broker.store.tables import devices, orders, outbox
from broker.store.tables.patients import patient_merges, patients
from broker.workflow import patient_correction, patient_merge
from broker.workflow.patients import patient_consent
from broker.workflow.referrals import incoming_referrals, referrals, unreferred_studies, worklist_files
from broker.workflow.studies import archive_images, external_results, performed_steps, step_links
from tests.support import factory
from tests.support.clock import TODAY, Clock
from tests.support.factory import CLINIC, REGISTRAR, SYSTEM, XRAY, draft, message, performed, soon
from tests.workflow.identity_region import THEM, Region
from tests.workflow.identity_reports import Reports
from tests.workflow.identity_shown import hidden
from tests.workflow.referrals.test_worklist_files import item

EXAMPLES, STEPS = int(os.environ.get("IDENTITY", "15")), 40  # 300 by hand
BORN = date(1961, 3, 12)
MARINA = PersonName("Кузнецова", "Марина", "Петровна")
PEOPLE = {
    "marina": Patient(MARINA, BORN, Sex.FEMALE, snils="11223344595"),
    "namesake": Patient(MARINA, BORN, Sex.FEMALE, snils="08765430300"),
    "twin": Patient(replace(MARINA, given="Мария"), BORN, Sex.FEMALE),
    # Two girls of mothers with the same names, without names of their own.
    "newborn": Patient(PersonName("Кузнецова", "новорождённая", "мать Мария"), BORN, Sex.FEMALE),
    "other newborn": Patient(PersonName("Кузнецова", "новорождённая", "мать Мария"), BORN, Sex.FEMALE),
    "stranger": Patient(PersonName("Попов", "Степан"), date(1938, 2, 17), Sex.MALE, policy="7800000012345671"),
}
SHARING = replace(CLINIC, shares_accession_numbers=True)
WHO = st.sampled_from(sorted(PEOPLE))
NEWBORN = ("newborn", "other newborn")
SPELT = st.sampled_from((str, str.upper, lambda part: part.replace("о", "o").replace("а", "a")))
PICK = st.integers(0, 10**6)


@dataclass
class Truth:
    """What is true, and what people have decided."""

    of_order: dict[int, str]
    of_step: dict[int, str]
    confirmed: set[tuple[int, int]]  # (performed step, order)
    merged: set[int]  # cards that a person has ever merged
    of_task: dict[str, str]  # referrals of other clinics
    of_result: dict[str, tuple[str, int]]  # reports of other clinics: of whom, on which order
    taken: set[int]  # orders with results that people have taken for their patient's nevertheless
    answers: dict[int, tuple[ArchiveStudy, str]]  # what the archive has last answered of an order, and of whom it is
    held: list[ArchiveStudy]  # what it holds of the day, without an order's number


class Identity(Reports):
    """The clinic, and the truth beside it."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = factory.open_store(Path(self._folder.name) / "worklist.sqlite", Clock())
        self.truth = Truth({}, {}, set(), set(), {}, {}, set(), {}, [])
        self.region = Region(self.store)
        self.uids = self.messages = self.imports = 0

    def teardown(self) -> None:
        self.store.close()
        self._folder.cleanup()

    # ---- what happens by itself ----

    @rule(who=WHO, spelt=SPELT, numbered=st.booleans())
    def register(self, who: str, spelt: Any, numbered: bool) -> None:
        person = PEOPLE[who]
        name = PersonName(*(spelt(part) for part in (person.name.family, person.name.given, person.name.middle)))
        # Namesakes without a number cannot be told apart by anybody.
        plain = replace(person, name=name, snils="" if who == "twin" else person.snils)
        plain = plain if numbered or who in ("marina", "namesake") else replace(plain, policy="")
        try:
            order = self.store.write(referrals.register, draft(patient=plain, submission_id=""), REGISTRAR, CLINIC)
        except Invalid:
            return  # a person has to look
        self.truth.of_order[order.id] = who

    @rule(
        who=WHO,
        spelt=SPELT,
        source=st.sampled_from(ImportSource),
        number=st.sampled_from(("", "M", "K")),
        station=st.sampled_from((("XRAY_14", "DX"), ("OLD_CR", "CR"), ("OLD_CT", "CT"))),
    )
    def import_item(self, who: str, spelt: Any, source: ImportSource, number: str, station: tuple[str, str]) -> None:
        """Let a worklist file, a table or JSON bring somebody, perhaps under a card number of its own system.

        A file may be for a station that is not registered here.
        """
        person = PEOPLE[who]
        name = PersonName(*(spelt(part) for part in (person.name.family, person.name.given, person.name.middle)))
        card_number = f"{number}-{who}" if number else ""
        person = replace(person, name=name, patient_id=card_number)
        self.imports += 1
        path = f"/lists/{self.imports}"
        try:
            if source is ImportSource.WORKLIST_FILE:
                bare = replace(person, snils="", policy="")
                if who in ("marina", "namesake"):
                    return  # without СНИЛС nothing keeps their cards apart
                content = item(patient=bare, accession_number=f"F{self.imports}", study_instance_uid="")
                content = replace(content, modality=station[1], station_ae_titles=station[:1], start=soon(), sps_id="")
                order_id = self.store.write(worklist_files.sync, content, path, path, SYSTEM, CLINIC).order_id
            else:
                place = ImportPlace(source, path, 2)
                referral = draft(patient=person, submission_id=path)
                order_id = self.store.write(referrals.register_imported, referral, place, SYSTEM, CLINIC)[0].id
        except BrokerError:
            return  # a person has to look
        self.truth.of_order[order_id] = who

    @precondition(lambda self: self.truth.of_order)
    @precondition(lambda self: self.truth.of_order)
    @rule(pick=PICK)
    def another_study(self, pick: int) -> None:
        """Register one more study of an order's patient under its number, by «Ещё исследование»."""
        first = self._order(pick)
        given = draft(patient=first.patient, submission_id="")
        try:
            made = self.store.write(referrals.register_another, first.id, given, REGISTRAR, SHARING)
        except BrokerError:
            return
        self.truth.of_order[made.id] = self.truth.of_order[first.id]

    @precondition(lambda self: self.truth.of_order)
    @rule(pick=PICK, who=WHO, spelt=SPELT, named=st.sampled_from(("", "uid", "number", "all")))
    def report(self, pick: int, who: str, spelt: Any, named: str) -> None:
        """Let a modality report a study of `who`, for an order, for all that share its number, or without one."""
        order, told = self._order(pick), self._reported(who, spelt)
        if self._is_told_apart_by_nothing(who, told):
            return
        self.uids += 1
        uid = f"1.2.3.{self.uids}"
        with self.store.read() as reader:
            request = [order, *orders.of_request(reader, order)] if named == "all" else [order]
        numbers = [("" if named == "number" else each.study_instance_uid, each.shown_number) for each in request]
        references = [StepReference(*each) for each in numbers] if named else []
        step = performed(uid, *references, **told)
        self.store.write(performed_steps.start, step, message(uid), XRAY, CLINIC)
        with self.store.read() as reader:
            self.truth.of_step[int(reader.value("SELECT max(id) FROM performed_step"))] = who

    @precondition(lambda self: self.truth.of_order)
    @rule(pick=PICK, who=WHO, spelt=SPELT, own_uid=st.booleans())
    def archive(self, pick: int, who: str, spelt: Any, own_uid: bool) -> None:
        """Let the archive answer with images of `who` for an order, perhaps under a UID of the device's own."""
        order, told = self._order(pick), self._reported(who, spelt)
        if self._is_told_apart_by_nothing(who, told):
            return
        uid = f"1.2.4.{pick}" if own_uid else order.study_instance_uid
        numbers = {"study_instance_uid": uid, "accession_number": order.accession_number}
        study = self._study(told, **numbers, modality=order.modality)
        self.truth.answers[order.id] = study, who
        self._ask_archive(order.id)

    @rule(trusted=st.booleans())
    def know_device(self, trusted: bool) -> None:
        """Let an administrator say that the X-ray makes Study Instance UIDs of its own, or that it does not."""
        device = replace(factory.DEVICES[0], own_study_uids=trusted)
        self.store.write(lambda tx: devices.put(tx, device))

    @rule(pick=PICK, who=WHO, spelt=SPELT)
    def hold(self, pick: int, who: str, spelt: Any) -> None:
        """Let the archive hold a study of `who` that bears no order's number, of a kind that is made here."""
        kind = self._order(pick).modality if self.truth.of_order else "DX"
        study = self._study(self._reported(who, spelt), study_instance_uid=f"1.2.5.{pick}", modality=kind)
        self.truth.held = [each for each in self.truth.held if each.study_instance_uid != study.study_instance_uid]
        self.truth.held.append(study)
        self.store.write(unreferred_studies.record_day, TODAY, self.truth.held, SYSTEM)

    # ---- what other clinics send ----

    @rule(who=WHO, spelt=SPELT, auto=st.booleans())
    def other_clinic_refers(self, who: str, spelt: Any, auto: bool) -> None:
        self.truth.of_task[self.region.bus.refer(PEOPLE[who], _spelt(who, spelt))] = who
        self._poll(auto)

    @precondition(lambda self: self.truth.of_task)
    @rule(pick=PICK)
    def other_clinic_cancels(self, pick: int) -> None:
        tasks = sorted(self.truth.of_task)
        self.region.bus.put("Task", tasks[pick % len(tasks)], status="cancelled")
        self._poll(False)

    @rule(pick=PICK, who=WHO, spelt=SPELT)
    def other_clinic_reports(self, pick: int, who: str, spelt: Any) -> None:
        """Let the other clinic report on an order that was referred to it, perhaps on the wrong patient."""
        if who in NEWBORN:
            return  # without a number they are told apart by nothing
        sent = self._rows("SELECT order_id, value AS task FROM bus_reference WHERE name = 'task' ORDER BY order_id")
        placed = [row for row in sent if row["task"].startswith("placed")]
        if placed:
            row = placed[pick % len(placed)]
            report = self.region.bus.report(row["task"], PEOPLE[who], _spelt(who, spelt))
            self.truth.of_result[f"DiagnosticReport/{report}"] = who, row["order_id"]
            self._poll(False)

    # ---- what people decide ----

    @precondition(lambda self: self.truth.of_order)
    @rule(pick=PICK, other=PICK)
    def find_order(self, pick: int, other: int) -> None:
        """Link a study without an order to the one that is offered, or to any."""
        with self.store.read() as reader:
            waiting = unreferred_queries.open_studies(reader)
        if not waiting:
            return
        each = waiting[pick % len(waiting)]
        order = each.candidates[0] if each.candidates else self._order(other)
        seen = Confirmation(order.patient, _EVERY_FIELD)
        try:
            link = archive_images.link_unreferred
            self.store.write(link, each.unreferred.id, order.id, REGISTRAR, CLINIC, seen)
        except BrokerError:
            return
        self._note_decision(order)

    @rule(who=WHO)
    def refer_there(self, who: str) -> None:
        """Refer somebody to another clinic; the region takes it."""
        sent = draft(patient=PEOPLE[who], owner=THEM, station_ae_titles=(), submission_id="")
        try:
            order = self.store.write(referrals.register, sent, REGISTRAR, CLINIC)
        except Invalid:
            return  # a person has to look
        self._note_placed(order, who)

    @rule(pick=PICK)
    def place_again(self, pick: int) -> None:
        """Cancel a referral there and place it again; a report on the old one may still come."""
        waiting = self._rows("SELECT id, revision FROM orders WHERE state = 'referred' ORDER BY id")
        if waiting:
            old = waiting[pick % len(waiting)]
            try:
                placed = self.store.write(referrals.reissue, old["id"], old["revision"], REGISTRAR, CLINIC)
            except Invalid:
                return  # the patient has withdrawn the consent
            self._note_placed(placed, self.truth.of_order[old["id"]])

    @rule(pick=PICK, take=st.booleans())
    def answer_referral(self, pick: int, take: bool) -> None:
        """Accept or decline a referral of another clinic."""
        with self.store.read() as reader:
            waiting = inbox.waiting(reader)
            procedures = lookups.procedures(reader)
        if not waiting:
            return
        came = waiting[pick % len(waiting)]
        if not take:
            self.store.write(incoming_referrals.decline, came.stored_id, "нет аппарата", REGISTRAR, CLINIC)
            return
        sent = replace(incoming_referrals.draft_of(came, procedures, soon()), station_ae_titles=("XRAY_14",))
        try:
            self.store.write(incoming_referrals.accept, came.stored_id, sent, REGISTRAR, CLINIC)
        except Invalid:
            return  # a person has to look
        self._note_accepted()

    @rule(pick=PICK, other=PICK, sure=st.booleans())
    def link(self, pick: int, other: int, sure: bool) -> None:
        free = self._rows(
            "SELECT id, sop_instance_uid FROM performed_step p WHERE source = 'modality' AND NOT EXISTS"
            " (SELECT 1 FROM performed_step_link l WHERE l.performed_step_id = p.id)"
        )
        if not free or not self.truth.of_order:
            return
        step, order = free[pick % len(free)], self._order(other)
        try:
            self.store.write(step_links.link, step["sop_instance_uid"], order.id, REGISTRAR, CLINIC)
        except Invalid as caught:
            if not sure:
                return
            seen = Confirmation(order.patient, tuple(caught.problems))
            self.store.write(step_links.link, step["sop_instance_uid"], order.id, REGISTRAR, CLINIC, seen)
            self.truth.confirmed.add((step["id"], order.id))
        # Without a contradiction the registrar chose by what the screen says; both say the same.

    @rule(pick=PICK, who=WHO, sure=st.booleans())
    def register_walk_in(self, pick: int, who: str, sure: bool) -> None:
        """Register a study that was made without an order as that of `who`."""
        free = self._rows(
            "SELECT id, sop_instance_uid FROM performed_step p WHERE source = 'modality' AND NOT EXISTS"
            " (SELECT 1 FROM performed_step_link l WHERE l.performed_step_id = p.id)"
        )
        if not free:
            return
        step, given = free[pick % len(free)], draft(patient=PEOPLE[who])
        uid = step["sop_instance_uid"]
        seen = None
        for _ in range(2):
            try:
                order = self.store.write(referrals.register_walk_in, uid, given, REGISTRAR, CLINIC, seen)
            except Invalid as caught:
                if not sure or set(caught.problems.values()) != {"contradicts"}:
                    return
                seen = Confirmation(given.patient, tuple(caught.problems))
            else:
                self.truth.of_order[order.id] = who
                if seen:
                    self.truth.confirmed.add((step["id"], order.id))
                return

    @rule(pick=PICK, confirm=st.booleans())
    def look(self, pick: int, confirm: bool) -> None:
        """Confirm a link or undo it."""
        linked = self._links()
        if not linked:
            return
        link = linked[pick % len(linked)]
        if confirm:
            with self.store.read() as reader:
                patient = orders.require(reader, link["order_id"]).patient
            seen = Confirmation(patient, tuple(link["conflict"].split(", ")))
            self.store.write(step_links.confirm_patient, link["uid"], link["order_id"], REGISTRAR, CLINIC, seen)
            self.truth.confirmed.add((link["step_id"], link["order_id"]))
        else:
            self.store.write(step_links.unlink, link["uid"], link["order_id"], REGISTRAR, CLINIC)
            newest = int(self._rows("SELECT coalesce(max(id), 0) AS id FROM performed_step")[0]["id"])
            if newest not in self.truth.of_step:  # of a study that a person has chosen the order for, and which stays
                self.truth.of_step[newest] = "by a person"
                self.truth.confirmed.add((newest, link["order_id"]))
            self._ask_archive(link["order_id"])  # which is done of all orders that wait

    @rule(pick=PICK, take=st.booleans())
    def decide(self, pick: int, take: bool) -> None:
        """Decide about a study of the archive that does not fit."""
        with self.store.read() as reader:
            waiting = [each.discrepancy for each in archive_gaps.open_studies(reader)]
        if not waiting:
            return
        gap = waiting[pick % len(waiting)]
        try:
            if not take:
                self.store.write(archive_images.dismiss, gap.id, REGISTRAR, CLINIC)
                return
            with self.store.read() as reader:
                patient = orders.require(reader, gap.order_id).patient
            seen = Confirmation(patient, _EVERY_FIELD)
            order = self.store.write(archive_images.accept, gap.id, REGISTRAR, CLINIC, seen)
        except BrokerError:
            return
        self._note_decision(order)

    @rule(pick=PICK, other=PICK)
    def merge(self, pick: int, other: int) -> None:
        cards = self._rows("SELECT id, revision FROM patient WHERE merged_into IS NULL ORDER BY id")
        if len(cards) < 2:
            return
        one, two = cards[pick % len(cards)], cards[other % len(cards)]
        try:
            self.store.write(
                patient_merge.merge, one["id"], two["id"], (), (one["revision"], two["revision"]), REGISTRAR, CLINIC
            )
        except BrokerError:
            return
        self.truth.merged |= {one["id"], two["id"]}

    @rule(pick=PICK, answers=st.booleans(), knows=st.booleans())
    def split(self, pick: int, answers: bool, knows: bool) -> None:
        """Take two cards apart; who does it knows whose the orders since the merge are, does not, or does not say."""
        merges = self._rows("SELECT id FROM patient_merge ORDER BY id")
        if not merges:
            return
        id = merges[pick % len(merges)]["id"]
        with self.store.read() as reader:
            trail = patient_merges.require(reader, id)
            later = patient_merges.later_orders(reader, trail)
        theirs = {self.truth.of_order[each] for each in trail.moved.orders}
        decided = {each: self.truth.of_order[each] in theirs if knows else None for each in later}
        try:
            given = decided if answers else None
            self.store.write(patient_merge.undo_merge, id, REGISTRAR, CLINIC, decided=given)
        except BrokerError:
            return
        assert answers or not later

    @rule(pick=PICK)
    def decide_order(self, pick: int) -> None:
        """Say whose an order is of which that was not known; who says it knows."""
        with self.store.read() as reader:
            waiting = undecided.waiting(reader)
            if not waiting:
                return
            found = waiting[pick % len(waiting)]
            other = orders.of_patient(reader, found.cards[1].stored_id)
        of_other = {self.truth.of_order[each.id] for each in other}
        card = found.cards[self.truth.of_order[found.order.id] in of_other]
        self.store.write(patient_merge.decide_order, found.order.id, card.stored_id, REGISTRAR, CLINIC)

    @rule(pick=PICK, who=WHO, married=st.booleans(), looks=st.booleans())
    def correct_card(self, pick: int, who: str, married: bool, looks: bool) -> None:
        """Change a card by «Изменить»: a family name by marriage, or into somebody else's data."""
        cards = self._rows("SELECT id FROM patient WHERE merged_into IS NULL ORDER BY id")
        if not cards:
            return
        id = cards[pick % len(cards)]["id"]
        with self.store.read() as reader:
            known = patients.get(reader, id)
            made = [each.order.id for each in made_studies.of_patients(reader, [id])]
        assert known is not None
        other = PEOPLE[who]
        if married and names.identifies(known.name):
            after = replace(known, name=replace(known.name, family=f"Замужняя{id}"))
        else:
            after = replace(known, name=other.name, birth_date=other.birth_date, sex=other.sex)
        contradicts = bool(correction.contradictions(known, after))
        correct = patient_correction.correct
        try:
            self.store.write(correct, after, REGISTRAR, CLINIC, made_seen=made if looks else None)
        except Invalid:
            return
        assert looks or not (contradicts and made)
        if not married or not names.identifies(known.name):
            self.truth.merged.add(id)  # a person has said that it is somebody else, or who the unknown one is

    @rule(pick=PICK, agrees=st.booleans())
    def say_consent(self, pick: int, agrees: bool) -> None:
        """Give or withdraw the consent that data go to the region."""
        cards = self._rows("SELECT id FROM patient WHERE merged_into IS NULL ORDER BY id")
        if cards:
            use_case = patient_consent.give if agrees else patient_consent.withdraw
            self.store.write(use_case, cards[pick % len(cards)]["id"], REGISTRAR, CLINIC)

    @rule(pick=PICK, takes=st.booleans())
    def answer_result(self, pick: int, takes: bool) -> None:
        """Take a result that was set aside for our patient's, or remove it."""
        with self.store.read() as reader:
            asides = [each for each in inbox.troubled(reader) if each.contradicts and each.order_id is not None]
            if not asides:
                return
            item = asides[pick % len(asides)]
            patient = orders.require(reader, item.order_id or 0).patient
        if takes:
            seen = Confirmation(patient, item.contradicts)
            self.store.write(external_results.take_as_ours, item.id, item.version, REGISTRAR, seen)
            self.truth.taken.add(item.order_id or 0)
            self._poll(False)
        else:
            self.store.write(incoming_referrals.dismiss_result, item.id, REGISTRAR)

    # ---- what must hold ----

    @invariant()
    def nobody_shares_a_card_unless_a_person_merged_it(self) -> None:
        by_card: dict[int, set[str]] = {}
        for row in self._rows("SELECT id, patient_id FROM orders"):
            by_card.setdefault(row["patient_id"], set()).add(self.truth.of_order[row["id"]])
        for card, people in by_card.items():
            assert len(people) == 1 or card in self.truth.merged, (card, people)

    @invariant()
    def no_images_count_for_another_person_unless_a_person_said_so(self) -> None:
        for link in self._links():
            step, order = self.truth.of_step.get(link["step_id"]), self.truth.of_order[link["order_id"]]
            settled = link["conflict"] != "" or (link["step_id"], link["order_id"]) in self.truth.confirmed
            assert step == order or settled or link["card"] in self.truth.merged, (step, order)

    @invariant()
    def nothing_is_lost(self) -> None:
        kept = {row["id"] for row in self._rows("SELECT id FROM performed_step WHERE source = 'modality'")}
        assert len(kept) == self.uids
        assert {row["id"] for row in self._rows("SELECT id FROM orders")} == set(self.truth.of_order)
        assert not self._rows(
            "SELECT 1 FROM orders o JOIN patient p ON p.id = o.patient_id WHERE p.merged_into IS NOT NULL"
        )

    @invariant()
    def everything_is_shown_to_a_person(self) -> None:
        with self.store.read() as reader:
            answers = {id: study for id, (study, _) in self.truth.answers.items()}
            assert hidden(reader, answers, self.truth.held) == []

    @invariant()
    def no_report_is_taken_for_another_persons_or_another_order(self) -> None:
        for row in self._rows("SELECT reference, order_id, patient_id FROM external_study"):
            who, order = self.truth.of_result[row["reference"]]
            assert row["order_id"] == order, row
            is_taken = order in self.truth.taken or row["patient_id"] in self.truth.merged
            assert who == self.truth.of_order[order] or is_taken, row

    @invariant()
    def no_message_is_lost(self) -> None:
        known = {row["reference"] for row in self._rows("SELECT reference FROM incoming_item")}
        assert known >= set(self.region.bus.tasks())
        taken = {row["task"]: row for row in self._rows("SELECT task, state, order_id FROM incoming_referral")}
        assert set(taken) == set(self.truth.of_task)
        assert all(row["order_id"] is not None for row in taken.values() if row["state"] == "accepted")
        declined = self._rows(
            "SELECT r.id FROM incoming_referral r WHERE r.state = 'declined' AND NOT EXISTS"
            " (SELECT 1 FROM outbox b WHERE b.incoming_id = r.id AND b.kind = 'decline')"
        )
        assert not declined
        queued = int(self._rows("SELECT count(*) AS rows FROM outbox")[0]["rows"])
        assert queued >= self.messages
        self.messages = queued

    # ---- helpers ----

    def _ask_archive(self, order_id: int) -> None:
        """Let the archive answer of an order as it did last."""
        if order_id in self.truth.answers:
            study, who = self.truth.answers[order_id]
            if self.store.write(archive_images.record_answer, order_id, [study], SYSTEM, CLINIC, settled=True):
                self._note_newest_step(who)

    def _poll(self, auto_accept: bool) -> None:
        self.region.poll(auto_accept=auto_accept)
        self._note_accepted()

    def _note_accepted(self) -> None:
        for row in self._rows("SELECT order_id, task FROM incoming_referral WHERE order_id IS NOT NULL"):
            self.truth.of_order.setdefault(row["order_id"], self.truth.of_task[row["task"]])

    def _note_placed(self, order: Order, who: str) -> None:
        """Let the region have an order that was referred to another clinic."""
        self.truth.of_order[order.id] = who
        ids = {"task": f"placed{order.id}", "service_request": f"s{order.id}", "patient": f"p{order.id}"}
        self.store.write(outbox.set_references, order.id, ids)

    def _order(self, pick: int) -> Order:
        ids = sorted(self.truth.of_order)
        with self.store.read() as reader:
            return orders.require(reader, ids[pick % len(ids)])

    def _reported(self, who: str, spelt: Any) -> dict[str, str]:
        """Return how a device or an archive names a person: with the card number, if the person has one here."""
        person = PEOPLE[who]
        with self.store.read() as reader:
            found = next(
                (
                    owner.patient_id
                    for field in ("snils", "policy")
                    if (value := getattr(person, field)) and (owner := patients.find_by(reader, field, value))
                ),
                "",
            )
            own = [order for order, whose in self.truth.of_order.items() if whose == who]
            if who in NEWBORN and own:
                found = orders.require(reader, own[0]).patient.patient_id
        name = names.to_dicom(PersonName(*(spelt(part) for part in (person.name.family, person.name.given))))
        return {
            "patient_name": name,
            "patient_id": found,
            "patient_birth_date": f"{person.birth_date:%Y%m%d}",
            "patient_sex": str(person.sex),
        }

    def _is_told_apart_by_nothing(self, who: str, told: dict[str, str]) -> bool:
        """Return True for a namesake who has no card here: a device's own number does not count beside the name."""
        return who in ("marina", "namesake", *NEWBORN) and not told["patient_id"]

    def _note_decision(self, order: Order) -> None:
        """Note that a person has joined images to an order."""
        newest = int(self._rows("SELECT max(id) AS id FROM performed_step")[0]["id"] or 0)
        if newest not in self.truth.of_step:
            self.truth.of_step[newest] = "by a person"
        self.truth.confirmed |= {(step, order.id) for step in self.truth.of_step}

    def _study(self, told: dict[str, str], **changes: str) -> ArchiveStudy:
        """Return a study of the archive with the patient as it is named there."""
        study = ArchiveStudy(
            "", "", 2, "DX", told["patient_name"], told["patient_id"], told["patient_birth_date"], soon()
        )
        return replace(study, patient_sex=told["patient_sex"], **changes)  # type: ignore[arg-type]

    def _note_newest_step(self, who: str) -> None:
        self.truth.of_step[int(self._rows("SELECT max(id) AS id FROM performed_step")[0]["id"])] = who

    def _links(self) -> list[Any]:
        return self._rows(
            "SELECT p.id AS step_id, p.sop_instance_uid AS uid, s.order_id, l.conflict, o.patient_id AS card"
            " FROM performed_step_link l JOIN performed_step p ON p.id = l.performed_step_id"
            " JOIN scheduled_step s ON s.id = l.scheduled_step_id JOIN orders o ON o.id = s.order_id ORDER BY 1, 3"
        )

    def _rows(self, query: str) -> list[Any]:
        with self.store.read() as reader:
            return list(reader.rows(query))


_EVERY_FIELD = ("patient_name", "patient_id", "patient_birth_date", "patient_sex")


def _spelt(who: str, spelt: Any) -> PersonName:
    name = PEOPLE[who].name
    return PersonName(*(spelt(part) for part in (name.family, name.given, name.middle)))


@pytest.mark.slow
def test_no_path_joins_two_people_without_a_person_and_none_loses_a_study() -> None:
    run_state_machine_as_test(
        Identity,
        settings=settings(
            max_examples=EXAMPLES, stateful_step_count=STEPS, deadline=None, derandomize="IDENTITY" not in os.environ
        ),
    )
