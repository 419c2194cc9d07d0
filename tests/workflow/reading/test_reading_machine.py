"""Whatever readers, devices and registrars do in whatever order: the rules of double reading hold at every step."""

from __future__ import annotations

import contextlib
import os
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.domain.errors import BrokerError
from broker.domain.orders import Order
from broker.domain.reading.opinions import Finding, Opinion, Read, ReadingStage
from broker.domain.reading.reports import Report, SeenImages
from broker.store.queries import order_card
from broker.store.tables.reading import joint_decisions, reads, reports
from broker.workflow.reading import joint_decisions as together
from broker.workflow.reading import reads as reading
from broker.workflow.reading import reports as written
from broker.workflow.reading import writing
from broker.workflow.reading.reports import ReportText
from broker.workflow.studies import step_links
from tests.support.factory import CLINIC, REGISTRAR
from tests.workflow.reading.test_reads import ADMIN, ANNA, BORIS, VERA, Room

EXAMPLES = int(os.environ.get("READING", "30"))  # many more by hand
READERS = {who.name: who for who in (ANNA, BORIS, VERA)}
readers = st.sampled_from(sorted(READERS))
findings = st.sampled_from(list(Finding))
which = st.integers(0, 1)


class ReadingMachine(RuleBasedStateMachine):
    """Two studies that are read twice, three readers."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.room = Room(Path(self._folder.name) / "worklist.sqlite")
        self.orders = [self.room.study(), self.room.study()]
        self.uids = 100
        self.signed: dict[int, Report] = {}
        self.said: dict[str, tuple[int, str]] = {}  # marker -> order and reader
        self.marks = 0

    def teardown(self) -> None:
        """Close what was opened."""
        self.room.store.close()
        self._folder.cleanup()

    def _attempt(self, *call: object) -> None:
        use_case, *arguments = call
        with contextlib.suppress(BrokerError):
            self.room.store.write(use_case, *arguments)  # type: ignore[arg-type]

    def _reads(self, order: Order) -> list[Read]:
        with self.room.store.read() as reader:
            return reads.of_order(reader, order.id)

    def _report(self, order: Order) -> Report | None:
        with self.room.store.read() as reader:
            return reports.signed(reader, order.id)

    @rule(login=readers, place=which)
    def open(self, login: str, place: int) -> None:
        self._attempt(reading.open_case, self.orders[place].id, READERS[login], CLINIC)

    @rule(login=readers, place=which)
    def leave(self, login: str, place: int) -> None:
        self._attempt(writing.leave, self.orders[place].id, READERS[login])

    @rule(login=readers, place=which, finding=findings, twice=st.booleans())
    def give(self, login: str, place: int, finding: Finding, twice: bool) -> None:
        order = self.orders[place]
        self.marks += 1
        mark = f"MARK{self.marks:04}"
        self.said[mark] = (order.id, login)
        for _ in range(1 + twice):
            with contextlib.suppress(BrokerError):
                self.room.give(order, READERS[login], Opinion(finding), ReportText(f"{mark} d", f"{mark} c"))

    @rule(login=readers, place=which)
    def keep(self, login: str, place: int) -> None:
        order = self.orders[place]
        self._attempt(reading.keep, order.id, 0, None, ReportText("черновик"), READERS[login], CLINIC)

    @rule(login=readers, place=which)
    def take_back(self, login: str, place: int) -> None:
        self._attempt(reading.take_back, self.orders[place].id, READERS[login], CLINIC)

    @rule(login=readers)
    def finish(self, login: str) -> None:
        self._attempt(reading.finish, tuple(order.id for order in self.orders), READERS[login], CLINIC)

    @rule(login=readers, place=which)
    def defer(self, login: str, place: int) -> None:
        self._attempt(reading.defer, self.orders[place].id, "нет снимка", READERS[login], CLINIC)

    @rule(place=which)
    def resume(self, place: int) -> None:
        self._attempt(reading.resume, self.orders[place].id, ADMIN)

    @rule(login=readers, place=which)
    def sign_alone(self, login: str, place: int) -> None:
        text = ReportText("", "один врач")
        self._attempt(written.sign, self.orders[place].id, 0, text, READERS[login], CLINIC)

    @rule(login=readers, place=which, finding=findings, twice=st.booleans())
    def propose_together(self, login: str, place: int, finding: Finding, twice: bool) -> None:
        order = self.orders[place]
        self.marks += 1
        mark = f"MARK{self.marks:04}"
        self.said[mark] = (order.id, login)
        for _ in range(1 + twice):
            said = ReportText(f"{mark} d", f"{mark} c")
            revision, seen = self._proposal(order), self._seen(order)
            self._attempt(together.propose, order.id, revision, Opinion(finding), said, READERS[login], CLINIC, seen)

    @rule(login=readers, place=which, behind=st.integers(0, 1), twice=st.booleans())
    def confirm_together(self, login: str, place: int, behind: int, twice: bool) -> None:
        order = self.orders[place]
        revision, seen = self._proposal(order) - behind, self._seen(order)
        for _ in range(1 + twice):
            self._attempt(together.confirm, order.id, revision, READERS[login], CLINIC, seen)

    @rule(login=readers, place=which)
    def take_the_proposal_away(self, login: str, place: int) -> None:
        self._attempt(together.withdraw, self.orders[place].id, READERS[login], CLINIC)

    def _seen(self, order: Order) -> SeenImages:
        with self.room.store.read() as reader:
            return reports.images(reader, order)

    def _proposal(self, order: Order) -> int:
        """Return the revision of what is proposed now; 0 if nothing is."""
        with self.room.store.read() as reader:
            images = reports.images(reader, order)
            found = joint_decisions.of_images(reader, order.id, images.revision, order.patient.stored_id)
        return found.revision if found else 0

    @rule(place=which)
    @precondition(lambda self: self.uids < 110)
    def make_more_images(self, place: int) -> None:
        self.uids += 1
        with contextlib.suppress(BrokerError):
            self.room.images(self.orders[place], f"1.2.{self.uids}")

    @rule(place=which)
    def take_images_away(self, place: int) -> None:
        self._attempt(step_links.unlink, f"1.2.{place + 1}", self.orders[place].id, REGISTRAR, CLINIC)

    @rule(double=st.booleans())
    def change_what_is_read_twice(self, double: bool) -> None:
        self._attempt(reading.set_double, frozenset({"WLB-KNEE"} if double else ()), ADMIN)

    @rule(minutes=st.sampled_from([1, 9, 11, 16]))
    def wait(self, minutes: int) -> None:
        self.room.later(timedelta(minutes=minutes))

    @rule()
    def crash(self) -> None:
        """End without a word and start again."""
        self.room.reopen()

    @invariant()
    def nobody_reads_one_image_set_twice(self) -> None:
        for order in self.orders:
            given = [(each.images, each.patient_id, each.reader) for each in self._reads(order) if each.given_at]
            assert len(given) == len(set(given))

    @invariant()
    def who_decides_is_neither_of_the_two(self) -> None:
        for order in self.orders:
            for third in (each for each in self._reads(order) if each.arbitrates and each.given_at):
                before = [
                    each
                    for each in self._reads(order)
                    if each.images == third.images and each.given_at and (each.id or 0) < (third.id or 0)
                ]
                assert third.reader not in {each.reader for each in before if not each.arbitrates}

    @invariant()
    def never_one_of_the_two_decides_alone(self) -> None:
        with self.room.store.read() as reader:
            decided = reads.decided_together(reader, [order.id for order in self.orders])
            confirmed = {
                (row["order_id"], row["writer"], row["confirmer"])
                for row in reader.rows("SELECT * FROM joint_decision WHERE confirmed_at IS NOT NULL")
            }
        assert len(decided) == len(confirmed)
        for order_id, writer, confirmer in confirmed:
            [order] = [each for each in self.orders if each.id == order_id]
            given = {each.reader for each in self._reads(order) if each.given_at and not each.arbitrates}
            assert writer != confirmer
            assert {writer, confirmer} <= given

    @invariant()
    def a_report_is_there_only_after_enough_reads_and_stays_the_same(self) -> None:
        for order in self.orders:
            report = self._report(order)
            if report is None:
                assert order.id not in self.signed
                continue
            self.signed.setdefault(order.id, report)
            assert replace(report, saved_at=None) == replace(self.signed[order.id], saved_at=None)

    @invariant()
    def one_report_goes_out_of_each_signed_study_and_none_of_others(self) -> None:
        with self.room.store.read() as reader:
            rows = reader.rows("SELECT order_id FROM outbox WHERE kind = 'report'")
        assert sorted(row["order_id"] for row in rows) == sorted(self.signed)

    @invariant()
    def nothing_of_a_read_is_shown_before_the_report(self) -> None:
        for order in self.orders:
            if order.id in self.signed:
                continue
            with self.room.store.read() as reader:
                shown = repr(order_card.card(reader, order.accession_number))
            assert "MARK" not in shown
            assert not any(login in shown for login in READERS)

    @invariant()
    def no_reader_is_given_anothers_words_but_the_third(self) -> None:
        for order in self.orders:
            for login, who in READERS.items():
                with contextlib.suppress(BrokerError):
                    opened = self.room.store.dry_run(reading.open_case, order.id, who, CLINIC)
                    if opened.case.stage is ReadingStage.ARBITRATION:
                        continue
                    others = {mark for mark, (_, by) in self.said.items() if by != login}
                    assert not any(mark in repr(opened) for mark in others)


ReadingMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None)
TestReading = pytest.mark.slow(ReadingMachine.TestCase)
