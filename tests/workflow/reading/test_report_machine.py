"""Whatever doctors do in whatever order and many windows: one writes at a time, and no words are lost or leak."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.domain.errors import BrokerError
from broker.domain.orders import Order
from broker.domain.reading.leases import LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.domain.reading.reports import Report, ReportChange
from broker.store.queries import order_card
from broker.store.tables import accounts
from broker.store.tables.reading import leases, over_reads, reports
from broker.workflow.reading import kept_texts, writing
from broker.workflow.reading import over_reads as asking
from broker.workflow.reading import reports as written
from broker.workflow.reading.reports import ReportText, Revision
from broker.workflow.referrals import referrals
from broker.workflow.studies import step_links
from tests.support.factory import CLINIC, REGISTRAR, draft
from tests.workflow.reading.test_reads import ADMIN, ANNA, BORIS, VERA, Room

EXAMPLES = int(os.environ.get("READING", "30"))  # many more by hand
DOCTORS = {who.name: who for who in (ANNA, BORIS, VERA)}
doctors = st.sampled_from(sorted(DOCTORS))
windows = st.integers(0, 1)
which = st.integers(0, 1)
twice = st.booleans()
answers = st.sampled_from([OverReadOutcome.AGREES, OverReadOutcome.DIFFERS])


class ReportMachine(RuleBasedStateMachine):
    """Two studies that one doctor reports, three doctors, each with two windows on each study."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.room = Room(Path(self._folder.name) / "worklist.sqlite")
        for who in (*DOCTORS.values(), ADMIN):
            self.room.store.write(accounts.add, who.name, who.title, who.roles, "hash")
        self.orders = [self.room.study(procedure_code="WLB-HAND") for _ in range(2)]
        self.shown: dict[tuple[str, int, int], Report | None] = {}  # what a window shows
        self.last: dict[tuple[str, int], ReportText] = {}  # of a doctor and study: the last text that was saved
        self.signed: dict[tuple[int, int], Report] = {}  # by order and version
        self.ended: dict[int, OverRead] = {}
        self.marks = 0
        self.images = 0

    def teardown(self) -> None:
        """Close what was opened."""
        self.room.store.close()
        self._folder.cleanup()

    # ---- what there is ----

    def _mark(self, word: str) -> str:
        self.marks += 1
        return f"{word}{self.marks:04}"

    def _report(self, order: Order) -> Report | None:
        with self.room.store.read() as reader:
            return reports.of_order(reader, order.id)

    def _asked(self, order: Order) -> OverRead | None:
        with self.room.store.read() as reader:
            return over_reads.open_of(reader, order.id)

    def _writer(self, order: Order, purpose: LeasePurpose = LeasePurpose.REPORT) -> str:
        with self.room.store.read() as reader:
            lease = leases.of_order(reader, order.id, self.room.clock.now, purpose)
        return lease.reader if lease else ""

    def _outgoing(self) -> list[tuple[str, int]]:
        with self.room.store.read() as reader:
            rows = reader.rows("SELECT kind, order_id FROM outbox WHERE state <> 'dropped'")
        return [(row["kind"], row["order_id"]) for row in rows]

    def _attempt(self, use_case: Callable[..., Any], *arguments: Any) -> Any:
        with contextlib.suppress(BrokerError):
            return self.room.store.write(use_case, *arguments)
        return None

    # ---- writing ----

    @rule(login=doctors, place=which, window=windows)
    def look(self, login: str, place: int, window: int) -> None:
        self.shown[login, place, window] = self._report(self.orders[place])

    @rule(login=doctors, place=which)
    def begin(self, login: str, place: int) -> None:
        before = self._writer(self.orders[place])
        begun = self._attempt(writing.begin, self.orders[place].id, DOCTORS[login], CLINIC)
        assert (begun is not None) == (before in ("", login))

    @rule(login=doctors, place=which)
    def leave(self, login: str, place: int) -> None:
        self._attempt(writing.leave, self.orders[place].id, DOCTORS[login])

    @rule(login=doctors, place=which, window=windows, again=twice, signs=st.booleans())
    def save_or_sign(self, login: str, place: int, window: int, again: bool, signs: bool) -> None:
        order, mark = self.orders[place], self._mark("MARK")
        shown = self.shown.get((login, place, window))
        revision, said = (shown.revision if shown else 0), ReportText(mark, f"{mark} c")
        before = self._writer(order)
        for _ in range(1 + again):
            use_case = written.sign if signs else written.save_report
            done = self._attempt(use_case, order.id, revision, said, DOCTORS[login], CLINIC)
            if done is None:
                with contextlib.suppress(BrokerError):  # as the page does
                    self.room.store.write(kept_texts.set_aside, order.id, asdict(said), DOCTORS[login])
            else:
                assert before in ("", login)
                self.shown[login, place, window] = done
            self.last[login, place] = said

    @rule(login=doctors, place=which, window=windows, change=st.sampled_from(list(ReportChange)), again=twice)
    def revise(self, login: str, place: int, window: int, change: ReportChange, again: bool) -> None:
        order, shown, mark = self.orders[place], self.shown.get((login, place, window)), self._mark("NEWER")
        text = ReportText(mark, f"{mark} c") if change is ReportChange.CORRECTION else None
        before = self._writer(order)
        for _ in range(1 + again):
            version = shown.version if shown else 1
            revision = Revision(change, mark, text)
            done = self._attempt(written.revise, order.id, version, revision, DOCTORS[login], CLINIC)
            assert done is None or before in ("", login)

    # ---- reading over ----

    def _sends_nothing(self, use_case: Callable[..., Any], *arguments: Any) -> Any:
        before = self._outgoing()
        done = self._attempt(use_case, *arguments)
        assert self._outgoing() == before
        return done

    @rule(login=doctors, whom=st.sampled_from(["", *sorted(DOCTORS)]), place=which, again=twice)
    def ask(self, login: str, whom: str, place: int, again: bool) -> None:
        order, report = self.orders[place], self._report(self.orders[place])
        for _ in range(1 + again):
            version = report.version if report else 1
            self._sends_nothing(asking.ask, order.id, version, whom, "вопрос", DOCTORS[login])

    @rule(login=doctors, whom=st.sampled_from(["", *sorted(DOCTORS)]), place=which)
    def ask_another(self, login: str, whom: str, place: int) -> None:
        if asked := self._asked(self.orders[place]):
            self._sends_nothing(asking.ask_another, asked.stored_id, whom, DOCTORS[login])

    @rule(login=doctors, place=which)
    def begin_answer(self, login: str, place: int) -> None:
        if asked := self._asked(self.orders[place]):
            self._sends_nothing(asking.begin, asked.stored_id, DOCTORS[login], CLINIC)

    @rule(login=doctors, place=which, window=windows, outcome=answers, again=twice)
    def answer(self, login: str, place: int, window: int, outcome: OverReadOutcome, again: bool) -> None:
        order, asked = self.orders[place], self._asked(self.orders[place])
        if asked is None:
            return
        mark, before = self._mark("OTHER"), self._writer(order, LeasePurpose.OVER_READ)
        shown = self.shown.get((login, place, window))
        said, version = OverReadText(mark, f"{mark} c"), shown.version if shown else 1
        for _ in range(1 + again):
            done = self._sends_nothing(asking.answer, asked.stored_id, version, outcome, said, DOCTORS[login], CLINIC)
            assert done is None or before in ("", login)

    @rule(who=st.sampled_from([*sorted(DOCTORS), "admin"]), place=which, declines=st.booleans())
    def end_the_request(self, who: str, place: int, declines: bool) -> None:
        if asked := self._asked(self.orders[place]):
            actor = DOCTORS.get(who, ADMIN)
            self._sends_nothing(asking.decline if declines else asking.withdraw, asked.stored_id, "нет", actor)

    @rule(login=doctors, place=which)
    def heed(self, login: str, place: int) -> None:
        with self.room.store.read() as reader:
            found = over_reads.of_order(reader, self.orders[place].id)
        for each in found:
            self._sends_nothing(asking.heed, each.stored_id, DOCTORS[login])

    # ---- what happens besides ----

    @rule(place=which)
    def amend(self, place: int) -> None:
        order = self.orders[place]
        with contextlib.suppress(BrokerError):
            changed = draft(procedure_code="WLB-HAND", comment=self._mark("комментарий "))
            with self.room.store.read() as reader:
                card = order_card.card(reader, order.accession_number)
            assert card is not None
            self.room.store.write(referrals.amend, order.id, card.order.revision, changed, REGISTRAR, CLINIC)

    @rule(place=which)
    def make_more_images(self, place: int) -> None:
        if self.images < 5:
            self.images += 1
            with contextlib.suppress(BrokerError):
                self.room.images(self.orders[place], f"1.2.9.{self.images}")

    @rule(place=which)
    def take_images_away(self, place: int) -> None:
        self._attempt(step_links.unlink, f"1.2.{place + 1}", self.orders[place].id, REGISTRAR, CLINIC)

    @rule(minutes=st.sampled_from([1, 14, 15, 60]))
    def wait(self, minutes: int) -> None:
        self.room.later(timedelta(minutes=minutes))

    @rule()
    def crash(self) -> None:
        """End without a word and start again: every window shows what it showed."""
        self.room.reopen()

    # ---- what holds at every step ----

    @invariant()
    def the_last_text_of_every_doctor_is_the_report_or_kept_for_them(self) -> None:
        for (login, place), said in self.last.items():
            order = self.orders[place]
            with self.room.store.read() as reader:
                kept = [ReportText(**each.text) for each in kept_texts.of_order(reader, order.id, DOCTORS[login])]
                signed = [ReportText.of(each) for each in reports.versions(reader, order.id)]
                now = reports.of_order(reader, order.id)
            there = [*kept, *signed, *([ReportText.of(now)] if now else [])]
            assert said in there

    @invariant()
    def versions_only_grow_and_none_changes(self) -> None:
        for order in self.orders:
            with self.room.store.read() as reader:
                found = reports.versions(reader, order.id)
            assert [each.version for each in found] == list(range(len(found), 0, -1))
            for each in found:
                same = replace(each, saved_at=None)
                assert self.signed.setdefault((order.id, each.version), same) == same

    @invariant()
    def a_report_goes_out_once_and_its_versions_not_more_often_than_they_were_signed(self) -> None:
        sent = self._outgoing()
        for order in self.orders:
            with self.room.store.read() as reader:
                versions = len(reports.versions(reader, order.id))
            assert sent.count(("report", order.id)) <= min(1, versions)

    @invariant()
    def one_request_is_open_and_only_about_a_report_that_stands(self) -> None:
        for order in self.orders:
            with self.room.store.read() as reader:
                found = over_reads.of_order(reader, order.id)
                report = reports.signed(reader, order.id)
            waits = [each for each in found if each.is_open]
            assert len(waits) <= 1
            assert not waits or (report is not None and not report.is_withdrawn)

    @invariant()
    def an_answer_is_a_colleagues_and_stays_what_it_is(self) -> None:
        for order in self.orders:
            with self.room.store.read() as reader:
                found = over_reads.of_order(reader, order.id)
            for each in found:
                if each.is_open:
                    continue
                same = replace(each, heeded_at=None)
                assert self.ended.setdefault(each.stored_id, same) == same
                if each.is_answered:
                    with self.room.store.read() as reader:
                        first = reports.versions(reader, order.id)[-1]
                    assert each.ended_by not in (each.asked_by, first.author)
                    assert each.asked_of in ("", each.ended_by)

    @invariant()
    def nothing_of_an_answer_is_on_the_card_in_the_trail_or_in_the_report(self) -> None:
        with self.room.store.read() as reader:
            trail = json.dumps([row["details"] for row in reader.rows("SELECT details FROM audit")])
            shown = [repr(order_card.card(reader, order.accession_number)) for order in self.orders]
        assert "OTHER" not in trail
        assert not any("OTHER" in each for each in shown)


ReportMachine.TestCase.settings = settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None)
TestReports = pytest.mark.slow(ReportMachine.TestCase)
