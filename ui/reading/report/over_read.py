"""A second opinion on a signed report: asking a colleague, answering, and what was said, below the report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nicegui import ui

from broker.domain.actors import Actor
from broker.domain.errors import Invalid
from broker.domain.reading.leases import Lease, LeasePurpose
from broker.domain.reading.over_reads import OverRead, OverReadOutcome, OverReadText
from broker.domain.reading.reports import Report, ReportChange
from broker.store.database import Reader
from broker.store.queries.reading import over_read_requests, writers
from broker.workflow import accounts
from broker.workflow.reading import over_reads
from ui.live import attempt, current_actor
from ui.reading.report import writing_lease
from ui.reading.report.revision import KeptDraft
from ui.reading.report.writing_lease import WritingLease
from ui.services import Services
from ui.text import errors, words
from ui.text import over_reads as said_words
from ui.widgets import theme
from ui.widgets.draft import Draft
from ui.widgets.form_field import FormField, labelled_field, text_area
from ui.widgets.memo import Memo
from ui.widgets.theme import text

_ASK, _ANOTHER, _AGREE, _DIFFER, _DECLINE = "ask", "another", "agree", "differ", "decline"
_ANSWERS = {_AGREE: OverReadOutcome.AGREES, _DIFFER: OverReadOutcome.DIFFERS}
_TEXTS = {"description": "Описание", "conclusion": "Заключение", "recommendations": "Рекомендации"}


@dataclass(frozen=True, slots=True)
class OverReadData:
    """What the page knows of the over-reads of a report, and what this doctor may do."""

    found: tuple[OverRead, ...] = ()  # the newest first
    colleagues: tuple[tuple[str, str], ...] = ()  # whom this doctor may ask: login, full name
    may_answer: bool = False
    may_manage: bool = False
    lease: Lease | None = None  # of who writes the answer
    kept: KeptDraft | None = None  # what this doctor has typed as the answer

    @property
    def open(self) -> OverRead | None:
        """The request that waits for an answer."""
        return next((each for each in self.found if each.is_open), None)


NONE = OverReadData()


def read(reader: Reader, services: Services, order_id: int, actor: Actor) -> OverReadData:
    """Return the over-reads of a signed report for a doctor."""
    found = over_read_requests.of_report(reader, order_id)
    asked = next((each for each in found if each.is_open), None)
    asks = asked.asked_by if asked else actor.name
    return OverReadData(
        found,
        tuple(over_read_requests.colleagues(reader, order_id, asks).items()),
        asked is not None and over_read_requests.may_answer(reader, asked, actor.name),
        asked is not None and over_reads.may_manage(reader, asked, actor),
        writers.writer(reader, order_id, services.store.clock(), LeasePurpose.OVER_READ),
        accounts.load_draft(reader, _draft_name(asked), actor) if asked else None,
    )


def _draft_name(asked: OverRead) -> str:
    return f"over-read {asked.id}"


class OverReadPanel:
    """The second opinion on one report; a form that is open outlives what else changes.

    `take` opens the form of a new version with texts, and returns False if one is open; `reread` shows the study again;
    `beside` is what a form takes the place of while it is open.
    """

    def __init__(
        self,
        services: Services,
        actor: Actor,
        order_id: int,
        take: Callable[[ReportChange, dict[str, str]], bool],
        reread: Callable[[], Awaitable[None]],
        beside: ui.element,
    ) -> None:
        self._services, self._actor, self._order_id = services, actor, order_id
        self._take, self._reread, self._beside = take, reread, beside
        self._report: Report | None = None
        self._data = OverReadData()
        self._form = ""  # the one that is open
        self._fields: dict[str, FormField] = {}
        self._draft: Draft | None = None
        self._restoring = False
        self._is_new = True  # nothing was shown yet: what was typed before is put into the form again
        self._lease = WritingLease(services, actor, order_id, LeasePurpose.OVER_READ)
        self._shown = Memo(ui.element("div"))
        self._box = ui.element("div")
        self._buttons = Memo(ui.element("div").classes("acts").style("margin-top: 8px"))
        ui.context.client.on_disconnect(self._lease.leave)

    def show(self, report: Report, data: OverReadData) -> None:
        """Draw what has changed."""
        before, self._report, self._data = self._data, report, data
        other = self._lease.of_another(data.lease)
        now = self._services.store.clock()
        hangs = bool(data.open and data.open.hangs(now, self._services.over_read_within))
        key = (data.found, other, hangs, self._services.today(), report.version)
        self._shown.show(key, lambda: self._draw(data, other, now))
        if self._form and (before.open and before.open.id) != (data.open and data.open.id):
            self._close()  # it was answered or taken back meanwhile; what was typed stays as the draft
        choices = (data.open, data.may_answer, data.may_manage, bool(data.colleagues), other, report.is_withdrawn)
        self._buttons.show((*choices, self._form), lambda: self._draw_buttons(other))
        if data.kept and data.may_answer and self._is_new and other is None:
            self._restore(data.kept)
        self._is_new = False

    # ---- what there is ----

    def _draw(self, data: OverReadData, other: Lease | None, now: datetime) -> None:
        if not data.found:
            return
        with theme.section("Второе мнение", "не протокол: регион и пациент его не получают"):
            for each in data.found:
                if each.is_open:
                    self._draw_open(each, other, now)
                else:
                    self._draw_ended(each)

    def _draw_open(self, asked: OverRead, other: Lease | None, now: datetime) -> None:
        zone, today = self._services.clinic.zone, self._services.today()
        with ui.element("div").classes("row-line signed"):
            theme.state_chip("over_read")
            if asked.hangs(now, self._services.over_read_within):
                theme.state_chip("overdue", said_words.waits(asked, now))
            text("span", said_words.request(asked, zone, today), "muted small")
        if asked.question:
            text("p", f"«{asked.question}»", "written")
        if other is not None:
            text("p", writing_lease.notice(other, zone, today, "Второе мнение"), "muted small writer")

    def _draw_ended(self, each: OverRead) -> None:
        zone, today = self._services.clinic.zone, self._services.today()
        at = words.moment(each.ended_at, zone, today) if each.ended_at else ""
        assert each.outcome is not None
        with ui.element("div").classes("row-line signed"):
            theme.state_chip(*said_words.OUTCOMES[each.outcome])
            version = f", о версии {each.version}" if self._report and self._report.version > 1 else ""
            text("span", f"{each.ended_by_title}, {at}{version}", "muted small")
        if each.question and each.is_answered:
            text("p", f"Спросили: «{each.question}»", "muted small")
        if each.reason:
            text("p", each.reason, "written small")
        for name, word in _TEXTS.items():
            if part := getattr(each.said, name):
                agrees = each.outcome is OverReadOutcome.AGREES
                text("h3", "Замечание" if agrees else word, "muted small")
                text("p", part, "written concluded" if name == "conclusion" and not agrees else "written")
        self._draw_taking(each)

    def _draw_taking(self, each: OverRead) -> None:
        if each.is_open or each.outcome is OverReadOutcome.WITHDRAWN:
            return
        signed = self._report is not None and not self._report.is_withdrawn
        unseen = each.heeded_at is None and each.asked_by == self._actor.name
        with ui.element("div").classes("acts"):
            if each.outcome is OverReadOutcome.DIFFERS and signed:
                theme.button("Взять исправлением", lambda: self._take_over(each, ReportChange.CORRECTION), small=True)
                theme.button("Взять дополнением", lambda: self._take_over(each, ReportChange.ADDITION), small=True)
            if unseen:
                theme.button("Принято к сведению", lambda: self._heed(each), small=True)

    async def _take_over(self, answer: OverRead, change: ReportChange) -> None:
        values = said_words.taken_over(answer, change, self._services.clinic.zone)
        if not self._take(change, values):
            theme.show_message("Сначала подпишите или закройте открытую форму", bad=True)
            return
        await self._heed(answer)

    async def _heed(self, each: OverRead) -> None:
        services, actor = self._services, current_actor(self._services)
        await attempt(lambda: services.store.write(over_reads.heed, each.stored_id, actor))

    # ---- what may be done ----

    def _draw_buttons(self, other: Lease | None) -> None:
        data = self._data
        if self._form or (self._report and self._report.is_withdrawn):
            return
        if data.open is None:
            if data.colleagues:
                theme.button("Попросить прочитать ещё раз", lambda: self._open(_ASK), small=True)
        elif other is None:
            if data.may_answer:
                theme.button("Согласен", lambda: self._open(_AGREE), small=True)
                theme.button("Другое мнение", lambda: self._open(_DIFFER), small=True)
                if data.open.asked_of == self._actor.name:
                    theme.button("Не могу прочитать", lambda: self._open(_DECLINE), small=True)
            if data.may_manage:
                theme.button("Спросить другого", lambda: self._open(_ANOTHER), small=True)
                theme.button("Забрать просьбу", self._withdraw, small=True)

    def _open(self, form: str) -> None:
        self._form = form
        self._beside.set_visibility(False)  # Ctrl+Enter does what the form says, and does not lead away from it
        with self._box, ui.element("div").classes("form written-form").style("margin-top: 12px"):
            if form in (_ASK, _ANOTHER):
                options = {"": said_words.ANYONE, **dict(self._data.colleagues)}
                self._fields["asked_of"] = labelled_field(
                    "Кого", ui.select, name="asked_of", options=options, value="", span=6, narrow=12
                )
            if form == _ASK:
                self._fields["question"] = text_area("О чём спросить (можно не писать)", "question", 2)
            elif form == _AGREE:
                self._fields["conclusion"] = text_area("Замечание, если есть", "remark", 2)
            elif form == _DIFFER:
                for name, word in _TEXTS.items():
                    self._fields[name] = text_area(word, f"own-{name}", 3)
            elif form == _DECLINE:
                self._fields["over_read_reason"] = text_area("Почему не можете", "over_read_reason", 2)
        with self._box:
            if form in _ANSWERS:
                self._begin_draft()
            self._note = text("p", "", "bad").props("role=alert")
            self._kept = text("p", "", "muted small").props("role=status")
            with ui.element("div").classes("acts").style("margin-top: 12px"):
                word, act = {
                    _ASK: ("Попросить", self._ask),
                    _ANOTHER: ("Попросить", self._ask_another),
                    _AGREE: ("Подтвердить: согласен", self._answer),
                    _DIFFER: ("Записать своё мнение", self._answer),
                    _DECLINE: ("Отказаться", self._decline),
                }[form]
                theme.button(word, act, kind="primary", key="Ctrl+Enter")
                if form == _DIFFER:
                    theme.button("Начать с текста протокола", self._begin_with_report)
                theme.button("Назад", self._leave)
        self._buttons.show((), lambda: None)
        next(iter(self._fields.values())).focus()

    def _begin_draft(self) -> None:
        asked = self._data.open
        assert asked is not None
        self._draft = Draft(self._services, self._actor, _draft_name(asked), self._content, self._show_kept)
        self._draft.start()
        for field in self._fields.values():
            field.control.on_value_change(self._touch)
            field.control.on("blur", self._draft.keep)

    def _content(self) -> dict[str, Any] | None:
        values = self._values()
        return {"form": self._form, "fields": values} if any(values.values()) else None

    def _restore(self, kept: KeptDraft) -> None:
        content, saved_at = kept
        self._open(content["form"])
        self._restoring = True  # who only opens the page again keeps no other doctor from answering
        for name, value in content["fields"].items():
            if name in self._fields:
                self._fields[name].value = value
        self._restoring = False
        if self._draft:
            self._draft.kept = True
        at = words.moment(saved_at, self._services.clinic.zone, self._services.today())
        self._show_kept(f"Черновик от {at}", False)

    def _begin_with_report(self) -> None:
        if self._report is not None:
            for name in _TEXTS:
                self._fields[name].value = self._fields[name].value or getattr(self._report, name)

    def _touch(self) -> Awaitable[None] | None:
        if self._draft is not None:
            self._draft.touch()
        return None if self._restoring else self._begin_lease()

    async def _begin_lease(self) -> None:
        if self._form in _ANSWERS and not self._lease.is_held and not await self._lease.begin():
            self._say("Второе мнение уже пишет другой врач. Ваш текст цел")

    def _values(self) -> dict[str, str]:
        return {name: str(field.value or "") for name, field in self._fields.items()}

    async def _leave(self) -> None:
        """Close the form; what was typed as an answer is forgotten."""
        with self._box:
            for field in self._fields.values():
                field.value = ""
            if self._draft is not None:
                await self._draft.keep()  # nothing: it is deleted
            self._close()
            await self._reread()

    def _close(self) -> None:
        self._form, self._fields, self._draft = "", {}, None
        self._box.clear()
        self._beside.set_visibility(True)
        self._lease.leave()

    # ---- doing it ----

    async def _ask(self) -> None:
        values, report = self._values(), self._report
        assert report is not None
        await self._do(
            lambda actor: self._services.store.write(
                over_reads.ask, self._order_id, report.version, values["asked_of"], values["question"], actor
            ),
            "Попросили прочитать ещё раз",
        )

    async def _ask_another(self) -> None:
        asked, whom = self._data.open, self._values()["asked_of"]
        assert asked is not None
        await self._do(
            lambda actor: self._services.store.write(over_reads.ask_another, asked.stored_id, whom, actor),
            "Попросили прочитать ещё раз",
        )

    async def _withdraw(self) -> None:
        asked = self._data.open
        assert asked is not None
        await self._do(
            lambda actor: self._services.store.write(over_reads.withdraw, asked.stored_id, "", actor),
            "Просьба отозвана",
        )

    async def _decline(self) -> None:
        asked, reason = self._data.open, self._values()["over_read_reason"]
        assert asked is not None
        await self._do(
            lambda actor: self._services.store.write(over_reads.decline, asked.stored_id, reason, actor),
            "Отказ записан",
        )

    async def _answer(self) -> None:
        asked, report, outcome = self._data.open, self._report, _ANSWERS[self._form]
        assert asked is not None
        assert report is not None
        said, clinic = OverReadText(**self._values()), self._services.clinic
        await self._do(
            lambda actor: self._services.store.write(
                over_reads.answer, asked.stored_id, report.version, outcome, said, actor, clinic
            ),
            "Второе мнение записано",
        )

    async def _do(self, use_case: Callable[[Actor], object], done_word: str) -> None:
        actor = current_actor(self._services)
        try:
            done = await attempt(lambda: use_case(actor), let_pass=(Invalid,), report=self._say)
        except Invalid as caught:
            for name, field in self._fields.items():
                field.show_error(errors.problem(name, caught.problems[name]) if name in caught.problems else "")
            rest = [errors.problem(name, code) for name, code in caught.problems.items() if name not in self._fields]
            self._say(" ".join(rest))
            return
        if done is not None:
            with self._box:  # the button that was pressed is gone with its form
                await self._leave()
                theme.show_message(done_word)

    def _say(self, said: str) -> None:
        if self._form:
            self._note.set_text(said)
        else:
            theme.show_message(said, bad=True)

    def _show_kept(self, note: str, bad: bool) -> None:
        if self._form:
            self._kept.set_text(note)
            self._kept.classes(add="bad", remove="muted") if bad else self._kept.classes(add="muted", remove="bad")
